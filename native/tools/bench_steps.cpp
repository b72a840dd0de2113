// Microseconds per training step of the benchmark's networks, without Python: for profilers, and to see
// what a change in the core is worth.
//
//     cmake -S . -B build/tools -DDELTARULE_SYMBOLS=ON && cmake --build build/tools --target bench_steps
//     build/tools/bench_steps W3 2 5       (workload, threads, seconds; another batch size)
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>

#include "engine.hpp"
#include "pool.hpp"

using namespace deltarule;

namespace {

#if defined(__AVX512F__)
#define DR_PEAK_LANES 16
#elif defined(__AVX2__)
#define DR_PEAK_LANES 8
#else
#define DR_PEAK_LANES 4
#endif

struct Workload {
    const char* name;
    std::vector<long> widths;
    long batch, rows;
    bool adam, classifies;
    Activation hidden;
};

const Workload workloads[] = {
    {"W1", {2, 3, 1}, 4, 4, false, false, Activation::sigmoid},
    {"W2", {784, 128, 10}, 1, 1000, false, true, Activation::relu},
    {"W3", {64, 100, 10}, 200, 1797, true, true, Activation::relu},
    {"W4", {784, 256, 128, 10}, 128, 6400, true, true, Activation::relu},
    {"W5", {100, 256, 256, 256, 1}, 256, 12800, true, false, Activation::relu},
    {"W6", {1024, 2048, 2048, 10}, 512, 2048, true, true, Activation::relu},
    {"N1", {2, 8, 1}, 200, 10000, true, false, Activation::tanh},
    {"N2", {10, 10, 10, 1}, 200, 10000, true, false, Activation::tanh},
    {"N3", {24, 8, 2}, 200, 10000, true, false, Activation::tanh},
    {"N4", {4, 32, 16, 4}, 200, 10000, true, false, Activation::tanh},
    {"N5", {30, 64, 32, 1}, 200, 10000, true, false, Activation::tanh},
};

// GFLOP/s of fused multiply-adds in registers on all threads, now: a machine that others use too has no
// fixed peak, so every round is judged by the ones measured just before and after it.
double peak(int threads) {
    typedef float vector __attribute__((vector_size(4 * DR_PEAK_LANES)));
    constexpr long repeats = 1000000;
    const auto start = std::chrono::steady_clock::now();
    Team team;
    team.gather(threads);
    team.run(
        threads, threads,
        [](long, int) {
            vector sum[12] = {}, x{}, y{};
            for (long i = 0; i < repeats; ++i) {
                asm volatile("" : "+x"(x), "+x"(y));
#pragma GCC unroll 12
                for (int j = 0; j < 12; ++j) sum[j] = sum[j] * x + y;
            }
#pragma GCC unroll 12
            for (int j = 0; j < 12; ++j) asm volatile("" : "+x"(sum[j]));
        },
        [] { return 0L; });
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return 1e-9 * 2 * 12 * DR_PEAK_LANES * double(repeats) * threads / took;
}

Description describe(const Workload& w) {
    Description d;
    d.widths.push_back(w.widths[0]);
    for (size_t i = 1; i < w.widths.size(); ++i) {
        const bool last = i + 1 == w.widths.size();
        Operation dense;
        dense.sources = {int(d.widths.size()) - 1};
        dense.target = int(d.widths.size());
        const int weight = int(d.parameters.size());
        dense.parameters = {{"weight", weight}, {"bias", weight + 1}};
        for (const long rows : {w.widths[i - 1], 1L}) {
            Parameter p;
            p.offset = d.parameter_count;
            p.rows = rows;
            p.columns = w.widths[i];
            d.parameter_count += rows * w.widths[i];
            d.parameters.push_back(p);
        }
        d.widths.push_back(w.widths[i]);
        d.operations.push_back(dense);
        if (last && !w.classifies) continue;
        Operation f;
        f.kind = Kind::activation;
        f.activation = last ? Activation::softmax : w.hidden;
        f.sources = {dense.target};
        f.target = dense.target + 1;
        d.widths.push_back(w.widths[i]);
        d.operations.push_back(f);
    }
    d.loss = w.classifies ? Loss::cross_entropy : Loss::squared_error;
    if (w.classifies) d.loss_settings = {{"label_smoothing", 0.0}};
    d.canonical = true;
    d.rule = w.adam ? Rule::adam : Rule::sgd;
    return d;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) return 1;
    const double seconds = std::atof(argv[3]);
    for (Workload w : workloads) {
        if (std::strstr(argv[1], w.name) == nullptr) continue;
        if (argc > 4) w.batch = std::atol(argv[4]);
        const long outputs = w.widths.back();
        const Description d = describe(w);
        Executor executor(d, 32, std::atoi(argv[2]), *chosen_target());
        std::mt19937 random(1);
        std::normal_distribution<float> normal;
        std::vector<float> x(size_t(w.rows * w.widths[0])), y(size_t(w.rows * outputs)),
            parameters(size_t(d.parameter_count));
        std::vector<int64_t> labels(size_t(w.rows));
        for (float& v : x) v = normal(random);
        for (float& v : y) v = normal(random);
        for (int64_t& v : labels) v = int64_t(random() % 10);
        for (const Parameter& p : d.parameters)
            for (long i = 0; p.rows > 1 && i < p.rows * p.columns; ++i)
                parameters[size_t(p.offset + i)] = normal(random) / std::sqrt(float(p.rows));
        std::vector<int64_t> orders(size_t(w.rows));
        std::iota(orders.begin(), orders.end(), int64_t(0));
        std::shuffle(orders.begin(), orders.end(), random);
        const double adam[] = {1e-3, .9, .999, 1.0, 1e-8, 0.0};
        const long steps = (w.rows + w.batch - 1) / w.batch;
        long epochs = 1;
        double best = 1e30, spent = 0, weights = 0;
        for (const Parameter& p : d.parameters) weights += p.rows > 1 ? double(p.rows * p.columns) : 0;
        const double flops =
            double(w.rows) / double(steps) * (6 * weights - 2 * double(w.widths[0] * w.widths[1]));
        std::vector<double> shares;
        for (int round = 0; spent < seconds || round < 3; ++round) {
            std::vector<double> scalars, record(size_t(epochs) * (3 + d.parameters.size()));
            std::vector<double> step_losses(size_t(2 * epochs * steps));
            std::vector<int64_t> updates(static_cast<size_t>(epochs));
            for (long s = 0; s < epochs * steps; ++s)
                for (int i = 0; i < d.scalars(); ++i)
                    scalars.push_back(i == 0 ? 1e-3 : w.adam ? adam[i] : 0.0);
            TrainingRun run;
            run.input = {x.data(), Number::float32, w.widths[0], w.widths[0]};
            if (w.classifies)
                run.targets = {labels.data(), Number::int64, 0, 1};
            else
                run.targets = {y.data(), Number::float32, outputs, outputs};
            run.visited = w.rows;
            run.batch_size = w.batch;
            run.steps_per_epoch = steps;
            run.steps = epochs * steps;
            if (w.batch < w.rows) {
                run.order = orders.data();
                run.order_each = false;
            }
            run.scalars = scalars.data();
            run.parameters = parameters.data();
            double* at = record.data();
            for (double** to : {&run.loss_sum, &run.weight_sum, &run.penalty_sum}) {
                *to = at;
                at += epochs;
            }
            run.gradient_squares = at;
            run.updates = updates.data();
            run.step_losses = step_losses.data();
            const double before = peak(executor.threads_used());
            const auto start = std::chrono::steady_clock::now();
            executor.train(run);
            const double took =
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            const double after = peak(executor.threads_used());
            if (round > 0) shares.push_back(flops * double(epochs * steps) / took * 2e-9 / (before + after));
            if (std::getenv("ROUNDS"))
                std::printf("%.2f(%.0f) ", 1e6 * took / double(epochs * steps), before);
            spent += took;
            if (round > 0 && took / double(epochs * steps) < best) best = took / double(epochs * steps);
            if (took < seconds / 10) epochs = long(double(epochs) * std::min(10.0, seconds / 5 / took)) + 1;
        }
        std::sort(shares.begin(), shares.end());
        std::printf("%s %10.2f us/step at best %7.1f GFLOP/s; median share of the peak %5.1f%%\n", w.name,
                    1e6 * best, 1e-9 * flops / best, 100 * shares[shares.size() / 2]);
        std::fflush(stdout);
    }
}
