// exp, expm1, log, log1p and tanh on vectors of float or double, for one target.
//
// V is vec<float> or vec<double>. NaN is carried through, infinities have their limits, and nothing
// depends on denormal numbers: where the processor keeps them they come out right, in a worker that
// flushes them to zero they come out (and count as arguments) as zero. Measured errors: MATH.md.
//
// The reductions need no fused multiply-add to be accurate: their products are exact by the choice of
// constants, so that one text serves all targets. Polynomials: tools/minimax.py.
#pragma once

#include "coefficients.hpp"
#include "simd.hpp"

namespace deltarule::DR_TARGET {

// The binary format of a lane: 1 sign bit, exponent (biased), fraction_bits.
template <class T>
struct format;
template <>
struct format<float> {
    static constexpr int fraction_bits = 23;
    static constexpr int32_t bias = 127;
    static constexpr uint32_t fraction_mask = 0x007fffff;
    static constexpr uint32_t two_thirds = 0x3f2aaaab;  // 2/3, as bits
    static constexpr float least_normal = 0x1p-126f;
    static constexpr float epsilon = 0x1p-23f;
    // Above exp_high exp(x) is infinite; below exp_low it is less than half the least denormal.
    static constexpr float exp_high = 89.0f, exp_low = -104.0f;
    static constexpr float expm1_low = -20.0f;  // below, exp(x) - 1 rounds to -1
};
template <>
struct format<double> {
    static constexpr int fraction_bits = 52;
    static constexpr int64_t bias = 1023;
    static constexpr uint64_t fraction_mask = 0x000fffffffffffff;
    static constexpr uint64_t two_thirds = 0x3fe5555555555555;
    static constexpr double least_normal = 0x1p-1022;
    static constexpr double epsilon = 0x1p-52;
    static constexpr double exp_high = 710.0, exp_low = -746.0;
    static constexpr double expm1_low = -40.0;
};

template <class V>
DR_INLINE V nan_like() {
    return broadcast(lane_of<V>(__builtin_nan("")));
}
template <class V>
DR_INLINE V infinity_like() {
    return broadcast(lane_of<V>(__builtin_inf()));
}

// c[0] + c[1] x + ... by Horner's rule.
template <class V, int n, int i = 0>
DR_INLINE V polynomial(const lane_of<V> (&c)[n], V x) {
    if constexpr (i + 1 == n)
        return broadcast(c[i]);
    else
        return fma(polynomial<V, n, i + 1>(c, x), x, broadcast(c[i]));
}

// ------------------------------------------------------------------------------- the exponentials

// x = k ln(2) + r with k the nearest integer, |r| <= ln(2)/2 (Cody and Waite, 1980).
//
// Adding 1.5 * 2^fraction_bits pushes x / ln(2) to the end of the fraction, which rounds it and leaves
// k in the low bits. k * ln2_high is exact, so is its difference from x.
template <class V>
struct reduced {
    integers_of<V> k;
    V r;
};
template <class V>
DR_INLINE reduced<V> reduce_by(V x, lane_of<V> inverse, lane_of<V> high, lane_of<V> low) {
    using T = lane_of<V>;
    using I = integers_of<V>;
    const V shift = broadcast(T(3LL << (format<T>::fraction_bits - 1)));
    const V shifted = fma(x, broadcast(inverse), shift);
    const V k = shifted - shift;
    const V r = fnma(k, broadcast(low), fnma(k, broadcast(high), x));
    return {bitcast<I>(shifted) - bitcast<I>(shift), r};
}
template <class V>
DR_INLINE reduced<V> reduce_by_ln2(V x) {
    using C = coefficients<lane_of<V>>;
    return reduce_by(x, C::log2_e, C::ln2_high, C::ln2_low);
}

// 2^k for normal results: bias + k becomes the exponent.
template <class V>
DR_INLINE V power_of_two(integers_of<V> k) {
    using F = format<lane_of<V>>;
    return bitcast<V>((k + F::bias) << F::fraction_bits);
}

// p * 2^k where the product, or 2^k itself, may be denormal or infinite: in two factors whose biased
// exponents are the halves of k + 2 bias. The first product is exact.
template <class V>
DR_INLINE V scale_by_power_of_two(V p, integers_of<V> k) {
    using F = format<lane_of<V>>;
    using U = unsigneds_of<V>;
    const U both = bitcast<U>(k + 2 * F::bias);
    const U half = both >> 1;
    return p * bitcast<V>(half << F::fraction_bits) * bitcast<V>((both - half) << F::fraction_bits);
}

// exp(high + low), for |low| < 1/8: the low part joins after the reduction.
template <class V>
DR_INLINE V exp_sum(V high, V low) {
    using T = lane_of<V>;
    high = min(broadcast(format<T>::exp_high), max(broadcast(format<T>::exp_low), high));
    const auto [k, nearly] = reduce_by_ln2(high);
    const V r = nearly + low;
    const V p = r + (r * r) * polynomial(coefficients<T>::exp, r);
    return scale_by_power_of_two(T(1) + p, k);
}

template <class V>
DR_INLINE V exp(V x) {
    using T = lane_of<V>;
    x = min(broadcast(format<T>::exp_high), max(broadcast(format<T>::exp_low), x));
    const auto [k, r] = reduce_by_ln2(x);
    const V p = fma(r * r, polynomial(coefficients<T>::exp, r), r);
    return scale_by_power_of_two(T(1) + p, k);
}

// A value as an unevaluated sum: the part that holds its size, and a small one below.
template <class V>
struct sum_of_two {
    V leading, small;
};

// expm1(x) = 2 (s r + (s - 1/2) + s r^2 p(r)), s = 2^(k-1). (2^k would overflow for the largest x.)
//
// s r + (s - 1/2) is rounded once and its error is recovered exactly (Dekker's quick sum, 1971:
// |s - 1/2| >= |s r|, or s - 1/2 = 0), so little is lost where the two nearly cancel.
template <class V>
DR_INLINE V expm1(V x) {
    using T = lane_of<V>;
    const V bounded = min(broadcast(format<T>::exp_high), max(broadcast(format<T>::expm1_low), x));
    const auto [k, r] = reduce_by_ln2(bounded);
    const V s = power_of_two<V>(k - 1);
    const V constant = s - T(0.5);
    const V leading = fma(s, r, constant);
    const V lost = fma(s, r, constant - leading);
    const V y = T(2) * (leading + fma(s * (r * r), polynomial(coefficients<T>::exp, r), lost));
    // x + x^2/2 rounds to x; without this, x / 2 might be denormal, and -0 would lose its sign.
    return select(abs(x) < broadcast(format<T>::epsilon / 4), x, y);
}

// With x = k ln(2)/2 + r and |r| <= ln(2)/4, by the sum of two arguments and tanh(k ln(2)/2) = (s - 1) / (s + 1):
//
//     tanh x = (s - 1 + t (s + 1)) / (s + 1 + t (s - 1)),  s = 2^k,  t = tanh r = r + r^3 p(r^2)
//
// Nothing cancels: the least k > 0 gives (1 + 3t) / (3 + t), and k = 0 gives t itself.
template <class V>
DR_INLINE V tanh(V x) {
    using T = lane_of<V>;
    using C = coefficients<T>;
    // From -expm1_low / 2 on tanh x rounds to 1.
    const V bounded = min(broadcast(-format<T>::expm1_low / 2), abs(x));
    const auto [k, r] = reduce_by(bounded, 2 * C::log2_e, C::ln2_high / 2, C::ln2_low / 2);
    const V square = r * r, t = fma(r * square, polynomial(C::tanh, square), r);
    const V s = power_of_two<V>(k), less = s - T(1), more = s + T(1);
    return copysign(fma(t, more, less) / fma(t, less, more), x);
}

// --------------------------------------------------------------------------------- the logarithms

// x = 2^k m with 2/3 <= m < 4/3, for positive normal x. Subtracting the bits of 2/3 makes the
// exponent field count the octaves that begin at 2/3; the bias keeps it positive, and as the fraction
// of 2^fraction_bits it turns into a floating-point k without a conversion (which AVX2 has not, for
// 64 bits).
template <class V>
struct octave {
    V k, m;
};
template <class V>
DR_INLINE octave<V> split_octave(V x) {
    using T = lane_of<V>;
    using F = format<T>;
    using U = unsigneds_of<V>;
    using Word = lane_of<U>;
    const U offset = bitcast<U>(x) - F::two_thirds + (Word(F::bias) << F::fraction_bits);
    const V unit = broadcast(T(1LL << F::fraction_bits));
    const V counted = bitcast<V>((offset >> F::fraction_bits) | bitcast<U>(unit));
    return {counted - (unit + T(F::bias)), bitcast<V>((offset & F::fraction_mask) + F::two_thirds)};
}

// log(1 + f) - f for |f| <= 1/3.
//
// float: -f^2/2 + f^3 p(f). double: log(1 + f) = 2 atanh(s), s = f / (2 + f); and since
// 2 s = f - h + s h with h = f^2/2, log(1 + f) - f = s (h + w p(w)) - h, w = s^2.
DR_INLINE vec<float> log1p_beyond_linear(vec<float> f) {
    const vec<float> square = f * f;
    return fma(f * square, polynomial(coefficients<float>::log, f), -0.5f * square);
}
DR_INLINE vec<double> log1p_beyond_linear(vec<double> f) {
    const vec<double> h = 0.5 * (f * f);
    const vec<double> s = f / (2.0 + f);
    const vec<double> w = s * s;
    return fma(s, fma(w, polynomial(coefficients<double>::log, w), h), -h);
}

// log(x) + correction, for positive normal x and a correction below the rounding of x.
template <class V>
DR_INLINE V log_with_correction(V x, V correction) {
    using T = lane_of<V>;
    using C = coefficients<T>;
    const auto [k, m] = split_octave(x);
    const V f = m - T(1);
    const V small = fma(k, broadcast(C::ln2_low), log1p_beyond_linear(f) + correction);
    return fma(k, broadcast(C::ln2_high), f + small);
}

template <class V>
DR_INLINE V log(V x) {
    using T = lane_of<V>;
    using F = format<T>;
    constexpr T lift = T(1LL << F::fraction_bits);
    const auto denormal = x < broadcast(F::least_normal);
    const V normal = select(denormal, x * lift, x);
    const V y = log_with_correction(normal, V{});
    const V lifted = y - T(F::fraction_bits) * T(0.69314718055994530942);
    const V finite = select(x < infinity_like<V>(), select(denormal, lifted, y), x);
    return select(x > V{}, finite, select(x == V{}, -infinity_like<V>(), nan_like<V>()));
}

// log(1 + x) for finite x > -1: the rounding error of 1 + x, known exactly (Knuth's sum), enters as
// error / (1 + x). NaN is carried through.
template <class V>
DR_INLINE V log1p_finite(V x) {
    using T = lane_of<V>;
    const V u = T(1) + x;
    const V rounded = u - T(1);
    const V error = (T(1) - (u - rounded)) + (x - rounded);
    return log_with_correction(u, error / u);
}

template <class V>
DR_INLINE V log1p(V x) {
    using T = lane_of<V>;
    const V finite = select(x < infinity_like<V>(), log1p_finite(x), x);
    const V minus_one = broadcast(T(-1));
    return select(x > minus_one, finite, select(x == minus_one, -infinity_like<V>(), nan_like<V>()));
}

}  // namespace deltarule::DR_TARGET
