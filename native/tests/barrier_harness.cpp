// Threads that meet again and again without spinning, so that nearly every one sleeps and is woken: a wake-up that is
// lost ends in a hang, a round that begins too early in a wrong count. Arguments: threads, rounds.
#include <cstdio>
#include <cstdlib>

#include "../src/pool.hpp"

using namespace deltarule;

namespace {

struct Meeting {
    Barrier barrier;
    const int threads;
    const long rounds;
    std::atomic<long> arrived{0};
    long met = 0, wrong = 0;  // by the last to arrive

    Meeting(int t, long r) : barrier(t), threads(t), rounds(r) {}
};

}  // namespace

int main(int, char** arguments) {
    const int wanted = std::atoi(arguments[1]);
    const long rounds = std::atol(arguments[2]);
    Team team;
    const int threads = team.gather(wanted);
    Meeting meeting(threads, rounds);
    team.run(
        threads,
        [](void* context, int thread) noexcept {
            Meeting& m = *static_cast<Meeting*>(context);
            for (long round = 0; round < m.rounds; ++round) {
                for (long i = (round * 7 + thread * 13) % 61; i > 0; --i) asm volatile("");
                m.arrived.fetch_add(1, std::memory_order_relaxed);
                m.barrier.meet(
                    [&] { m.wrong += m.arrived.load(std::memory_order_relaxed) != ++m.met * m.threads; });
            }
        },
        &meeting);
    Team second;  // the pool is taken: the caller is alone
    const bool alone = second.gather(wanted) == 1 || wanted == 1;
    std::printf("%d threads met %ld times, %ld wrong%s\n", threads, meeting.met, meeting.wrong,
                alone ? "" : ", a second team was given the same threads");
    return meeting.wrong == 0 && alone ? 0 : 1;
}
