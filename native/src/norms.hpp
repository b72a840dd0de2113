// Sums of squares that neither overflow nor underflow. The squares are summed as they are, on the way of something else;
// only where that sum is not an ordinary number are they summed again, in units of a power of two.
#pragma once

#include "extents.hpp"
#include "program.hpp"
#include "simd.hpp"

namespace deltarule::DR_TARGET {

// A sum of squares between these bounds has lost nothing that counts: what underflowed is too small, nothing overflowed.
// (Products of two such sums are ordinary numbers too, in double.)
template <class T>
inline constexpr T least_squares = T(sizeof(T) == 4 ? 1e-24 : 1e-140);
template <class T>
inline constexpr T most_squares = T(sizeof(T) == 4 ? 1e38 : 1e140);

// The unit in which values up to `largest` are squared: of three, as in Blue, "A portable Fortran program to find the
// Euclidean norm of a vector" (1978).
template <class T>
struct Units {
    static constexpr bool single = sizeof(T) == 4;
    static constexpr T small = single ? T(0x1p-75f) : T(0x1p-538), large = single ? T(0x1p75f) : T(0x1p538);
    static constexpr T below = single ? T(1e-9) : T(1e-60), above = single ? T(1e15) : T(1e60);
    static T of(double largest) { return largest < below ? small : largest > above ? large : T(1); }
    static vec<T> of(vec<T> largest) {
        return select(largest < broadcast(below), broadcast(small),
                      select(largest > broadcast(above), broadcast(large), broadcast(T(1))));
    }
};

// value(i): the vector at i < count; lanes that do not count are 0.
template <class T, class Value>
__attribute__((noinline)) Squares scaled_squares(long count, Value value) {
    constexpr long L = lanes<T>;
    vec<T> size{}, sum{};
    for (long i = 0; i < count; i += L) size = largest_of(size, value(i));
    const double largest = largest_lane<T>(size);
    if (largest == 0) return {};
    if (!(largest < __builtin_inf())) return {largest, 1};
    const T unit = Units<T>::of(largest), by = T(1) / unit;
    for (long i = 0; i < count; i += L) {
        const vec<T> x = value(i) * by;
        sum = fma(x, x, sum);
    }
    Squares squares{double(sum_lanes(sum)), double(unit)};
    if (sizeof(T) == 4) squares = {squares.total(), 1};  // always an ordinary double
    return squares;
}

template <class T>
DR_INLINE bool ordinary_squares(T sum) {
    return sum > least_squares<T> && sum < most_squares<T>;
}

// The sum of squares of which `sum` is known.
template <class T, class Value>
DR_INLINE Squares checked_squares(T sum, long count, Value value) {
    if (ordinary_squares<T>(sum)) return {double(sum), 1};
    return scaled_squares<T>(count, value);
}

template <class T, class Value>
DR_INLINE Squares squares_of(long count, Value value) {
    vec<T> sum{};
    for (long i = 0; i < count; i += lanes<T>) {
        const vec<T> x = value(i);
        sum = fma(x, x, sum);
    }
    return checked_squares<T>(sum_lanes(sum), count, value);
}

}  // namespace deltarule::DR_TARGET
