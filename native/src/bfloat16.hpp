// Products of bfloat16 numbers, summed in float.
//
// A bfloat16 is the upper half of a float. A word holds two neighbours of the summed index, the first in its upper
// half. Words take the place of numbers in the panels of gemm.hpp, so a panel is half as long:
//
//     words of columns   (x[r, 2j], x[r, 2j+1])    at row r, column j       summed over columns: a @ W, d @ W.T
//     words of rows      (x[2r, n], x[2r+1, n])    at row r, column n       summed over rows: a.T @ d
//
// The product of two bfloat16 is exact in float, and VDPBF16PS adds the upper halves' product first, each sum rounded
// once: so a chain over words is the chain of multiply-adds over the numbers themselves, in the same order, and has
// the same bits on every target, fused or not.
#pragma once

#include "elementwise.hpp"
#include "gemm.hpp"
#include "simd.hpp"
#include "transpose.hpp"

namespace deltarule::DR_TARGET {

// The nearest bfloat16, ties to even, as the upper half of each lane; the lower half means nothing.
DR_INLINE vec<uint32_t> rounded_bits(vec<float> x) {
    const vec<uint32_t> bits = bitcast<vec<uint32_t>>(x);
    const vec<uint32_t> rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
    return x != x ? bits | 0x400000u : rounded;  // (a NaN must not be rounded to infinity)
}

DR_INLINE vec<uint32_t> words_of(vec<float> first, vec<float> second) {
    return (rounded_bits(first) & 0xffff0000u) | (rounded_bits(second) >> 16);
}

// Lanes 0, 2, ... of (a, b) one behind the other, and lanes 1, 3, ...
template <int... j>
DR_INLINE vec<uint32_t> words_of_neighbours(vec<float> a, vec<float> b, Indices<j...>) {
    return words_of(__builtin_shufflevector(a, b, (2 * j)...), __builtin_shufflevector(a, b, (2 * j + 1)...));
}
DR_INLINE vec<uint32_t> words_of_neighbours(vec<float> a, vec<float> b) {
    return words_of_neighbours(a, b, all_lanes<float>());
}

// What the products of gemm.hpp are made of.  sum + x * b, for the two numbers of each word:
struct Pairs {
    using Operand = uint32_t;
    static constexpr int most_rows = 4;  // (it has more to do for each number)
    static DR_INLINE vec<float> add(vec<uint32_t> x, vec<uint32_t> b, vec<float> sum) {
        const auto upper = [](vec<uint32_t> w) { return bitcast<vec<float>>(w & 0xffff0000u); };
        const auto lower = [](vec<uint32_t> w) { return bitcast<vec<float>>(w << 16); };
        return fma(lower(x), lower(b), fma(upper(x), upper(b), sum));
    }
};
#if DR_VECTOR_BYTES == 64
// The same by AVX512_BF16. (As text, since only this one instruction needs the extension.)
struct PairsInHardware {
    using Operand = uint32_t;
    static constexpr int most_rows = tile_rows;
    static DR_INLINE vec<float> add(vec<uint32_t> x, vec<uint32_t> b, vec<float> sum) {
        asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(b));
        return sum;
    }
};
#else
using PairsInHardware = Pairs;
#endif

// A value of a row tile as words of its columns, of rows of NR words; past the last column they are zero.
//   in   value  panels `stride` apart
//   out  words  panels `stride` apart
inline void pair_columns(long rows, long columns, long stride, const float* value, uint32_t* words) {
    constexpr long NR = panel_width<float>, L = lanes<float>;
    for (long p = 0; p < panels<float>(columns); ++p) {
        const float* const from = value + p * stride;
        uint32_t* const to = words + p / 2 * stride + p % 2 * L;
        const long left = columns - p * NR;
        if (left >= NR) {
            for (long r = 0; r < rows * NR; r += NR)
                store(to + r, words_of_neighbours(load(from + r), load(from + r + L)));
            continue;
        }
        const auto valid = [&](long n) {
            return first_lanes<float>(left - n >= L ? int(L) : left > n ? int(left - n) : 0);
        };
        for (long r = 0; r < rows * NR; r += NR)
            store(to + r, words_of_neighbours(select(valid(0), load(from + r), vec<float>{}),
                                              select(valid(L), load(from + r + L), vec<float>{})));
    }
}

// A value of a row tile as words of its rows; where their number is odd, the last has zero for neighbour.
//   out  words  panels stride / 2 apart
inline void pair_rows(long rows, long columns, long stride, const float* value, uint32_t* words) {
    constexpr long NR = panel_width<float>, L = lanes<float>;
    for (long p = 0; p < panels<float>(columns); ++p) {
        const float* const from = value + p * stride;
        uint32_t* const to = words + p * (stride / 2);
        const long vectors = vectors_in_use<float>(columns, p);
        for (long r = 0; r < rows; r += 2)
            for (long v = 0; v < vectors * L; v += L)
                store(to + r / 2 * NR + v,
                      words_of(load(from + r * NR + v),
                               r + 1 < rows ? load(from + (r + 1) * NR + v) : vec<float>{}));
    }
}

// One block of weights, `rows` <= NR rows from row k0 on of a panel, both ways: what the forward product reads, words
// over k, and what the backward product reads, words over n of the transposed block.
//   in   w            (rows, NR), `columns` of them valid; columns past those hold zero
//   out  forward      words at row k / 2
//   out  backward     words at row n / 2, of this block's k; null: not wanted
inline void pair_weights(int rows, long columns, const float* w, uint32_t* forward, uint32_t* backward) {
    constexpr int NR = panel_width<float>, L = lanes<float>;
    for (int k = 0; k < rows; k += 2)
        for (int v = 0; v < NR; v += L)
            store(forward + k / 2 * NR + v,
                  words_of(load(w + k * NR + v), k + 1 < rows ? load(w + (k + 1) * NR + v) : vec<float>{}));
    if (backward == nullptr) return;
    for (int k = 0; k < rows; k += L) {
        vec<uint32_t> x[L] = {};
        for (int i = 0; i < L && k + i < rows; ++i)
            x[i] = words_of_neighbours(load(w + (k + i) * NR), load(w + (k + i) * NR + L));
        transpose<uint32_t>(x);
        for (int i = 0; i < L && 2 * i < columns; ++i) store(backward + i * NR + k, x[i]);
    }
}

}  // namespace deltarule::DR_TARGET
