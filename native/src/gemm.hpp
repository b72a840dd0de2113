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

// What a product is made of: sum + x * b, lane by lane. (bfloat16.hpp has pairs of numbers in the place of one.)
template <class T>
struct Singles {
    using Operand = T;
    static constexpr int most_rows = tile_rows;  // of a register tile
    static DR_INLINE vec<T> add(vec<T> x, vec<T> b, vec<T> sum) { return fma(x, b, sum); }
};

// c[M rows, P panels] (+)= a[M rows, k0:k1] @ w[k0:k1, P panels]; k0 a multiple of NR. V: vectors of a
// panel in use.
//   in   a       the tile's rows in panel 0, panels `a_stride` apart
//   in   w       row 0 of W's first panel, panels `w_stride` apart
//   in   start   what to start from: the bias (rows 0 and panels NR apart) or c itself (as c)
//   out  c       rows NR apart, panels `c_stride` apart
template <class T, int M, int V, int P, class Terms = Singles<T>>
DR_INLINE void product_tile(const typename Terms::Operand* a, long a_stride, const typename Terms::Operand* w,
                            long w_stride, long k0, long k1, const T* start, long start_row, long start_panel,
                            T* c, long c_stride) {
    using Operand = typename Terms::Operand;
    constexpr int NR = panel_width<T>, L = lanes<T>;
    vec<T> sum[P][M][V];
    for (int p = 0; p < P; ++p)
        for (int i = 0; i < M; ++i)
            for (int v = 0; v < V; ++v) sum[p][i][v] = load(start + p * start_panel + i * start_row + v * L);
    const auto step = [&](const Operand* __restrict a_panel, const Operand* __restrict w_row, int j) {
        for (int p = 0; p < P; ++p) {
            vec<Operand> b[V];
            for (int v = 0; v < V; ++v) b[v] = load(w_row + p * w_stride + j * NR + v * L);
            for (int i = 0; i < M; ++i) {
                const vec<Operand> x = broadcast(a_panel[i * NR + j]);
                for (int v = 0; v < V; ++v) sum[p][i][v] = Terms::add(x, b[v], sum[p][i][v]);
            }
        }
    };
    const Operand* a_panel = a + (k0 / NR) * a_stride;
    const Operand* w_row = w + k0 * NR;
    const Operand* const w_full = w + (k0 + (k1 - k0) / NR * NR) * NR;
    for (; w_row != w_full; w_row += NR * NR, a_panel += a_stride)
#pragma GCC unroll 32
        for (int j = 0; j < NR; ++j) step(a_panel, w_row, j);
    for (int j = 0; j < (k1 - k0) % NR; ++j) step(a_panel, w_row, j);
    for (int p = 0; p < P; ++p)
        for (int i = 0; i < M; ++i)
            for (int v = 0; v < V; ++v) store(c + p * c_stride + i * NR + v * L, sum[p][i][v]);
}

// The same for m <= M rows.
template <class T, int V, int P, class Terms, int M>
DR_INLINE void product_rows(int m, const typename Terms::Operand* a, long a_stride,
                            const typename Terms::Operand* w, long w_stride, long k0, long k1, const T* start,
                            long start_row, long start_panel, T* c, long c_stride) {
    if (m == M)
        product_tile<T, M, V, P, Terms>(a, a_stride, w, w_stride, k0, k1, start, start_row, start_panel, c,
                                        c_stride);
    else if constexpr (M > 1)
        product_rows<T, V, P, Terms, M - 1>(m, a, a_stride, w, w_stride, k0, k1, start, start_row,
                                            start_panel, c, c_stride);
}

// c[rows, panel] (+)= a[rows, k0:k1] @ w[k0:k1, panel], the rows cut as evenly as MR allows.
//   in   start    NR values that every row starts from, or null: start from c
template <class T, int V, class Terms = Singles<T>>
void product_panel(long rows, const typename Terms::Operand* a, long a_stride,
                   const typename Terms::Operand* w, long k0, long k1, const T* start, T* c) {
    constexpr int NR = panel_width<T>;
    const long pieces = (rows + Terms::most_rows - 1) / Terms::most_rows;
    const long base = rows / pieces, larger = rows % pieces;  // `larger` pieces have one row more
    long r = 0;
    for (long piece = 0; piece < pieces; ++piece) {
        const int m = int(base + (piece < larger));
        product_rows<T, V, 1, Terms, Terms::most_rows>(m, a + r * NR, a_stride, w, 0, k0, k1,
                                                       start ? start : c + r * NR, start ? 0 : NR, 0,
                                                       c + r * NR, 0);
        r += m;
    }
}

// Few rows leave registers free, and one panel alone would wait for its own additions: several panels
// at once, all their vectors in use.
template <class T>
inline constexpr int few_rows = 2;

template <class T, int P>
void product_few_rows(long rows, const T* a, long a_stride, const T* w, long w_stride, long k0, long k1,
                      const T* start, T* c, long c_stride) {
    constexpr int NR = panel_width<T>;
    for (long r = 0; r < rows; ++r)
        product_tile<T, 1, 2, P>(a + r * NR, a_stride, w, w_stride, k0, k1, start ? start : c + r * NR, 0,
                                 start ? NR : c_stride, c + r * NR, c_stride);
}

// One row times R rows of a matrix as the user has it, rows of N:  z[n] += sum_k a[k] W[k, n], k in order.
//   in      a  R values
//   in      w  (R, N), column n0 first
//   in/out  z  columns n0 .. n1 in panels `z_stride` apart, n0 a multiple of NR
template <class T, int R>
DR_INLINE void flat_rows(const T* a, const T* w, long N, T* z, long z_stride, long n0, long n1) {
    constexpr int L = lanes<T>, NR = panel_width<T>;
    vec<T> x[R];
    for (int k = 0; k < R; ++k) x[k] = broadcast(a[k]);
    const auto add = [&](long n, auto load_columns) {
        T* const to = z + (n / NR) * z_stride + n % NR;
        vec<T> sum = load(to);
        for (int k = 0; k < R; ++k) sum = fma(x[k], load_columns(w + k * N + (n - n0)), sum);
        store(to, sum);
    };
    long n = n0;
    for (; n + L <= n1; n += L) add(n, [](const T* from) { return loadu(from); });
    if (n < n1) add(n, [&](const T* from) { return load_partial(from, int(n1 - n)); });
}

// z[n] = bias[n] + sum_k a[k] W[k, n] for one row and n0 <= n < n1. Nothing is packed for a single prediction:
// the weights stream by once, four rows at a time, and the sums are those of the panels, bit for bit.
//   in  a     one row, panels `a_stride` apart
//   in  w     (K, N)
//   in  bias  N values, or null
template <class T>
void flat_row(const T* a, long a_stride, const T* w, long K, long N, const T* bias, T* z, long z_stride,
              long n0, long n1) {
    constexpr int L = lanes<T>, NR = panel_width<T>;
    for (long n = n0; n < n1; n += L)
        store(z + (n / NR) * z_stride + n % NR,
              bias ? load_partial(bias + n, n1 - n < L ? int(n1 - n) : L) : vec<T>{});
    long k = 0;
    for (; k + 4 <= K; k += 4)
        flat_rows<T, 4>(a + (k / NR) * a_stride + k % NR, w + k * N + n0, N, z, z_stride, n0, n1);
    for (; k < K; ++k)
        flat_rows<T, 1>(a + (k / NR) * a_stride + k % NR, w + k * N + n0, N, z, z_stride, n0, n1);
}

// The backward product for few rows from the weights themselves, which then need no transposed copy:
//     out[k0 + j] = sum_n d[n] W[k0 + j, n],  j < count <= lanes
// Lane l of a sum takes n = l, l + L, l + 2L, ...; then the lanes are added (sum_lanes).
//   in  d   one row of the deltas, panels `d_stride` apart; zero past `outputs`
//   in  w   row k0 of W's first panel, panels `w_stride` apart
template <class T>
DR_INLINE void dot_rows(const T* d, long d_stride, const T* w, long w_stride, long outputs, int count,
                        T* out) {
    constexpr int NR = panel_width<T>, L = lanes<T>;
    vec<T> sum[L] = {};
    for (long n = 0; n < outputs; n += NR, d += d_stride, w += w_stride)
        for (int v = 0; v < 2 && n + v * L < outputs; ++v) {
            const vec<T> x = load_partial(d + v * L, outputs - n - v * L < L ? int(outputs - n - v * L) : L);
            if (count == L)
                for (int j = 0; j < L; ++j) sum[j] = fma(load(w + j * NR + v * L), x, sum[j]);
            else
                for (int j = 0; j < count; ++j) sum[j] = fma(load(w + j * NR + v * L), x, sum[j]);
        }
    for (int j = 0; j < count; ++j) out[j] = sum_lanes(sum[j]);
}

// sum[M, NR] += a[rows, M columns of one panel].T @ d[rows, one panel]
//   in      a    first of the M columns in row 0; rows NR apart
//   in      d    row 0 of the panel
//   in/out  sum  M rows of NR
template <class T, int M, int V, class Terms>
DR_INLINE void gradient_tile(long rows, const typename Terms::Operand* __restrict a,
                             const typename Terms::Operand* __restrict d, T* __restrict sums) {
    using Operand = typename Terms::Operand;
    constexpr int NR = panel_width<T>, L = lanes<T>;
    vec<T> sum[M][V];
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < V; ++v) sum[i][v] = load(sums + i * NR + v * L);
    for (long r = 0; r < rows; ++r, a += NR, d += NR) {
        vec<Operand> b[V];
        for (int v = 0; v < V; ++v) b[v] = load(d + v * L);
        for (int i = 0; i < M; ++i) {
            const vec<Operand> x = broadcast(a[i]);
            for (int v = 0; v < V; ++v) sum[i][v] = Terms::add(x, b[v], sum[i][v]);
        }
    }
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < V; ++v) store(sums + i * NR + v * L, sum[i][v]);
}

template <class T, int V, class Terms, int M = Terms::most_rows>
DR_INLINE void gradient_columns(int m, long rows, const typename Terms::Operand* a,
                                const typename Terms::Operand* d, T* sums) {
    if (m == M)
        gradient_tile<T, M, V, Terms>(rows, a, d, sums);
    else if constexpr (M > 1)
        gradient_columns<T, V, Terms, M - 1>(m, rows, a, d, sums);
}

// sum[columns, NR] += a[rows, first columns of one panel].T @ d[rows, one panel]; columns <= NR.
template <class T, int V, class Terms = Singles<T>>
void gradient_block(long rows, int columns, const typename Terms::Operand* a,
                    const typename Terms::Operand* d, T* sums) {
    constexpr int NR = panel_width<T>;
    const int pieces = (columns + Terms::most_rows - 1) / Terms::most_rows;
    const int base = columns / pieces, larger = columns % pieces;
    int k = 0;
    for (int piece = 0; piece < pieces; ++piece) {
        const int m = base + (piece < larger);
        gradient_columns<T, V, Terms>(m, rows, a + k, d, sums + k * NR);
        k += m;
    }
}

}  // namespace deltarule::DR_TARGET
