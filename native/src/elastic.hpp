// How many threads of a team take part. Results do not depend on it, so it may change between two parts of a job, and
// what is fastest can be found by trying. All is counted in laps: a step of training, a prediction.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace deltarule {

// What other processes leave to this one. A thread whose core another process takes in the middle of an item is waited
// for, often for milliseconds, and small steps take microseconds. Where for half of some laps those who had worked waited
// for somebody who had not finished, the team goes on with fewer threads, and tries again after a pause. The pause is a
// multiple of the time that was lost; the multiple grows while attempts fail, and starts again once one has paid. So
// failing attempts cost a small share of the time however long they stall, and the one after a passing disturbance comes
// soon. Only time at work counts: what happens between calls teaches nothing.
class Elastic {
public:
    static constexpr int64_t window = 200'000;                     // nanoseconds that are judged, at least
    static constexpr int64_t first_pause = 4, longest_pause = 32;  // times what was lost
    static constexpr int64_t pays =
        16;  // an attempt that goes well for so many times what is then lost has paid

    // Threads to take part, of so many.
    int members(int threads) const { return std::min(threads, allowed_); }

    // After a lap of `took` nanoseconds with `members` threads, for `stalled` of which somebody who had worked waited
    // for others. `threads`: how many there could have been.
    void lap(int64_t took, int64_t stalled, int members, int threads) {
        took_ += took;
        stalled_ += stalled;
        if (took_ >= window) {
            if (members > 1 && 2 * stalled_ > took_) {
                times_ = went_well_ >= pays * stalled_ ? first_pause : std::min(4 * times_, longest_pause);
                left_ = pause_ = times_ * stalled_;
                change(members - portion(members));
                return;
            }
            went_well_ += took_;
            took_ = stalled_ = 0;
        }
        if (allowed_ < threads && (left_ -= took) <= 0) {
            left_ = pause_;
            change(allowed_ + portion(allowed_));
        }
    }

private:
    static int portion(int members) { return (members + 7) / 8; }
    void change(int allowed) {
        allowed_ = allowed;
        took_ = stalled_ = went_well_ = 0;
    }

    int allowed_ = INT32_MAX;
    int64_t times_ = first_pause;     // what was lost makes the pause
    int64_t pause_ = 0, left_ = 0;    // nanoseconds
    int64_t took_ = 0, stalled_ = 0;  // in this window
    int64_t went_well_ = 0;           // since the number last changed
};

// What threads are worth to laps of one kind. Whether a small step gains from a second thread depends on how far apart
// the cores are. So now and then, rarely in the end, a few laps are done with half as many threads or twice as many, and
// the faster number is kept. Laps are timed in runs of some microseconds, and the fastest few are compared: what
// disturbs a lap only makes it longer.
class Worth {
public:
    static constexpr int64_t surely = 500'000;  // nanoseconds of a lap that is long enough for all threads
    static constexpr int64_t run = 20'000;      // nanoseconds that are timed together, at least
    static constexpr int trial = 4, first_term = 8, longest_term = 8192, growth = 32;  // runs

    // What follows are laps of so many rows, with at most so many threads.
    void of(int threads, long rows) {
        if (threads == threads_ && rows == rows_) return;
        *this = Worth();
        rows_ = rows;
        threads_ = chosen_ = trying_ = threads;
    }

    int members() const { return trying_; }

    // After a lap of `took` nanoseconds with `members` threads.
    void lap(int64_t took, int members) {
        if (members != trying_) return;
        took_ += took;
        ++laps_;
        if (took_ < run) return;
        if (left_ <= trial) fastest() = std::min(fastest(), double(took_) / laps_);
        took_ = laps_ = 0;
        if (--left_ == 0) decide();
    }

private:
    double& fastest() { return trying_ == chosen_ ? fastest_ : tried_; }

    void decide() {
        if (trying_ == chosen_ && fastest_ < surely) {
            const bool half = chosen_ == threads_ || (fewer_ && chosen_ > 1);
            trying_ = half ? chosen_ / 2 : std::min(2 * chosen_, threads_);
            tried_ = HUGE_VAL;
            left_ = trial;
            return;
        }
        if (tried_ < fastest_) {
            chosen_ = trying_;
            term_ = first_term;
        } else {
            term_ = std::min(growth * term_, longest_term);
            fewer_ = !fewer_;
        }
        trying_ = chosen_;
        fastest_ = tried_ = HUGE_VAL;
        left_ = term_;
    }

    long rows_ = 0;
    int threads_ = 1, chosen_ = 1, trying_ = 1;
    double fastest_ = HUGE_VAL,
           tried_ = HUGE_VAL;      // nanoseconds of a lap, at the end of this term; in this trial
    int64_t took_ = 0, laps_ = 0;  // of this run
    int left_ = first_term, term_ = first_term;  // runs until something else is tried
    bool fewer_ = true;                          // is what is tried next
};

}  // namespace deltarule
