#include "pool.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#ifndef DELTARULE_SPINS
// About 20 to 50 microseconds: longer than the difference between two threads' shares of a phase,
// shorter than what a sleeping thread costs its neighbours. (A test has none.)
#define DELTARULE_SPINS 1000
#endif

namespace deltarule {

namespace {

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

void Barrier::wait(uint32_t round) {
    for (int spin = 0; spin < DELTARULE_SPINS; ++spin) {
        if (round_.load(std::memory_order_acquire) != round) return;
        pause();
    }
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (round_.load(std::memory_order_seq_cst) == round) round_.wait(round, std::memory_order_seq_cst);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void Barrier::wake() { round_.notify_all(); }

// The threads of this process. After a fork the child starts over with an empty pool: the parent's
// threads do not exist there, and its locks may be held for ever.
struct Pool {
    std::atomic<bool> taken{false};  // by a team

    std::mutex lock;  // guards what follows
    std::condition_variable called, finished;
    Team::Work work = nullptr;
    void* context = nullptr;
    int threads = 0;
    uint64_t round = 0;
    int running = 0;
    bool allowed = true;
    std::vector<std::thread> started;

    void serve(int thread, uint64_t seen) {
        std::unique_lock<std::mutex> guard(lock);
        for (;;) {
            called.wait(guard, [&] { return round != seen || !allowed; });
            if (!allowed) return;
            seen = round;
            if (thread >= threads) continue;
            const Team::Work mine = work;
            void* const with = context;
            guard.unlock();
            mine(with, thread);
            guard.lock();
            if (--running == 0) finished.notify_one();
        }
    }

    // Starts threads until there are `wanted`, the caller included; returns how many there are.
    int grow(int wanted) {
        const std::lock_guard<std::mutex> guard(lock);
        try {
            while (allowed && int(started.size()) < wanted - 1) {
                const int thread = int(started.size()) + 1;
                const uint64_t seen = round;
                started.emplace_back([this, thread, seen] { serve(thread, seen); });
            }
        } catch (const std::system_error&) {  // the system has no more
        } catch (const std::bad_alloc&) {}
        return std::min(wanted, int(started.size()) + 1);
    }

    void run(int count, Team::Work todo, void* with) {
        {
            const std::lock_guard<std::mutex> guard(lock);
            work = todo;
            context = with;
            threads = count;
            running = count - 1;
            ++round;
            called.notify_all();
        }
        todo(with, 0);
        std::unique_lock<std::mutex> guard(lock);
        finished.wait(guard, [&] { return running == 0; });
    }

    void allow(bool may_start) {
        // A team in another thread is given up at that thread's next look at the interpreter.
        while (taken.exchange(true, std::memory_order_acquire))
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        {
            const std::lock_guard<std::mutex> guard(lock);
            allowed = may_start;
        }
        if (!may_start) {
            called.notify_all();
            for (std::thread& thread : started) thread.join();
            started.clear();
        }
        taken.store(false, std::memory_order_release);
    }
};

namespace {

Pool* pool = nullptr;  // never destroyed: threads of others may outlive main
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

int Team::gather(int wanted) {
    if (wanted <= 1) return 1;
    Pool& found = the_pool();
    if (found.taken.exchange(true, std::memory_order_acquire)) return 1;
    pool_ = &found;
    threads_ = found.grow(wanted);
    return threads_;
}

Team::~Team() {
    if (pool_ != nullptr) pool_->taken.store(false, std::memory_order_release);
}

void Team::run(int threads, Work work, void* context) {
    const int count = std::min(threads, threads_);
    if (count <= 1)
        work(context, 0);
    else
        pool_->run(count, work, context);
}

void allow_threads(bool allowed) { the_pool().allow(allowed); }

int available_processors() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const unsigned n = std::thread::hardware_concurrency();
    return n == 0 ? 1 : int(n);
}

}  // namespace deltarule
