// What Elastic and Worth decide, in simulated time: the arguments are a scenario's name and its numbers; what is printed
// are milliseconds or laps that its test looks at.
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../src/elastic.hpp"

using namespace deltarule;

namespace {

constexpr int64_t microsecond = 1000, millisecond = 1'000'000;

// Laps of a team whose number of threads Elastic decides.
struct Simulation {
    Elastic elastic;
    int64_t lap, threads;
    int64_t now = 0, together = 0, lost = 0, laps = 0;
    int fewest;

    Simulation(int64_t lap_of_all, int n) : lap(lap_of_all), threads(n), fewest(n) {}

    void step(int64_t stalled) {
        const int members = elastic.members(int(threads));
        fewest = members < fewest ? members : fewest;
        const int64_t took = lap * threads / members + (members > 1 ? stalled : 0);
        elastic.lap(took, members > 1 ? stalled : 0, members, int(threads));
        if (members == threads) together += took;
        if (members > 1) lost += stalled;
        now += took;
        ++laps;
    }
};

// Every attempt ends after 3 ms in a stall of so many milliseconds.
void neighbour(int threads, double stall) {
    Simulation s(35 * microsecond, threads);
    int64_t good = 0;
    while (s.now < 4000 * millisecond) {
        const bool several = s.elastic.members(threads) > 1;
        good = several ? good + s.lap : 0;
        const bool taken = good > 3 * millisecond;
        s.step(taken ? int64_t(stall * double(millisecond)) : 0);
        if (taken) good = 0;
    }
    std::printf("%.4f %d\n", double(s.lost) / double(s.now), s.fewest);
}

// One stall, once; how long it takes until all threads are back.
void disturbance(int threads, double stall) {
    Simulation s(35 * microsecond, threads);
    while (s.now < 100 * millisecond) s.step(0);
    s.step(int64_t(stall * double(millisecond)));
    const int64_t begin = s.now;
    while (s.elastic.members(threads) < threads) s.step(0);
    std::printf("%.4f %d\n", double(s.now - begin) / double(millisecond), s.fewest);
}

// Laps that take so many microseconds with 1, 2, 4 ... threads: how many were done with each number.
void worth(int threads, char** microseconds) {
    Worth w;
    w.of(threads, 200);
    std::vector<long> done(std::bit_width(unsigned(threads)));
    for (long i = 0; i < 20'000; ++i) {
        const size_t k = std::bit_width(unsigned(w.members())) - 1;
        ++done.at(k);
        w.lap(int64_t(std::atof(microseconds[k]) * double(microsecond)), w.members());
    }
    for (long laps : done) std::printf("%ld ", laps);
    std::printf("\n");
}

}  // namespace

int main(int, char** arguments) {
    const char* what = arguments[1];
    const int threads = std::atoi(arguments[2]);
    if (std::strcmp(what, "neighbour") == 0) neighbour(threads, std::atof(arguments[3]));
    if (std::strcmp(what, "disturbance") == 0) disturbance(threads, std::atof(arguments[3]));
    if (std::strcmp(what, "worth") == 0) worth(threads, arguments + 3);
}
