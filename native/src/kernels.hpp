// One table of functions per target and dtype: all that the rest of the engine sees of vector code.
#pragma once

#include "program.hpp"
#include "purpose.hpp"

namespace deltarule {

struct Kernels {
    const char* target;
    int panel_width;  // NR
    void (*forward)(const Program&, int first, int last, const Tile&);
    void (*backward)(const Program&, int first, int last, const Tile&);
    // A group of tiles of a columnar program; out: its gradient, and one extent for each parameter.
    void (*columnar)(const Program&, const Tile& group, void* gradient, int parameters, Extent* out);
    // Products of a dense layer with few rows: item i of those below.
    void (*outputs)(const Program&, const Instruction&, long item);
    void (*inputs)(const Program&, const Instruction&, long item);
    void (*flush)(const Program&, const Instruction&, long item);  // a deferred update, cut as `outputs`
    // out: one for each of `count` parameters
    void (*extents)(const Program&, int count, const Tile&, Extent* out);
    void (*column_statistics)(const Program&, const Instruction&, long panel);
    void (*column_sums)(const Program&, const Instruction&, long panel);
    // Which of a batch's statistics no running ones can follow since they are not finite: 0 none, 1 mean, 2 variance.
    int (*endless_statistics)(const Program&, const Instruction&);
    void (*move_statistics)(const Program&, const Instruction&);
    void (*use_running)(const Program&, const Instruction&);
    void (*task)(const Program&, const Task&, Consume, TaskSums&);
    void (*update)(const Program&, const Task&);
    void (*constrain)(const Program&, const PackedParameter&, long panel);
    // Panels [p0, p1) of a parameter between the flat vector (canonical layout) and the packed one. `pack` returns the
    // largest absolute value; NaN counts as the largest of all.
    double (*pack)(const PackedParameter&, long p0, long p1, const void* flat, void* packed,
                   void* transposed);
    void (*unpack)(const PackedParameter&, long p0, long p1, const void* packed, void* flat);
    // The largest absolute value of a packed parameter or its state.
    double (*largest)(const PackedParameter&, const void* packed);
    // A value of a tile, (rows, columns), into rows of `out`.
    void (*read_value)(const Program&, const Tile&, long place, long columns, void* out);
    // out: (count,) the words of columns 0, 1, ... of a row, count <= 2^32
    void (*random_words)(uint64_t seed, Purpose purpose, uint64_t step, uint32_t row, long count,
                         uint32_t* out);
    double (*multiply_adds)(long repeats, double* sum);
};

struct Target {
    const char* name;
    bool (*supported)();
    const Kernels* float32;
    const Kernels* float64;
    bool pairs_in_hardware = false;  // bfloat16: it adds products of pairs in one instruction
};

// The targets compiled in, the best first, and the one in use: the best that this machine has, or the
// one that the environment variable DELTARULE_TARGET names (null where that one is missing).
const Target* targets(int* count);
const Target* chosen_target();

}  // namespace deltarule
