// The three matrix products of backpropagation, as register tiles over panels.
//
// A matrix is kept in column panels of NR = two vectors: panel p holds columns p*NR .. p*NR+NR-1,
// row after row,
//
//     element (row, column)  at  [column / NR] * stride + row * NR + column % NR
//
// where the stride of a panel is rows * NR. Activations and deltas (rows = examples of one row tile)
// and weights (rows = inputs) have the same layout, and so has the transposed copy of the weights
// (rows = outputs) that the backward product reads. Then all three products stream:
//
//     forward    z[r, n]      = bias[n] + sum_k a[r, k] W[k, n]      k in order: 0, 1, 2, ...
//     backward   d_prev[r, k] =           sum_n d[r, n] Wt[n, k]     n in order
//     gradient   dW[k, n]     =           sum_r a[r, k] d[r, n]      r in order
//
// Every element is one chain of fused multiply-adds in the order of the summed index, so its bits
// depend on nothing but the length of the sum: not on how rows, panels or blocks are cut.
#pragma once

#include "simd.hpp"

namespace deltarule::DR_TARGET {

template <class T>
inline constexpr int panel_width = 2 * lanes<T>;  // NR

inline constexpr int tile_rows = DR_VECTOR_BYTES == 64 ? 12 : DR_VECTOR_BYTES == 32 ? 6 : 4;  // MR
inline constexpr long depth_block = 256;  // k of one pass: a block of W's panel stays in L1

// c[M, NR] (+)= a[M, k0:k1] @ w[k0:k1, NR]; k0 a multiple of NR. V: vectors of the panel in use.
//   in   a       the tile's rows in panel 0, panels `a_stride` apart
//   in   w       row 0 of W's panel
//   in   start   M rows `start_stride` apart to start from: the bias (stride 0) or c itself
//   out  c       M rows of NR
template <class T, int M, int V>
DR_INLINE void product_tile(const T* a, long a_stride, const T* w, long k0, long k1, const T* start,
                            long start_stride, T* c) {
    constexpr int NR = panel_width<T>, L = lanes<T>;
    vec<T> sum[M][V];
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < V; ++v) sum[i][v] = load(start + i * start_stride + v * L);
    const auto step = [&](const T* __restrict a_panel, const T* __restrict w_row, int j) {
        vec<T> b[V];
        for (int v = 0; v < V; ++v) b[v] = load(w_row + j * NR + v * L);
        for (int i = 0; i < M; ++i) {
            const vec<T> x = broadcast(a_panel[i * NR + j]);
            for (int v = 0; v < V; ++v) sum[i][v] = fma(x, b[v], sum[i][v]);
        }
    };
    const T* a_panel = a + (k0 / NR) * a_stride;
    const T* w_row = w + k0 * NR;
    const T* const w_full = w + (k0 + (k1 - k0) / NR * NR) * NR;
    for (; w_row != w_full; w_row += NR * NR, a_panel += a_stride)
#pragma GCC unroll 32
        for (int j = 0; j < NR; ++j) step(a_panel, w_row, j);
    for (int j = 0; j < (k1 - k0) % NR; ++j) step(a_panel, w_row, j);
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < V; ++v) store(c + i * NR + v * L, sum[i][v]);
}

// The rows of one tile, cut as evenly as MR allows.
template <class T, int V, int M = tile_rows>
DR_INLINE void product_rows(int m, const T* a, long a_stride, const T* w, long k0, long k1,
                            const T* start, long start_stride, T* c) {
    if (m == M)
        product_tile<T, M, V>(a, a_stride, w, k0, k1, start, start_stride, c);
    else if constexpr (M > 1)
        product_rows<T, V, M - 1>(m, a, a_stride, w, k0, k1, start, start_stride, c);
}

// c[rows, panel] (+)= a[rows, k0:k1] @ w[k0:k1, panel].
//   in   start    NR values that every row starts from, or null: start from c
//   out  c        rows of NR
template <class T, int V>
void product_panel(long rows, const T* a, long a_stride, const T* w, long k0, long k1, const T* start,
                   T* c) {
    constexpr int NR = panel_width<T>;
    const long pieces = (rows + tile_rows - 1) / tile_rows;
    const long base = rows / pieces, larger = rows % pieces;  // `larger` pieces have one row more
    long r = 0;
    for (long piece = 0; piece < pieces; ++piece) {
        const int m = int(base + (piece < larger));
        product_rows<T, V>(m, a + r * NR, a_stride, w, k0, k1, start ? start : c + r * NR,
                           start ? 0 : NR, c + r * NR);
        r += m;
    }
}

// sum[M, NR] += a[rows, M columns of one panel].T @ d[rows, one panel]
//   in      a    first of the M columns in row 0; rows NR apart
//   in      d    row 0 of the panel
//   in/out  sum  M rows of NR
template <class T, int M, int V>
DR_INLINE void gradient_tile(long rows, const T* __restrict a, const T* __restrict d,
                             T* __restrict sums) {
    constexpr int NR = panel_width<T>, L = lanes<T>;
    vec<T> sum[M][V];
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < V; ++v) sum[i][v] = load(sums + i * NR + v * L);
    for (long r = 0; r < rows; ++r, a += NR, d += NR) {
        vec<T> b[V];
        for (int v = 0; v < V; ++v) b[v] = load(d + v * L);
        for (int i = 0; i < M; ++i) {
            const vec<T> x = broadcast(a[i]);
            for (int v = 0; v < V; ++v) sum[i][v] = fma(x, b[v], sum[i][v]);
        }
    }
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < V; ++v) store(sums + i * NR + v * L, sum[i][v]);
}

template <class T, int V, int M = tile_rows>
DR_INLINE void gradient_columns(int m, long rows, const T* a, const T* d, T* sums) {
    if (m == M)
        gradient_tile<T, M, V>(rows, a, d, sums);
    else if constexpr (M > 1)
        gradient_columns<T, V, M - 1>(m, rows, a, d, sums);
}

// sum[columns, NR] += a[rows, first columns of one panel].T @ d[rows, one panel]; columns <= NR.
template <class T, int V>
void gradient_block(long rows, int columns, const T* a, const T* d, T* sums) {
    constexpr int NR = panel_width<T>;
    const int pieces = (columns + tile_rows - 1) / tile_rows;
    const int base = columns / pieces, larger = columns % pieces;
    int k = 0;
    for (int piece = 0; piece < pieces; ++piece) {
        const int m = base + (piece < larger);
        gradient_columns<T, V>(m, rows, a + k, d, sums + k * NR);
        k += m;
    }
}

}  // namespace deltarule::DR_TARGET
