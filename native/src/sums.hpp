// Sums over many rows in an order that the count alone fixes: in strips, and in runs down the columns of a batch.
#pragma once

#include "program.hpp"
#if defined(DR_TARGET)
#include "simd.hpp"
#endif

namespace deltarule {

// A sum whose order depends on the count alone: eight strips.
template <class Term>
double sum_in_strips(long count, Term term) {
    double strips[8] = {};
    long i = 0;
    for (; i + 8 <= count; i += 8)
        for (long j = 0; j < 8; ++j) strips[j] += term(i + j);
    for (long j = 0; i + j < count; ++j) strips[j] += term(i + j);
    return ((strips[0] + strips[1]) + (strips[2] + strips[3])) +
           ((strips[4] + strips[5]) + (strips[6] + strips[7]));
}

}  // namespace deltarule

#if defined(DR_TARGET)  // with the vectors of one target
namespace deltarule::DR_TARGET {

// visit(column vector v of panel p in one row's value 0) for the rows of all tiles, in their order.
template <class T, class Visit>
DR_INLINE void down_column(const Program& program, long p, long v, Visit visit) {
    constexpr long NR = 2 * lanes<T>;
    for (int i = 0; i < program.tile_count; ++i) {
        const Tile& tile = program.tiles[i];
        const T* const base = static_cast<const T*>(tile.base) + p * program.capacity * NR + v * lanes<T>;
        for (long r = 0; r < tile.rows; ++r) visit(base + r * NR);
    }
}

// Sums of one column vector over all rows, in runs of 32 rows so that rounding stays small.
template <class T>
struct RunningSum {
    vec<T> total{}, run{};
    int count = 0;
    DR_INLINE void add(vec<T> x) {
        run = run + x;
        if (++count == 32) {
            total = total + run;
            run = vec<T>{};
            count = 0;
        }
    }
    DR_INLINE vec<T> value() const { return total + run; }
};

}  // namespace deltarule::DR_TARGET
#endif
