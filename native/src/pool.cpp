#include "pool.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace deltarule {

namespace {

// About 20 to 50 microseconds: longer than the difference between two threads' shares of a phase,
// shorter than what a sleeping thread costs its neighbours.
constexpr int spins_before_sleep = 1000;

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

void Barrier::wait(uint32_t round) {
    for (int spin = 0; spin < spins_before_sleep; ++spin) {
        if (round_.load(std::memory_order_acquire) != round) return;
        pause();
    }
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (round_.load(std::memory_order_seq_cst) == round) round_.wait(round);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void Barrier::wake() { round_.notify_all(); }

namespace {

struct Job {
    void (*work)(void*, int) = nullptr;
    void* context = nullptr;
    int threads = 0;
};

// The threads of this process. After a fork the child starts over with an empty pool: the parent's
// threads do not exist there, and its locks may be held for ever.
struct Pool {
    std::mutex callers;  // one team at a time
    std::mutex lock;     // guards what follows
    std::condition_variable called, finished;
    Job job;
    uint64_t round = 0;
    int running = 0;
    int started = 0;

    void serve(int thread) {
        uint64_t seen = 0;
        std::unique_lock<std::mutex> guard(lock);
        for (;;) {
            called.wait(guard, [&] { return round != seen; });
            seen = round;
            if (thread >= job.threads) continue;
            const Job mine = job;
            guard.unlock();
            mine.work(mine.context, thread);
            guard.lock();
            if (--running == 0) finished.notify_one();
        }
    }

    void run(const Job& mine) {
        std::lock_guard<std::mutex> one(callers);
        {
            std::unique_lock<std::mutex> guard(lock);
            while (started < mine.threads - 1) {
                const int thread = started + 1;
                std::thread([this, thread] { serve(thread); }).detach();
                ++started;
            }
            job = mine;
            running = mine.threads - 1;
            ++round;
            called.notify_all();
        }
        mine.work(mine.context, 0);
        std::unique_lock<std::mutex> guard(lock);
        finished.wait(guard, [&] { return running == 0; });
    }
};

Pool* pool = nullptr;  // never destroyed: its threads may outlive main
std::once_flag fork_handler;
std::atomic<bool> pool_lock{false};

Pool& the_pool() {
    while (pool_lock.exchange(true, std::memory_order_acquire)) pause();
    if (pool == nullptr) {
        pool = new Pool;
#if defined(__unix__) || defined(__APPLE__)
        std::call_once(fork_handler, [] {
            pthread_atfork(nullptr, nullptr, [] {
                pool = nullptr;
                pool_lock.store(false);
            });
        });
#endif
    }
    Pool& found = *pool;
    pool_lock.store(false, std::memory_order_release);
    return found;
}

}  // namespace

void run_on_threads(int threads, void (*work)(void*, int), void* context) {
    if (threads <= 1) {
        work(context, 0);
        return;
    }
    the_pool().run(Job{work, context, threads});
}

int available_processors() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const unsigned n = std::thread::hardware_concurrency();
    return n == 0 ? 1 : int(n);
}

}  // namespace deltarule
