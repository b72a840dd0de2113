// Softmax over the rows of a tile, which lie in panels.
//
//     a_j = e^{z_j - m} / sum_k e^{z_k - m},  m = max_k z_k
//
// Subtracting the maximum keeps exp from overflowing; the largest term is 1, so the sum is at least 1. NaN anywhere in
// a row makes all of it NaN: the maximum passes over it, the sum does not. The sum is taken lane by lane over the row,
// then by sum_lanes.
#pragma once

#include "elementwise.hpp"
#include "math.hpp"
#include "transpose.hpp"

namespace deltarule::DR_TARGET {

template <class T>
inline constexpr T largest_finite = T(sizeof(T) == 4 ? 3.4028234663852886e38 : 1.7976931348623157e308);

// The largest element of a row; NaN-free rows only (others turn NaN in what follows).
template <class T>
DR_INLINE T row_max(const T* x, long columns, long stride) {
    const vec<T> lowest = broadcast(T(-__builtin_inf()));
    vec<T> largest = lowest;
    for_row<T>(columns, stride,
               [&](long i, auto mask) { largest = max(select(mask, load(x + i), lowest), largest); });
    return max_lanes(largest);
}

// Where a row of few columns fits into a vector, L rows at a time are turned into columns: what runs across the lanes
// of each row is then done for all of them at once, in the same order, and has the same bits.
template <class T>
DR_INLINE bool by_columns(long rows, long columns) {
    return columns <= lanes<T> && 4 * rows >= lanes<T>;
}

// out  c  column j of up to L rows, one in each lane, for j < L; rows beyond `rows` are zero
template <class T>
DR_INLINE void load_columns(long rows, const T* x, vec<T>* c) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    for (long i = 0; i < L; ++i) c[i] = i < rows ? load(x + i * NR) : vec<T>{};
    transpose<T>(c);
}

template <class T>
DR_INLINE vec<T> max_columns(const vec<T>* c, long columns) {
    vec<T> largest = broadcast(T(-__builtin_inf()));
    for (long j = 0; j < columns; ++j) largest = max(c[j], largest);
    return largest;
}

// The sum of L columns in the order of sum_lanes; c is used up.
template <class T>
DR_INLINE vec<T> sum_columns(vec<T>* c) {
    for (int half = lanes<T> / 2; half > 0; half /= 2)
        for (int j = 0; j < half; ++j) c[j] = c[j] + c[j + half];
    return c[0];
}

// softmax of up to L rows of up to L columns
template <class T>
void softmax_block(long rows, long columns, const T* z, T* a) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    vec<T> e[L], sums[L];
    load_columns(rows, z, e);
    const vec<T> m = max_columns<T>(e, columns);
    for (long j = 0; j < L; ++j) sums[j] = e[j] = j < columns ? exp(e[j] - m) : vec<T>{};
    const vec<T> sum = sum_columns<T>(sums);
    for (long j = 0; j < columns; ++j) e[j] = e[j] / sum;
    transpose<T>(e);
    for (long i = 0; i < rows; ++i) store(a + i * NR, e[i]);
}

// a_j = e^{z_j - m} / sum_k e^{z_k - m},  m = max_k z_k
template <class T>
void softmax_forward(long rows, long columns, long stride, const T* z, T* a) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    for (; by_columns<T>(rows, columns); rows -= L, z += L * NR, a += L * NR)
        softmax_block(rows < L ? rows : L, columns, z, a);
    for (long r = 0; r < rows; ++r, z += NR, a += NR) {
        const T m = row_max(z, columns, stride);
        vec<T> sums{};
        for_row<T>(columns, stride, [&](long i, auto mask) {
            const vec<T> e = select(mask, exp(load(z + i) - m), vec<T>{});
            store(a + i, e);
            sums = sums + e;
        });
        const T sum = sum_lanes(sums);
        for_row<T>(columns, stride, [&](long i, auto) { store(a + i, load(a + i) / sum); });
    }
}

// dL/dz_j = a_j (g_j - sum_k g_k a_k),  g = dL/da
template <class T>
void softmax_backward(long rows, long columns, long stride, const T* a, const T* d_out, T* d_in, bool add) {
    constexpr long NR = 2 * lanes<T>;
    for (long r = 0; r < rows; ++r, a += NR, d_out += NR, d_in += NR) {
        vec<T> sums{};
        for_row<T>(columns, stride, [&](long i, auto mask) {
            sums = sums + select(mask, load(d_out + i) * load(a + i), vec<T>{});
        });
        const T sum = sum_lanes(sums);
        for_row<T>(columns, stride, [&](long i, auto) {
            const vec<T> d = load(a + i) * (load(d_out + i) - sum);
            store(d_in + i, add ? load(d_in + i) + d : d);
        });
    }
}

// z - m, with no infinity from finite z: its product with a target of 0 must be 0.
template <class T>
DR_INLINE vec<T> shifted(vec<T> z, T m) {
    return max(broadcast(-largest_finite<T>), z - m);
}

}  // namespace deltarule::DR_TARGET
