// L vectors of L lanes transposed in registers, by exchanging ever larger squares across the diagonal; and a block
// of a panel of weights.
#pragma once

#include "gemm.hpp"

namespace deltarule::DR_TARGET {

template <int... j>
struct Indices {};

// a: lanes j of `a` where j & s is 0, else lane j - s of `b`.  b: lane j + s of `a`, or lane j of `b`.
template <int s, class V, int... j>
DR_INLINE void exchange(V& a, V& b, Indices<j...>) {
    constexpr int L = sizeof...(j);
    const V first = __builtin_shufflevector(a, b, ((j & s) == 0 ? j : L + j - s)...);
    const V second = __builtin_shufflevector(a, b, ((j & s) == 0 ? j + s : L + j)...);
    a = first;
    b = second;
}

template <class T, int s, int w, int... j>
DR_INLINE void transpose_stages(vec<T>* x, Indices<j...> all) {
    if constexpr (s < w) {
        for (int i = 0; i < w; ++i)
            if ((i & s) == 0) exchange<s>(x[i], x[i + s], all);
        transpose_stages<T, 2 * s, w>(x, all);
    }
}

template <class T>
DR_INLINE auto all_lanes() {
    if constexpr (lanes<T> == 2)
        return Indices<0, 1>{};
    else if constexpr (lanes<T> == 4)
        return Indices<0, 1, 2, 3>{};
    else if constexpr (lanes<T> == 8)
        return Indices<0, 1, 2, 3, 4, 5, 6, 7>{};
    else
        return Indices<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>{};
}

// x[i][q + j] <-> x[j][q + i], i, j < w, in each of the L / w squares, q = 0, w, 2w, ...
template <class T, int w = lanes<T>>
DR_INLINE void transpose(vec<T>* x) {
    transpose_stages<T, 1, w>(x, all_lanes<T>());
}

// wt[n, k] = w[k, n] for one block: `rows` values of k by NR of n.
//   out  wt   rows of the transposed panel, the first for the block's first n
template <class T>
void transpose_block(int rows, long columns, const T* w, T* wt) {
    constexpr int NR = panel_width<T>, L = lanes<T>;
    for (int n = 0; n < NR && n < columns; n += L)
        for (int k = 0; k < rows; k += L) {
            vec<T> x[L] = {};
            for (int i = 0; i < L && k + i < rows; ++i) x[i] = load(w + (k + i) * NR + n);
            transpose<T>(x);
            for (int i = 0; i < L && n + i < columns; ++i) store(wt + (n + i) * NR + k, x[i]);
        }
}

}  // namespace deltarule::DR_TARGET
