// erf, erfc and the normal distribution on vectors, for one target. Conventions as in math.hpp.
#pragma once

#include "math.hpp"

namespace deltarule::DR_TARGET {

// a^2 = high + low, exactly (short of denormal low parts). Without a fused product a is cut into two
// halves whose products are exact (Veltkamp; Dekker, 1971), here by clearing the low bits.
template <class V>
DR_INLINE sum_of_two<V> square_exactly(V a) {
    const V high = a * a;
#if DR_FUSED
    return {high, fma(a, a, -high)};
#else
    using U = unsigneds_of<V>;
    using Word = lane_of<U>;
    constexpr int cut = (format<lane_of<V>>::fraction_bits + 2) / 2;
    const V upper = bitcast<V>(bitcast<U>(a) & ~((Word(1) << cut) - 1));
    const V lower = a - upper;
    return {high, ((upper * upper - high) + lane_of<V>(2) * upper * lower) + lower * lower};
#endif
}

// exp(a^2) erfc(a) for a >= 0: smooth in t = (a - c)/(a + c), which maps [0, inf) to [-1, 1)
// (after Shepherd and Laframboise, 1981; the factor a + c, in place of their 1 + 2 a, saves a division).
template <class V>
DR_INLINE V erfcx_positive(V a) {
    using C = coefficients<lane_of<V>>;
    const V inverse = lane_of<V>(1) / (a + C::erfc_scale);
    return inverse * polynomial(C::erfcx, (a - C::erfc_scale) * inverse);
}

// Beyond erfc_end erfc is less than half the least denormal (and a^2 could overflow).
template <class V>
DR_INLINE V erfc_end() {
    return broadcast(lane_of<V>(sizeof(lane_of<V>) == 4 ? 11 : 28));
}

// erfc(a) for a >= 0. exp(-a^2) would multiply the rounding error of a^2 by a^2: hence both parts.
template <class V>
DR_INLINE V erfc_positive(V a) {
    a = min(erfc_end<V>(), a);
    const auto [high, low] = square_exactly(a);
    return exp_sum(-high, -low) * erfcx_positive(a);
}

template <class V>
DR_INLINE V erfc(V x) {
    const V tail = erfc_positive(abs(x));
    return select(x < V{}, lane_of<V>(2) - tail, tail);
}

template <class V>
DR_INLINE V erf(V x) {
    using T = lane_of<V>;
    const V a = abs(x);
    const V inner = min(broadcast(T(1)), a);
    const V near = fma(inner, polynomial(coefficients<T>::erf, inner * inner), inner);
    const V far = T(1) - erfc_positive(a);
    return copysign(select(a < broadcast(T(1)), near, far), x);
}

// The standard normal distribution: Phi(z) = erfc(-z / sqrt(2)) / 2 with full relative accuracy in the
// lower tail, and its density phi(z) = exp(-z^2 / 2) / sqrt(2 pi).
template <class V>
struct normal_values {
    V cumulative, density;
};
template <class V>
DR_INLINE normal_values<V> normal_distribution(V z) {
    using T = lane_of<V>;
    const V a = min(erfc_end<V>() * T(1.41421356237309504880), abs(z));
    const auto [high, low] = square_exactly(a);
    const V e = exp_sum(T(-0.5) * high, T(-0.5) * low);
    const V tail = T(0.5) * e * erfcx_positive(a * T(0.70710678118654752440));
    return {select(z > V{}, T(1) - tail, tail), e * T(0.39894228040143267794)};
}

}  // namespace deltarule::DR_TARGET
