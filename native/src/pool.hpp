// Our own threads: started when first needed, parked between calls, never inherited by a fork.
//
// A Team runs one function on several threads at once, the caller being number 0. Inside, the threads
// meet at a Barrier: the last to arrive does the serial work between two phases, the others spin for a
// moment and then sleep.
#pragma once

#include <atomic>
#include <cstdint>

namespace deltarule {

class Barrier {
public:
    explicit Barrier(int threads) : threads_(threads), missing_(threads) {}

    // Waits for all threads. `serial` runs once, on the last to arrive, before any other goes on.
    //
    // No wake-up is lost: the last to arrive stores round_ and then reads sleepers_; who sleeps adds to sleepers_ and
    // then reads round_. All four are sequentially consistent, so they have one order. Either the sleeper's addition
    // comes before the last one's read, which then notifies it: whoever waits for the value of before a store that
    // happens before the notification is woken ([atomics.wait]); or it comes after that read, hence after the store, and
    // the sleeper sees the new round and does not sleep.
    template <class Serial>
    void meet(Serial&& serial) {
        const uint32_t round = round_.load(std::memory_order_relaxed);
        if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            serial();
            missing_.store(threads_, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_seq_cst);
            if (sleepers_.load(std::memory_order_seq_cst) != 0) wake();
        } else {
            wait(round);
        }
    }

private:
    void wait(uint32_t round);
    void wake();

    const int threads_;
    alignas(64) std::atomic<int> missing_;
    alignas(64) std::atomic<uint32_t> round_{0};
    std::atomic<int> sleepers_{0};
};

struct Pool;

// The threads of the pool for one caller at a time. Who finds them taken works alone: results do not depend on the
// number of threads, and nobody waits for another caller's work.
class Team {
public:
    Team() = default;
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;
    ~Team();

    // Once: how many threads there are, the caller included; at most `wanted`. Fewer where others have the pool or the
    // system has no more threads.
    int gather(int wanted);

    // Runs work(context, thread) for thread = 0 .. min(threads, those gathered) - 1; returns when all are done.
    using Work = void (*)(void* context, int thread) noexcept;
    void run(int threads, Work work, void* context);

private:
    Pool* pool_ = nullptr;  // null: alone
    int threads_ = 1;
};

// false: the threads of the pool end, and no others are started.
void allow_threads(bool allowed);

// Processors this process may use.
int available_processors();

}  // namespace deltarule
