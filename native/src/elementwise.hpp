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

// visit(offset) for each vector in use of `rows` rows of a panel.
template <class T, class Visit>
DR_INLINE void for_panel(long rows, int vectors, Visit visit) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    if (vectors == 2)
        for (long i = 0; i < rows * NR; i += L) visit(i);
    else
        for (long i = 0; i < rows * NR; i += NR) visit(i);
}

// visit(offset) for each vector in use of a whole value in a row tile.
template <class T, class Visit>
DR_INLINE void for_value(long rows, long columns, long stride, Visit visit) {
    for (long p = 0; p < panels<T>(columns); ++p)
        for_panel<T>(rows, vectors_in_use<T>(columns, p), [&](long i) { visit(p * stride + i); });
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

// a = f(z) over a panel; a may be z.
template <class T>
void activate(Activation activation, double setting, long rows, int vectors, const T* z, T* a) {
    with_activation<T>(activation, T(setting), [&](auto f) {
        for_panel<T>(rows, vectors, [&](long i) { store(a + i, f.value(load(z + i))); });
    });
}

// d = d * f'(z) over a panel.
template <class T>
void differentiate(Activation activation, double setting, long rows, int vectors, const T* z, const T* a,
                   T* d) {
    with_activation<T>(activation, T(setting), [&](auto f) {
        for_panel<T>(rows, vectors,
                     [&](long i) { store(d + i, load(d + i) * f.derivative(load(z + i), load(a + i))); });
    });
}

}  // namespace deltarule::DR_TARGET
