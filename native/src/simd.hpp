// Vectors of one target.
//
// A file that includes this header is compiled once per target, with -DDR_TARGET=baseline, avx2 or
// avx512 and the flags of that target; the namespace carries the target's name, so that two
// compilations of one inline function never meet in the linker. For the same reason nothing here
// uses templates of the standard library.
//
//   target     machine          flags                                      bytes   float / double lanes
//   baseline   x86-64 (SSE2)    none                                       16      4 / 2
//   baseline   aarch64 (NEON)   none                                       16      4 / 2
//   avx2       x86-64           -mavx2 -mfma                               32      8 / 4
//   avx512     x86-64           -mavx512{f,dq,bw,vl} -mavx2 -mfma          64      16 / 8
//
// Arithmetic is the one written: compile with -ffp-contract=off; `fma` is fused where the target has
// it and a * b + c (two roundings) where it has not, that is on x86-64's baseline alone.
//
// vec<T> is a plain vector type of the compiler: + - * / & | ^ ~ << >> and the comparisons work
// lane by lane, with a scalar on either side too. A comparison gives a mask: an integer vector of the
// same lane width, all ones where true and zero where false.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(DR_TARGET)
#define DR_TARGET baseline
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define DR_INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define DR_VECTOR_BYTES 64
#elif defined(__AVX2__) && defined(__FMA__)
#define DR_VECTOR_BYTES 32
#else
#define DR_VECTOR_BYTES 16
#endif

// 1 where fma() rounds once.
#if defined(__FMA__) || defined(__AVX512F__) || defined(__aarch64__)
#define DR_FUSED 1
#else
#define DR_FUSED 0
#endif

namespace deltarule::DR_TARGET {

// ---------------------------------------------------------------------------------------- types

inline constexpr int vector_bytes = DR_VECTOR_BYTES;

template <class T>
struct vector_of {
    typedef T type __attribute__((vector_size(DR_VECTOR_BYTES)));
};
template <class T>
using vec = typename vector_of<T>::type;  // T: float, double, (u)int32_t, (u)int64_t

template <class T>
inline constexpr int lanes = DR_VECTOR_BYTES / int(sizeof(T));

// What a function templated on the vector V itself needs to know of it.
template <class V>
struct lane_traits;
template <>
struct lane_traits<vec<float>> {
    using lane = float;
    using integer = int32_t;
    using unsigned_integer = uint32_t;
};
template <>
struct lane_traits<vec<double>> {
    using lane = double;
    using integer = int64_t;
    using unsigned_integer = uint64_t;
};
template <>
struct lane_traits<vec<int32_t>> {
    using lane = int32_t;
    using integer = int32_t;
    using unsigned_integer = uint32_t;
};
template <>
struct lane_traits<vec<int64_t>> {
    using lane = int64_t;
    using integer = int64_t;
    using unsigned_integer = uint64_t;
};
template <>
struct lane_traits<vec<uint32_t>> {
    using lane = uint32_t;
    using integer = int32_t;
    using unsigned_integer = uint32_t;
};
template <>
struct lane_traits<vec<uint64_t>> {
    using lane = uint64_t;
    using integer = int64_t;
    using unsigned_integer = uint64_t;
};

template <class V>
using lane_of = typename lane_traits<V>::lane;
template <class V>
using integers_of = vec<typename lane_traits<V>::integer>;  // also the type of a mask over V
template <class V>
using unsigneds_of = vec<typename lane_traits<V>::unsigned_integer>;
template <class V>
inline constexpr int lanes_of = int(sizeof(V) / sizeof(lane_of<V>));

// ------------------------------------------------------------------------- making and moving vectors

// x in every lane. (The sum with a zero vector is how the extensions spell it; the compiler folds it
// only if -0.0 survives, hence the subtraction for floating point.)
template <class T>
DR_INLINE vec<T> broadcast(T x) {
    return x - vec<T>{};
}

// 0, 1, 2, ...
template <class T>
DR_INLINE vec<T> iota() {
    vec<T> v{};
    for (int i = 0; i < lanes<T>; ++i) v[i] = T(i);
    return v;
}

// The same bits read as another type.
template <class To, class From>
DR_INLINE To bitcast(From v) {
    static_assert(sizeof(To) == sizeof(From));
    return (To)v;
}

// load/store: p aligned to vector_bytes; loadu/storeu: any p.
template <class T>
DR_INLINE vec<T> load(const T* p) {
    vec<T> v;
    __builtin_memcpy(&v, __builtin_assume_aligned(p, DR_VECTOR_BYTES), sizeof v);
    return v;
}
template <class T>
DR_INLINE vec<T> loadu(const T* p) {
    vec<T> v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
template <class T>
DR_INLINE void store(T* p, vec<T> v) {
    __builtin_memcpy(__builtin_assume_aligned(p, DR_VECTOR_BYTES), &v, sizeof v);
}
template <class T>
DR_INLINE void storeu(T* p, vec<T> v) {
    __builtin_memcpy(p, &v, sizeof v);
}

// The first n lanes as a mask, 0 <= n <= lanes.
template <class T>
DR_INLINE integers_of<vec<T>> first_lanes(int n) {
    using I = typename lane_traits<vec<T>>::integer;
    return iota<I>() < broadcast<I>(I(n));
}

// The first n lanes from memory and zero in the others; memory past p + n is not touched. 0 <= n <= lanes.
template <class T>
DR_INLINE vec<T> load_partial(const T* p, int n) {
#if DR_VECTOR_BYTES == 64
    if constexpr (sizeof(T) == 4)
        return (vec<T>)_mm512_maskz_loadu_epi32(__mmask16((1u << n) - 1u), p);
    else
        return (vec<T>)_mm512_maskz_loadu_epi64(__mmask8((1u << n) - 1u), p);
#elif DR_VECTOR_BYTES == 32
    if constexpr (sizeof(T) == 4)
        return (vec<T>)_mm256_maskload_epi32((const int*)p, (__m256i)first_lanes<T>(n));
    else
        return (vec<T>)_mm256_maskload_epi64((const long long*)p, (__m256i)first_lanes<T>(n));
#else
    vec<T> v{};
    for (int i = 0; i < lanes<T>; ++i)
        if (i < n) v[i] = p[i];
    return v;
#endif
}

// Only the first n lanes are written. 0 <= n <= lanes.
template <class T>
DR_INLINE void store_partial(T* p, vec<T> v, int n) {
#if DR_VECTOR_BYTES == 64
    if constexpr (sizeof(T) == 4)
        _mm512_mask_storeu_epi32(p, __mmask16((1u << n) - 1u), (__m512i)v);
    else
        _mm512_mask_storeu_epi64(p, __mmask8((1u << n) - 1u), (__m512i)v);
#elif DR_VECTOR_BYTES == 32
    if constexpr (sizeof(T) == 4)
        _mm256_maskstore_epi32((int*)p, (__m256i)first_lanes<T>(n), (__m256i)v);
    else
        _mm256_maskstore_epi64((long long*)p, (__m256i)first_lanes<T>(n), (__m256i)v);
#else
    for (int i = 0; i < lanes<T>; ++i)
        if (i < n) p[i] = v[i];
#endif
}

// --------------------------------------------------------------------------------------- arithmetic

// a * b + c; one rounding where DR_FUSED.
DR_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
#if DR_VECTOR_BYTES == 64
    return (vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif DR_VECTOR_BYTES == 32
    return (vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}
DR_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
#if DR_VECTOR_BYTES == 64
    return (vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif DR_VECTOR_BYTES == 32
    return (vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
    return (vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}
// c - a * b, with the same rounding as fma.
template <class V>
DR_INLINE V fnma(V a, V b, V c) {
    return fma(-a, b, c);
}

DR_INLINE vec<float> sqrt(vec<float> a) {
#if DR_VECTOR_BYTES == 64  // (the unmasked form warns of an uninitialised value in g++ 12)
    return (vec<float>)_mm512_maskz_sqrt_ps(0xffff, (__m512)a);
#elif DR_VECTOR_BYTES == 32
    return (vec<float>)_mm256_sqrt_ps((__m256)a);
#elif defined(__aarch64__)
    return (vec<float>)vsqrtq_f32((float32x4_t)a);
#else
    return (vec<float>)_mm_sqrt_ps((__m128)a);
#endif
}
DR_INLINE vec<double> sqrt(vec<double> a) {
#if DR_VECTOR_BYTES == 64
    return (vec<double>)_mm512_maskz_sqrt_pd(0xff, (__m512d)a);
#elif DR_VECTOR_BYTES == 32
    return (vec<double>)_mm256_sqrt_pd((__m256d)a);
#elif defined(__aarch64__)
    return (vec<double>)vsqrtq_f64((float64x2_t)a);
#else
    return (vec<double>)_mm_sqrt_pd((__m128d)a);
#endif
}

// Lane by lane: a where the mask is true, b where it is false.
template <class V>
DR_INLINE V select(integers_of<V> mask, V a, V b) {
    return mask ? a : b;
}

// a < b ? a : b and a > b ? a : b. So b is returned where either is NaN, and where both are zero:
// min(limit, x) and max(limit, x) carry a NaN in x through; max(x, running) passes over it.
template <class V>
DR_INLINE V min(V a, V b) {
    return a < b ? a : b;
}
template <class V>
DR_INLINE V max(V a, V b) {
    return a > b ? a : b;
}
#if DR_VECTOR_BYTES == 64  // (g++ makes one instruction of these for the other targets alone)
DR_INLINE vec<float> min(vec<float> a, vec<float> b) {
    return (vec<float>)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b);
}
DR_INLINE vec<float> max(vec<float> a, vec<float> b) {
    return (vec<float>)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
}
DR_INLINE vec<double> min(vec<double> a, vec<double> b) {
    return (vec<double>)_mm512_maskz_min_pd(0xff, (__m512d)a, (__m512d)b);
}
DR_INLINE vec<double> max(vec<double> a, vec<double> b) {
    return (vec<double>)_mm512_maskz_max_pd(0xff, (__m512d)a, (__m512d)b);
}
#endif

// |a|: the sign bit cleared, also that of a NaN. copysign: the size of a with the sign of b.
template <class V>
DR_INLINE unsigneds_of<V> sign_bit() {
    using U = typename lane_traits<V>::unsigned_integer;
    return broadcast<U>(U(1) << (8 * sizeof(U) - 1));
}
template <class V>
DR_INLINE V abs(V a) {
    using U = unsigneds_of<V>;
    return bitcast<V>(bitcast<U>(a) & ~sign_bit<V>());
}
template <class V>
DR_INLINE V copysign(V a, V b) {
    using U = unsigneds_of<V>;
    return bitcast<V>((bitcast<U>(a) & ~sign_bit<V>()) | (bitcast<U>(b) & sign_bit<V>()));
}

// -------------------------------------------------------------------------------- across the lanes

// Combine the two halves of v lane by lane until one lane is left: lane i with lane i + n/2, then with
// i + n/4, ...
template <class V, class Combine>
DR_INLINE auto reduce_halves(V v, Combine combine) {
    constexpr int n = int(sizeof(V) / sizeof(v[0]));
    if constexpr (n == 16)
        return reduce_halves(combine(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
                                     __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)),
                             combine);
    else if constexpr (n == 8)
        return reduce_halves(
            combine(__builtin_shufflevector(v, v, 0, 1, 2, 3), __builtin_shufflevector(v, v, 4, 5, 6, 7)),
            combine);
    else if constexpr (n == 4)
        return reduce_halves(
            combine(__builtin_shufflevector(v, v, 0, 1), __builtin_shufflevector(v, v, 2, 3)), combine);
    else
        return combine(v[0], v[1]);
}

// For 8 lanes ((v0 + v4) + (v2 + v6)) + ((v1 + v5) + (v3 + v7)). The order depends on the target's
// number of lanes alone.
template <class V>
DR_INLINE lane_of<V> sum_lanes(V v) {
    return reduce_halves(v, [](auto a, auto b) { return a + b; });
}

// The largest lane of a vector without NaN.
template <class V>
DR_INLINE lane_of<V> max_lanes(V v) {
    return reduce_halves(v, [](auto a, auto b) { return a > b ? a : b; });
}

// One bit for each lane of a mask, lane 0 lowest. M: a mask, vec<int32_t> or vec<int64_t>, or what a
// comparison gives (Clang's has lanes of `long long` where int64_t is `long`: hence sizeof, not traits).
template <class M>
inline constexpr int mask_lanes = int(sizeof(M) / sizeof(M{}[0]));
template <class M>
DR_INLINE uint32_t mask_bits(M mask) {
    constexpr bool wide = sizeof(M) / mask_lanes<M> == 8;
#if DR_VECTOR_BYTES == 64
    if constexpr (wide)
        return uint32_t(_mm512_movepi64_mask((__m512i)mask));
    else
        return uint32_t(_mm512_movepi32_mask((__m512i)mask));
#elif DR_VECTOR_BYTES == 32
    if constexpr (wide)
        return uint32_t(_mm256_movemask_pd((__m256d)mask));
    else
        return uint32_t(_mm256_movemask_ps((__m256)mask));
#elif defined(__x86_64__)
    if constexpr (wide)
        return uint32_t(_mm_movemask_pd((__m128d)mask));
    else
        return uint32_t(_mm_movemask_ps((__m128)mask));
#else
    (void)wide;
    uint32_t bits = 0;
    for (int i = 0; i < mask_lanes<M>; ++i) bits |= uint32_t(mask[i] & 1) << i;
    return bits;
#endif
}
template <class M>
DR_INLINE bool any(M mask) {
    return mask_bits(mask) != 0;
}
template <class M>
DR_INLINE bool all(M mask) {
    return mask_bits(mask) == (1u << mask_lanes<M>)-1u;
}
template <class M>
DR_INLINE int count(M mask) {
    return __builtin_popcount(mask_bits(mask));
}

}  // namespace deltarule::DR_TARGET
