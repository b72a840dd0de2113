// Loops over the elements of a row tile, by panels and by rows, and the activations fused into them.
#pragma once

#include "activations.hpp"
#include "program.hpp"
#include "simd.hpp"

namespace deltarule::DR_TARGET {

// Panels of a matrix, and vectors in use in panel p of one with `columns` columns.
template <class T>
DR_INLINE long panels(long columns) {
    return (columns + 2 * lanes<T> - 1) / (2 * lanes<T>);
}
template <class T>
DR_INLINE int vectors_in_use(long columns, long p) {
    return columns - p * 2 * lanes<T> > lanes<T> ? 2 : 1;
}

// visit(offset) for each vector of `count` elements, or for the first of every two.
template <class T, class Visit>
DR_INLINE void for_vectors(long count, bool second, Visit visit) {
    constexpr long L = lanes<T>;
    if (second)
        for (long i = 0; i < count; i += L) visit(i);
    else
        for (long i = 0; i < count; i += 2 * L) visit(i);
}

// visit(offset) for each vector in use of a whole value in a row tile.
template <class T, class Visit>
DR_INLINE void for_value(long rows, long columns, long stride, Visit visit) {
    for (long p = 0; p < panels<T>(columns); ++p)
        for_vectors<T>(rows * 2 * lanes<T>, vectors_in_use<T>(columns, p) == 2,
                       [&](long i) { visit(p * stride + i); });
}

// visit(offset, mask of valid lanes) for each vector of a row.
template <class T, class Visit>
DR_INLINE void for_row(long columns, long stride, Visit visit) {
    constexpr long L = lanes<T>;
    const auto every = broadcast<typename lane_traits<vec<T>>::integer>(-1);
    for (long p = 0; p * 2 * L < columns; ++p)
        for (long v = 0; v < 2; ++v) {
            const long left = columns - (p * 2 + v) * L;
            if (left >= L)
                visit(p * stride + v * L, every);
            else if (left > 0)
                visit(p * stride + v * L, first_lanes<T>(int(left)));
        }
}

template <class T>
DR_INLINE vec<T> sign(vec<T> x) {  // NaN stays NaN
    const vec<T> zero{}, one = broadcast(T(1));
    return select(x > zero, one, select(x < zero, -one, x));
}

// a = f(z) over `count` elements, a multiple of the lanes, or over one vector of every two; a may be z.
template <class T>
void activate_run(Activation activation, double setting, long count, const T* z, T* a, bool second = true) {
    with_activation<T>(activation, T(setting), [&](auto f) {
        for_vectors<T>(count, second, [&](long i) { store(a + i, f.value(load(z + i))); });
    });
}
// d = d * f'(z), in the same way.
template <class T>
void differentiate_run(Activation activation, double setting, long count, const T* z, const T* a, T* d,
                       bool second = true) {
    with_activation<T>(activation, T(setting), [&](auto f) {
        for_vectors<T>(count, second,
                       [&](long i) { store(d + i, load(d + i) * f.derivative(load(z + i), load(a + i))); });
    });
}

// The same over a panel.
template <class T>
void activate(Activation activation, double setting, long rows, int vectors, const T* z, T* a) {
    activate_run(activation, setting, rows * 2 * lanes<T>, z, a, vectors == 2);
}
template <class T>
void differentiate(Activation activation, double setting, long rows, int vectors, const T* z, const T* a,
                   T* d) {
    differentiate_run(activation, setting, rows * 2 * lanes<T>, z, a, d, vectors == 2);
}

}  // namespace deltarule::DR_TARGET
