#include "pool.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#ifndef DELTARULE_SPINS
// About 20 to 50 microseconds: longer than the difference between two threads' shares of a part,
// shorter than what a sleeping thread costs its neighbours. (A test has none.)
#define DELTARULE_SPINS 1000
#endif

namespace deltarule {

namespace {

constexpr int most_threads = 512;

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

int64_t nanoseconds() {
    return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A thread's share of the open part, and whether the thread sleeps.
struct alignas(64) Seat {
    // Low half: items that nobody has taken yet; high half: how many threads, from 0 on, may take them.
    std::atomic<uint64_t> open{0};
    long end = 0;  // of the share's items; read by who has taken one
    std::atomic<uint32_t> asleep{0};
};

}  // namespace

// The threads of this process. After a fork the child starts over with an empty pool: the parent's
// threads do not exist there.
struct Pool {
    std::atomic<bool> taken{false};  // by a team; who has it starts and ends threads
    bool allowed = true;
    std::vector<std::thread> started;
    std::atomic<bool> closing{false};

    std::array<Seat, most_threads> seats;
    // Written where only one thread is: between two parts, or where there is no job. Read by who has taken an item.
    const Team::Job* job = nullptr;
    int threads = 1, members = 1;  // of the job; that take part
    Elastic elastic;
    Worth* worth = nullptr;
    int64_t lap_began = 0, stalled = 0;  // nanoseconds

    alignas(64) std::atomic<long> missing{0};    // items of the open part that are not known to be finished
    std::atomic<int64_t> waiting_since{0};       // who worked in the open part and waits, since; 0: nobody
    alignas(64) std::atomic<uint32_t> round{1};  // changes with every part; odd: there is no job
    std::atomic<int> sleepers{0}, width{1};      // threads that sleep; seats to look at

    // ------------------------------------------------------------- parts

    void run(int count, long items, const Team::Job& todo, Worth* laps) {
        job = &todo;
        worth = laps;
        threads = count;
        choose_members();
        width.store(count, std::memory_order_relaxed);
        stalled = 0;
        lap_began = nanoseconds();
        items = alone(items);
        if (items == 0) return lap(false);
        open(items, 1);
        attend(0, [this](uint32_t now) { return now % 2 != 0; });
    }

    // Takes part until `over`, of the round that was last seen.
    template <class Over>
    void attend(int thread, Over over) {
        for (Attendance mine;;) {
            const uint32_t seen = round.load(std::memory_order_acquire);
            if (over(seen)) return;
            if (!work(thread, mine)) wait(thread, seen, mine);
        }
    }
    struct Attendance {
        int spins = DELTARULE_SPINS;  // before it sleeps
        bool worked = false;          // in its last round
        bool woken = false;           // just now
    };

    // Parts that the caller does without the others; returns the number of items of the first that it does not.
    long alone(long count) {
        while (count > 0 && members == 1) {
            for (long i = 0; i < count; ++i) job->item(job->context, i, 0);
            count = job->next(job->context);
        }
        return count;
    }

    // The next part. Once the last share is open, the part may end at any moment and the next begin.
    void open(long count, uint32_t rounds) {
        const int among = members;
        missing.store(count, std::memory_order_relaxed);
        for (long t = 0; t < among; ++t) {
            Seat& seat = seats[size_t(t)];
            seat.end = count * (t + 1) / among;
            seat.open.store(uint64_t(among) << 32 | uint64_t(seat.end - count * t / among),
                            std::memory_order_release);
        }
        round.fetch_add(rounds, std::memory_order_seq_cst);
        wake(1, among);
    }

    // An item of a share, and among how many threads it was; -1: there is none for this thread.
    static long take(Seat& seat, int thread, int& among) {
        uint64_t open = seat.open.load(std::memory_order_relaxed);
        while (uint32_t(open) != 0 && thread < int(open >> 32))
            if (seat.open.compare_exchange_weak(open, open - 1, std::memory_order_acquire,
                                                std::memory_order_relaxed)) {
                among = int(open >> 32);
                return seat.end - long(uint32_t(open));
            }
        return -1;
    }

    // Does the items that it can get; and if these were the last, what only one thread does. False: others are to
    // finish first.
    bool work(int thread, Attendance& mine) {
        long finished = 0;
        const int all = width.load(std::memory_order_relaxed);
        for (int k = 0, s = thread; k < all; ++k, ++s) {
            if (s >= all) s = 0;
            int among = 0;
            for (long i; (i = take(seats[size_t(s)], thread, among)) >= 0; ++finished) {
                if (mine.woken) wake(2, among);
                mine.woken = false;
                job->item(job->context, i, thread);
            }
        }
        mine.worked = finished != 0;
        if (!mine.worked) return false;
        mine.spins = DELTARULE_SPINS;
        if (missing.fetch_sub(finished, std::memory_order_acq_rel) != finished) return false;
        if (waiting_since.load(std::memory_order_relaxed) != 0) {
            const int64_t since = waiting_since.exchange(0, std::memory_order_relaxed);
            if (since != 0) stalled += nanoseconds() - since;
        }
        long count = job->next(job->context);
        if (thread == 0) count = alone(count);
        if (count > 0) {
            open(count, 2);
        } else {
            lap(false);
            round.fetch_add(1, std::memory_order_seq_cst);
            wake(1, 1);
        }
        return true;
    }

    void lap(bool whole) {
        const int64_t now = nanoseconds();
        elastic.lap(now - lap_began, stalled, members, threads);
        if (worth != nullptr && whole) worth->lap(now - lap_began, members);
        choose_members();
        lap_began = now;
        stalled = 0;
    }

    void choose_members() {
        members = elastic.members(threads);
        if (worth != nullptr) members = std::min(members, worth->members());
    }

    // ------------------------------------------------------------- waiting

    // Until the round is no longer the one that was seen, or somebody wakes it.
    void wait(int thread, uint32_t seen, Attendance& mine) {
        constexpr int soon = DELTARULE_SPINS / 10;  // not worth a look at the clock
        int64_t since = 0;
        for (int spin = 0; mine.spins > 0; --mine.spins, ++spin) {
            if (round.load(std::memory_order_acquire) != seen) return;
            if (spin == soon && mine.worked) since = nanoseconds();
            pause();
        }
        if (mine.worked) {
            if (since == 0) since = nanoseconds();
            int64_t nobody = 0;
            if (!waiting_since.compare_exchange_strong(nobody, since, std::memory_order_relaxed)) since = 0;
        }
        Seat& seat = seats[size_t(thread)];
        seat.asleep.store(1, std::memory_order_seq_cst);
        sleepers.fetch_add(1, std::memory_order_seq_cst);
        while (round.load(std::memory_order_seq_cst) == seen &&
               seat.asleep.load(std::memory_order_relaxed) != 0)
            seat.asleep.wait(1, std::memory_order_relaxed);
        seat.asleep.store(0, std::memory_order_relaxed);
        sleepers.fetch_sub(1, std::memory_order_relaxed);
        if (since != 0) waiting_since.compare_exchange_strong(since, 0, std::memory_order_relaxed);
        mine.spins = DELTARULE_SPINS;
        mine.woken = true;
    }

    // Wakes at most `most` of the first `among` threads.
    void wake(int most, int among) {
        if (sleepers.load(std::memory_order_seq_cst) == 0) return;
        for (int t = 0; t < among && most > 0; ++t) {
            std::atomic<uint32_t>& asleep = seats[size_t(t)].asleep;
            if (asleep.load(std::memory_order_seq_cst) == 0 ||
                asleep.exchange(0, std::memory_order_relaxed) == 0)
                continue;
            asleep.notify_one();
            --most;
        }
    }

    // ------------------------------------------------------------- threads

    void serve(int thread) {
        const FlushDenormals flush;
        attend(thread, [this](uint32_t) { return closing.load(std::memory_order_relaxed); });
    }

    // Starts threads until there are `wanted`, the caller included; returns how many there are.
    int grow(int wanted) {
        wanted = std::min(wanted, most_threads);
        try {
            while (allowed && int(started.size()) < wanted - 1) {
                const int thread = int(started.size()) + 1;
                started.emplace_back([this, thread] { serve(thread); });
            }
        } catch (const std::system_error&) {  // the system has no more
        } catch (const std::bad_alloc&) {}
        return std::min(wanted, int(started.size()) + 1);
    }

    void allow(bool may_start) {
        // A team in another thread is given up at that thread's next look at the interpreter.
        while (taken.exchange(true, std::memory_order_acquire))
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        allowed = may_start;
        if (!may_start) {
            closing.store(true, std::memory_order_relaxed);
            round.fetch_add(2, std::memory_order_seq_cst);
            wake(most_threads, most_threads);
            for (std::thread& thread : started) thread.join();
            started.clear();
            closing.store(false, std::memory_order_relaxed);
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

void Team::run_together(int threads, long count, const Job& job, Worth* worth) {
    pool_->run(std::min(threads, threads_), count, job, worth);
}

void Team::count_lap(bool whole) { pool_->lap(whole); }

void allow_threads(bool allowed) { the_pool().allow(allowed); }

}  // namespace deltarule
