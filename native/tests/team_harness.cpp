// Threads that do jobs of many small parts, so that parts end, begin and are slept over all the time: a wake-up that is
// lost ends in a hang, an item that is skipped, done twice or done in another part in a wrong count. Compiled without
// spinning, nearly every wait is a sleep. Arguments: threads, jobs, parts of each.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../src/pool.hpp"

using namespace deltarule;

int main(int, char** arguments) {
    const int wanted = std::atoi(arguments[1]);
    const long jobs = std::atol(arguments[2]), parts = std::atol(arguments[3]);
    constexpr long most = 13;
    std::vector<long> done(
        most);  // of each item, how often; written without a lock, as training writes its tiles
    std::atomic<long> wrong{0};
    long items = 0;
    int threads = 1;
    bool alone = true;
    for (long job = 0; job < jobs; ++job) {
        Team team;
        threads = team.gather(wanted);
        long part = 0, count = 1 + job % most;
        const auto item = [&](long i, int thread) {
            for (long k = (part * 7 + i * 13) % 61; k > 0; --k) asm volatile("");
            wrong += i >= count || thread >= threads;
            ++done[size_t(i)];
        };
        const auto next = [&] {
            for (long i = 0; i < most; ++i) wrong += done[size_t(i)] != (i < count);
            done.assign(most, 0);
            items += count;
            team.lap(true);
            count = 1 + (job + part * 5) % most;
            return ++part < parts ? count : 0;
        };
        team.run(1 + int(job % threads), count, item, next);
        wrong += part != parts;
        if (wanted > 1) {
            Team second;  // the pool is taken: the caller is alone
            alone = alone && second.gather(wanted) == 1;
        }
    }
    std::printf("%d threads: %ld jobs, %ld items, %ld wrong%s\n", threads, jobs, items, wrong.load(),
                alone ? "" : ", a second team was given the same threads");
    return wrong == 0 && alone ? 0 : 1;
}
