// Rates of the three products of a dense layer of n inputs and n outputs, on one core, in GFLOP/s, through the
// same functions that training uses: forward, backward, gradient.
//
//     c++ -O3 -std=c++20 -mavx2 -mfma -ffp-contract=off -DDR_TARGET=avx2 -I../src bench_products.cpp ../src/memory.cpp
//
// bench_products.py prints the same table for torch.mm.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "memory.hpp"
#include "parameters.hpp"
#include "rows.hpp"

using namespace deltarule;
using namespace deltarule::DR_TARGET;

namespace {

template <class Work>
double rate(double flops, Work work) {
    using Clock = std::chrono::steady_clock;
    double fastest = 1e9;
    for (int round = 0; round < 5; ++round) {
        int count = 0;
        double seconds = 0;
        const auto start = Clock::now();
        do {
            work();
            ++count;
            seconds = std::chrono::duration<double>(Clock::now() - start).count();
        } while (seconds < 0.01);
        fastest = std::min(fastest, seconds / count);
    }
    return 1e-9 * flops / fastest;
}

float* make(long count) {
    float* const p = static_cast<float*>(allocate(size_t(count) * sizeof(float)));
    for (long i = 0; i < count; ++i) p[i] = float((i * 7 % 13) - 6) / 16;
    return p;
}

void measure(long rows, long n) {
    constexpr long NR = panel_width<float>;
    const long padded = (n + NR - 1) / NR * NR, capacity = std::min(rows, 256L);
    const long count = (rows + capacity - 1) / capacity, tile_size = 2 * padded * capacity;
    float *const tiles = make(count * tile_size), *const parameters = make((n + 1) * padded),
                 *const transposed = make(padded * n), *const gradient = make(n * padded);
    std::vector<Tile> table;
    for (long i = 0; i < count; ++i)
        table.push_back({i * capacity, std::min(capacity, rows - i * capacity), tiles + i * tile_size});

    Instruction op;
    op.kind = Kind::dense;
    op.inputs = op.outputs = n;
    op.in = op.d_in = 0;
    op.pre = op.out = op.d_out = padded * capacity;
    op.weight = 0;
    op.bias = n * padded;
    op.direct = rows <= 4 && n > 4;
    op.transposed = op.direct || n * n >= 1 << 20 ? -1 : 0;
    PackedParameter parameter;
    parameter.inputs = parameter.outputs = n;
    parameter.x = op.in;
    parameter.d = op.d_out;
    Program program;
    program.layout = &parameter;
    program.tiles = table.data();
    program.tile_count = int(count);
    program.capacity = capacity;
    program.batch = rows;
    program.parameters = parameters;
    program.transposed = transposed;
    program.gradient = gradient;

    const double flops = 2.0 * double(rows) * double(n) * double(n);
    const int panels_of = int(padded / NR);
    const double forward = rate(flops, [&] {
        for (const Tile& tile : table) dense_outputs<float>(program, op, tile, 0, panels_of);
    });
    const double backward = rate(flops, [&] {
        for (const Tile& tile : table) dense_inputs<float>(program, op, tile, 0, panels_of);
    });
    const double products = rate(flops, [&] {
        for (int p = 0; p < panels_of; p += task_panels)
            for (int q = 0; q < panels_of; q += most_task_blocks) {
                TaskSums sums;
                run_task<float>(program,
                                {0, p, std::min(p + task_panels, panels_of), q,
                                 std::min(q + most_task_blocks, panels_of)},
                                Consume::accumulate, sums);
            }
    });
    std::printf("| %ld | %ld | %.1f, %.1f, %.1f |\n", rows, n, forward, backward, products);
    std::fflush(stdout);
    for (float* p : {tiles, parameters, transposed, gradient}) release(p);
}

}  // namespace

int main() {
    std::printf("| rows | n | forward, backward, gradient |\n|---|---|---|\n");
    for (const long rows : {1, 16, 128, 1024, 4096})
        for (const long n : {1, 16, 64, 256, 1024, 4096}) measure(rows, n);
}
