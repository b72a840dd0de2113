// Everything whose outcome may depend on the number of threads: how many there are, and how rows, panels and other
// items are cut among them. No sum may be decided here: the order of every sum is fixed by shapes (sums.hpp,
// compile.cpp), so that results are identical for any number of threads.
#pragma once

#include <algorithm>
#include <chrono>

#include "compile.hpp"
#include "pool.hpp"

namespace deltarule {

inline constexpr long tile_rows_wanted = 256;  // many, since wide layers are read again for each tile
inline constexpr double panel_work = 0.1;      // of work_per_thread, where a layer is cut by panels
inline constexpr double shared_work = 1e6;     // elements moved that repay other threads
inline constexpr double inline_work = 5e4;     // multiplications that are done while the others wait
inline constexpr int inline_parts = 64;        // of them one after the other, at most

inline int threads_for(double work, double work_each, long most) {
    return int(std::clamp(work / work_each, 1.0, double(most)));
}

// Rows of a tile: evenly cut, a whole number of tiles for each thread.
inline long tile_capacity(long rows, long threads) {
    const long rounds = (rows + threads * tile_rows_wanted - 1) / (threads * tile_rows_wanted);
    return (rows + threads * rounds - 1) / (threads * rounds);
}

// Panels of outputs that make one item, where a layer is cut by panels.
inline long panel_group(long panels, int threads) {
    const long each = panels / (2 * threads);
    return each >= 4 ? 4 : each >= 2 ? 2 : 1;
}

// Calls visit(i) for each i below count, on several threads where there is much to do.
template <class Visit>
void share_out(Team& team, int threads, long count, double work, Visit visit) {
    team.run(work < shared_work ? 1 : threads, count, [&](long i, int) { visit(i); }, [] { return 0L; });
}

// Asks about every 30 ms, however often it is called; once the answer was to stop, it stays.
class Poll {
public:
    Poll(bool (*poll)(void*), void* context) : poll_(poll), context_(context) {
        if (poll_ != nullptr) next_ = Clock::now() + pause;
    }
    bool stop() {
        if (stopped_ || poll_ == nullptr || Clock::now() < next_) return stopped_;
        stopped_ = poll_(context_);
        next_ = Clock::now() + pause;
        return stopped_;
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::milliseconds pause{30};
    bool (*poll_)(void*);
    void* context_;
    Clock::time_point next_;
    bool stopped_ = false;
};

}  // namespace deltarule
