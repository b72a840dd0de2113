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
    template <class Serial>
    void meet(Serial&& serial) {
        const uint32_t round = round_.load(std::memory_order_relaxed);
        if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            serial();
            missing_.store(threads_, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
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

// Runs work(context, thread) for thread = 0 .. threads-1 and returns when all are done. Calls from
// several threads of the host program queue up. Throws std::system_error when no thread can start.
void run_on_threads(int threads, void (*work)(void* context, int thread), void* context);

// Processors this process may use.
int available_processors();

}  // namespace deltarule
