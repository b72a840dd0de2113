// Our own threads: started when first needed, asleep between calls, never inherited by a fork.
//
// A Team does a job: parts, one after the other, each of so many items, which any thread may do in any order. Items
// are taken, not handed out: each thread has a share of its own, the same in every step, so that what it works on stays
// in its caches, and who has done its own helps the others. Nobody waits for a thread that has taken nothing. Whoever
// finishes the last item of a part does what only one thread can do, and opens the next part.
//
// docs/design.md has the argument why no item is skipped or done twice, and why no wake-up is lost.
#pragma once

#include <atomic>
#include <cstdint>

#include "elastic.hpp"
#include "floating.hpp"

namespace deltarule {

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

    // Does a job on at most `threads` of those gathered, with denormal numbers flushed to zero; returns when it is
    // done. item(i, thread) is called once for each i below `count`; then next() on one thread, which returns the
    // number of items of the next part; 0: the job is done. The caller is thread 0. `worth`: what is known of the laps
    // of such jobs, or null.
    template <class Item, class Next>
    void run(int threads, long count, Item item, Next next, Worth* worth = nullptr) {
        const FlushDenormals flush;
        if (threads_ > 1 && threads > 1) {
            struct Both {
                Item& item;
                Next& next;
            } both{item, next};
            const Job job{
                [](void* c, long i, int thread) noexcept { static_cast<Both*>(c)->item(i, thread); },
                [](void* c) noexcept -> long { return static_cast<Both*>(c)->next(); },
                &both,
            };
            run_together(threads, count, job, worth);
            return;
        }
        while (count > 0) {
            for (long i = 0; i < count; ++i) item(i, 0);
            count = next();
        }
    }

    // To be called in next(): a lap of the job is done, such as a step. Between laps the number of threads that take
    // part may change. `whole`: a lap like the others, from which the worth of threads can be seen.
    void lap(bool whole) {
        if (threads_ > 1) count_lap(whole);
    }

    struct Job {
        void (*item)(void* context, long i, int thread) noexcept;
        long (*next)(void* context) noexcept;
        void* context;
    };

private:
    void run_together(int threads, long count, const Job& job, Worth* worth);
    void count_lap(bool whole);

    Pool* pool_ = nullptr;  // null: alone
    int threads_ = 1;
};

// false: the threads of the pool end, and no others are started.
void allow_threads(bool allowed);

}  // namespace deltarule
