// Softmax and log-sum-exp of a row, for one target: pieces that run over one panel of columns each, and
// carry what they gather in one vector, so that a row may lie in panels; and a contiguous row of them.
//
//   m = max_j z_j,  e_j = exp(z_j - m),  s = sum_j e_j,  a_j = e_j / s,  log sum_j exp z_j = m + log s
//
// Subtracting the maximum keeps exp from overflowing; the largest term is 1, so s >= 1. NaN anywhere in
// a row makes all of it NaN: the maximum passes over it, the sum does not. The order of the sum: lane by
// lane over the row, then sum_lanes.
#pragma once

#include "math.hpp"

namespace deltarule::DR_TARGET {

template <class T>
DR_INLINE vec<T> no_maximum() {
    return -infinity_like<vec<T>>();
}

// largest <- max(largest, z[0..n)), lane by lane; begin with no_maximum, end with max_lanes.
template <class T>
DR_INLINE void gather_maximum(const T* z, int n, vec<T>& largest) {
    constexpr int width = lanes<T>;
    int j = 0;
    for (; j + width <= n; j += width) largest = max(loadu(z + j), largest);
    if (j < n) {
        const vec<T> last = load_partial(z + j, n - j);
        largest = max(select(first_lanes<T>(n - j), last, largest), largest);
    }
}

// e[j] = exp(z[j] - maximum), sum += e, lane by lane; begin with zero, end with sum_lanes. e may be z.
template <class T>
DR_INLINE void gather_exponentials(const T* z, T maximum, T* e, int n, vec<T>& sum) {
    constexpr int width = lanes<T>;
    int j = 0;
    for (; j + width <= n; j += width) {
        const vec<T> term = exp(loadu(z + j) - maximum);
        storeu(e + j, term);
        sum += term;
    }
    if (j < n) {
        const vec<T> term = exp(load_partial(z + j, n - j) - maximum);
        store_partial(e + j, term, n - j);
        sum += select(first_lanes<T>(n - j), term, vec<T>{});
    }
}

template <class T>
DR_INLINE void scale(T* a, int n, T factor) {
    constexpr int width = lanes<T>;
    int j = 0;
    for (; j + width <= n; j += width) storeu(a + j, loadu(a + j) * factor);
    if (j < n) store_partial(a + j, load_partial(a + j, n - j) * factor, n - j);
}

// log(x) of one number.
template <class T>
DR_INLINE T log_scalar(T x) {
    return log(broadcast(x))[0];
}

// a = softmax(z) over one contiguous row, n >= 1; returns log sum_j exp z_j. a may be z.
template <class T>
inline T softmax_row(const T* z, T* a, int n) {
    vec<T> largest = no_maximum<T>(), sum{};
    gather_maximum(z, n, largest);
    const T maximum = max_lanes(largest);
    gather_exponentials(z, maximum, a, n, sum);
    const T total = sum_lanes(sum);
    scale(a, n, T(1) / total);
    return maximum + log_scalar(total);
}

}  // namespace deltarule::DR_TARGET
