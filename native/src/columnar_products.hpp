// The three matrix products where rows fill the lanes. A value of a row tile is kept column by column,
//
//     element (row, column)  at  column * capacity + row        capacity: a multiple of the lanes
//
// and weights as the network has them, (inputs, outputs) row after row. A weight is one scalar for a vector of rows,
// so that a layer of three units computes three, not the lanes of a panel:
//
//     forward    z[n][:]      = bias[n] + sum_k W[k, n] a[k][:]      k in order: 0, 1, 2, ...
//     backward   d_prev[k][:] =           sum_n W[k, n] d[n][:]      n in order
//     gradient   dW[k, n]     = sum over the lanes of  sum_r a[k][r] d[n][r]
//
// The gradient's lanes are summed once a tile. Rows past the tile's last have deltas of 0.
#pragma once

#include "transpose.hpp"

namespace deltarule::DR_TARGET {

inline constexpr bool many_registers = DR_VECTOR_BYTES == 64;
inline constexpr int units_at_once = many_registers ? 8 : 4;

// Vectors of rows beside U units: enough independent sums to hide an addition's latency, few enough for the registers.
inline constexpr int vectors_beside(int units) {
    if (!many_registers) return units == 1 ? 6 : units == 2 ? 4 : units == 3 ? 3 : 2;
    return units == 1 ? 8 : units <= 4 ? 4 : 3;
}

// out[u][V vectors] = start + sum_s w[u * w_unit + s * w_term] in[s][V vectors], for U units.
//   in   in, out  columns `capacity` apart
//   in   bias     U scalars to start from, or null: from 0, or with `add` from `out`
template <class T, int U, int V>
DR_INLINE void units_tile(const T* in, long capacity, const T* w, long w_unit, long w_term, long terms,
                          const T* bias, bool add, T* out) {
    constexpr int L = lanes<T>;
    vec<T> sum[U][V];
    for (int u = 0; u < U; ++u)
        for (int v = 0; v < V; ++v)
            sum[u][v] = bias ? broadcast(bias[u]) : add ? load(out + u * capacity + v * L) : vec<T>{};
    for (long s = 0; s < terms; ++s, in += capacity, w += w_term) {
        vec<T> x[V];
        for (int v = 0; v < V; ++v) x[v] = load(in + v * L);
        for (int u = 0; u < U; ++u) {
            const vec<T> factor = broadcast(w[u * w_unit]);
            for (int v = 0; v < V; ++v) sum[u][v] = fma(factor, x[v], sum[u][v]);
        }
    }
    for (int u = 0; u < U; ++u)
        for (int v = 0; v < V; ++v) store(out + u * capacity + v * L, sum[u][v]);
}

// The same for `vectors` vectors of rows, as evenly cut as the registers allow.
template <class T, int U, int V = vectors_beside(U)>
DR_INLINE void units_vectors(int vectors, const T* in, long capacity, const T* w, long w_unit, long w_term,
                             long terms, const T* bias, bool add, T* out) {
    if (vectors == V)
        units_tile<T, U, V>(in, capacity, w, w_unit, w_term, terms, bias, add, out);
    else if constexpr (V > 1)
        units_vectors<T, U, V - 1>(vectors, in, capacity, w, w_unit, w_term, terms, bias, add, out);
}
template <class T, int U>
void units_rows(long vectors, const T* in, long capacity, const T* w, long w_unit, long w_term, long terms,
                const T* bias, bool add, T* out) {
    constexpr long most = vectors_beside(U);
    const long pieces = (vectors + most - 1) / most, base = vectors / pieces, larger = vectors % pieces;
    for (long piece = 0; piece < pieces; ++piece) {
        const int v = int(base + (piece < larger));
        units_vectors<T, U>(v, in, capacity, w, w_unit, w_term, terms, bias, add, out);
        in += v * lanes<T>;
        out += v * lanes<T>;
    }
}

// out[u][:] for all units, in blocks as even as `units_at_once` allows.
template <class T, int U = units_at_once>
DR_INLINE void units_block(int units, long vectors, const T* in, long capacity, const T* w, long w_unit,
                           long w_term, long terms, const T* bias, bool add, T* out) {
    if (units == U)
        units_rows<T, U>(vectors, in, capacity, w, w_unit, w_term, terms, bias, add, out);
    else if constexpr (U > 1)
        units_block<T, U - 1>(units, vectors, in, capacity, w, w_unit, w_term, terms, bias, add, out);
}
template <class T>
void units_product(long units, long vectors, const T* in, long capacity, const T* w, long w_unit, long w_term,
                   long terms, const T* bias, bool add, T* out) {
    const long pieces = (units + units_at_once - 1) / units_at_once;
    const long base = units / pieces, larger = units % pieces;
    for (long piece = 0, n = 0; piece < pieces; ++piece) {
        const int u = int(base + (piece < larger));
        units_block(u, vectors, in, capacity, w + n * w_unit, w_unit, w_term, terms,
                    bias ? bias + n : nullptr, add, out + n * capacity);
        n += u;
    }
}

// Lane i of the result: the sum of the lanes of x[i]; the order depends on the number of lanes alone.
template <class T, int s, int count, int... j>
DR_INLINE void sum_stages(vec<T>* x, Indices<j...> all) {
    if constexpr (count > 1) {
        for (int i = 0; i < count / 2; ++i) {
            vec<T> a = x[2 * i], b = x[2 * i + 1];
            exchange<s>(a, b, all);
            x[i] = a + b;
        }
        sum_stages<T, 2 * s, count / 2>(x, all);
    }
}
template <class T>
DR_INLINE vec<T> sums_of_lanes(vec<T>* x) {
    if constexpr (lanes<T> == 2)
        sum_stages<T, 1, 2>(x, Indices<0, 1>{});
    else if constexpr (lanes<T> == 4)
        sum_stages<T, 1, 4>(x, Indices<0, 1, 2, 3>{});
    else if constexpr (lanes<T> == 8)
        sum_stages<T, 1, 8>(x, Indices<0, 1, 2, 3, 4, 5, 6, 7>{});
    else
        sum_stages<T, 1, 16>(x, Indices<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>{});
    return x[0];
}

inline constexpr int inputs_at_once = 4;
inline constexpr int outputs_at_once = many_registers ? 4 : 2;

// sums[a][b] += sum over the rows of x[a][:] d[b][:]
//   in      x     A columns
//   in      d     B columns, `capacity` apart
//   in/out  sums  A rows of B
template <class T, int A, int B>
DR_INLINE void columns_tile(long vectors, const T* const* x, const T* d, long capacity, T* const* sums) {
    constexpr int L = lanes<T>, whole = (A * B + L - 1) / L * L;
    vec<T> sum[whole] = {};
    const T* at[A];
    for (int a = 0; a < A; ++a) at[a] = x[a];
    for (long r = 0; r < vectors * L; r += L) {
        vec<T> delta[B];
        for (int b = 0; b < B; ++b) delta[b] = load(d + b * capacity + r);
        for (int a = 0; a < A; ++a) {
            const vec<T> factor = load(at[a] + r);
            for (int b = 0; b < B; ++b) sum[a * B + b] = fma(factor, delta[b], sum[a * B + b]);
        }
    }
    alignas(vector_bytes) T flat[whole];
    for (int i = 0; i < whole; i += L) store(flat + i, sums_of_lanes<T>(sum + i));
    for (int a = 0; a < A; ++a)
        for (int b = 0; b < B; ++b) sums[a][b] += flat[a * B + b];
}

template <class T, int A, int B = outputs_at_once>
DR_INLINE void columns_block(int columns, long vectors, const T* const* x, const T* d, long capacity,
                             T* const* sums) {
    if (columns == B)
        columns_tile<T, A, B>(vectors, x, d, capacity, sums);
    else if constexpr (B > 1)
        columns_block<T, A, B - 1>(columns, vectors, x, d, capacity, sums);
}
template <class T, int A = inputs_at_once>
DR_INLINE void columns_rows(int rows, long outputs, long vectors, const T* const* x, const T* d,
                            long capacity, T* const* sums) {
    if (rows == A) {
        T* to[A];
        for (int a = 0; a < A; ++a) to[a] = sums[a];
        for (long n = 0; n < outputs; n += outputs_at_once) {
            const long left = outputs - n;
            columns_block<T, A>(int(left < outputs_at_once ? left : outputs_at_once), vectors, x,
                                d + n * capacity, capacity, to);
            for (int a = 0; a < A; ++a) to[a] += outputs_at_once;
        }
    } else if constexpr (A > 1) {
        columns_rows<T, A - 1>(rows, outputs, vectors, x, d, capacity, sums);
    }
}

// dW[k, n] += sum over the rows of x[k][:] d[n][:], and db[n] that of d[n][:], which is an input of ones.
//   in      x, d, ones  columns `capacity` apart
//   in/out  dw          (inputs, outputs)
//   in/out  db          or null
template <class T>
void gradient_product(long inputs, long outputs, long vectors, const T* x, const T* d, const T* ones,
                      long capacity, T* dw, T* db) {
    const long all = inputs + (db != nullptr);
    const long pieces = (all + inputs_at_once - 1) / inputs_at_once;
    const long base = all / pieces, larger = all % pieces;
    for (long piece = 0, k = 0; piece < pieces; ++piece) {
        const int rows = int(base + (piece < larger));
        const T* from[inputs_at_once];
        T* to[inputs_at_once];
        for (int a = 0; a < rows; ++a) {
            from[a] = k + a < inputs ? x + (k + a) * capacity : ones;
            to[a] = k + a < inputs ? dw + (k + a) * outputs : db;
        }
        columns_rows<T>(rows, outputs, vectors, from, d, capacity, to);
        k += rows;
    }
}

}  // namespace deltarule::DR_TARGET
