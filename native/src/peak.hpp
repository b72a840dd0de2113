// What a core can do at most: multiply-adds that wait for nothing.
#pragma once

#include "simd.hpp"

namespace deltarule::DR_TARGET {

// Multiplies twelve vectors in registers by one and adds another, `repeats` times. Returns how many operations that
// was, two for each value; *sum (out) is what it came to, so that nobody can do without it.
template <class T>
double multiply_adds(long repeats, double* sum) {
    constexpr int count = 12;  // more than any core begins before the first of them ends
    vec<T> sums[count], half = vec<T>{} + T(0.5), one = vec<T>{} + T(1);
    for (int j = 0; j < count; ++j) sums[j] = one * T(j);
    for (long i = 0; i < repeats; ++i) {
#pragma GCC unroll 12
        for (int j = 0; j < count; ++j) sums[j] = fma(sums[j], half, one);
    }
    for (int j = 1; j < count; ++j) sums[0] += sums[j];
    *sum = double(sums[0][0]);
    return 2.0 * count * lanes<T> * double(repeats);
}

}  // namespace deltarule::DR_TARGET
