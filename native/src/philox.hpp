// Philox4x32-10: random words as a pure function of what they are for (Salmon, Moraes, Dror and Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", 2011), for one target.
//
// Ten rounds map a counter (c0, c1, c2, c3) under a key (k0, k1), 32-bit words all, to four words:
//
//   (h0, l0) = 0xD2511F53 * c0        c0' = h1 ^ c1 ^ k0      k0' = k0 + 0x9E3779B9
//   (h1, l1) = 0xCD9E8D57 * c2        c1' = l1                k1' = k1 + 0xBB67AE85
//                                     c2' = h0 ^ c3 ^ k1
//                                     c3' = l0
//
// What a word is for, shared with deltarule.base.random:
//
//   key = seed: low word, high word
//   c0  = column / 4 (the word of a column is output column % 4)
//   c1  = row in the whole batch
//   c2  = step or epoch, bits 0 to 31
//   c3  = purpose << 28 | bits 0 to 11 of layer << 16 | bits 12 to 19 of layer << 8 | bits 32 to 39 of step
#pragma once

#include "purpose.hpp"
#include "simd.hpp"

namespace deltarule::DR_TARGET {

inline constexpr int philox_rounds = 10;
inline constexpr uint32_t philox_multiplier[2] = {0xD2511F53, 0xCD9E8D57};
inline constexpr uint32_t philox_key_step[2] = {0x9E3779B9, 0xBB67AE85};

// All but row and column of what words are for, with the keys of the ten rounds.
struct RandomStream {
    uint64_t round_key[philox_rounds][2];
    uint32_t c2, c3;
};
inline RandomStream random_stream(uint64_t seed, Purpose purpose, int layer, uint64_t step) {
    RandomStream stream;
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
    for (auto& key : stream.round_key) {
        key[0] = k0;
        key[1] = k1;
        k0 += philox_key_step[0];
        k1 += philox_key_step[1];
    }
    stream.c2 = uint32_t(step);
    stream.c3 = uint32_t(purpose) << 28 | uint32_t(layer & 0xfff) << 16 | uint32_t(layer >> 12 & 0xff) << 8 |
                uint32_t(step >> 32 & 0xff);
    return stream;
}

// The product of the low halves of 64-bit lanes; the high halves are not looked at.
DR_INLINE vec<uint64_t> multiply_low_halves(vec<uint64_t> a, vec<uint64_t> b) {
#if DR_VECTOR_BYTES == 64
    return (vec<uint64_t>)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)b);
#elif DR_VECTOR_BYTES == 32
    return (vec<uint64_t>)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
    return (vec<uint64_t>)_mm_mul_epu32((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
    return (vec<uint64_t>)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
    return (a & 0xffffffff) * (b & 0xffffffff);
#endif
}

// Counters, one in each 64-bit lane, and their words. A word has a lane to itself whose high half is left
// to hold anything, since products and the final merge ignore it: no masking in the rounds.
using Wide = vec<uint64_t>;
struct Counters {
    Wide c0, c1, c2, c3;
};

DR_INLINE void philox_round(Counters& x, Wide key0, Wide key1) {
    const Wide product0 = multiply_low_halves(x.c0, broadcast(uint64_t(philox_multiplier[0])));
    const Wide product1 = multiply_low_halves(x.c2, broadcast(uint64_t(philox_multiplier[1])));
    x = {(product1 >> 32) ^ (x.c1 ^ key0), product1, (product0 >> 32) ^ (x.c3 ^ key1), product0};
}

// The rounds, unrolled, of one or several sets of counters side by side: a round is a chain of a product,
// a shift and two exclusive ors, and one chain alone would leave the machine waiting.
template <int round = 0, class... Sets>
DR_INLINE void all_philox_rounds(const RandomStream& stream, Sets&... sets) {
    if constexpr (round < philox_rounds) {
        const Wide key0 = broadcast(stream.round_key[round][0]);
        const Wide key1 = broadcast(stream.round_key[round][1]);
        (philox_round(sets, key0, key1), ...);
        all_philox_rounds<round + 1>(stream, sets...);
    }
}

// Words in the order of columns: the four of the first counter, of the second, ...
inline constexpr int group_counters = lanes<uint64_t>;
inline constexpr int group_words = 4 * group_counters;
struct WordGroup {
    vec<uint32_t> words[2];
};

DR_INLINE WordGroup merge_words(const Counters& x) {
    const Wide low = (x.c0 & 0xffffffff) | (x.c1 << 32);   // words 0 and 1 of each counter
    const Wide high = (x.c2 & 0xffffffff) | (x.c3 << 32);  // words 2 and 3
#if DR_VECTOR_BYTES == 64
    const Wide first = __builtin_shufflevector(low, high, 0, 8, 1, 9, 2, 10, 3, 11);
    const Wide second = __builtin_shufflevector(low, high, 4, 12, 5, 13, 6, 14, 7, 15);
#elif DR_VECTOR_BYTES == 32
    const Wide first = __builtin_shufflevector(low, high, 0, 4, 1, 5);
    const Wide second = __builtin_shufflevector(low, high, 2, 6, 3, 7);
#else
    const Wide first = __builtin_shufflevector(low, high, 0, 2);
    const Wide second = __builtin_shufflevector(low, high, 1, 3);
#endif
    return {{bitcast<vec<uint32_t>>(first), bitcast<vec<uint32_t>>(second)}};
}

DR_INLINE Counters counters_at(const RandomStream& stream, Wide block, Wide row) {
    return {block, row, broadcast(uint64_t(stream.c2)), broadcast(uint64_t(stream.c3))};
}

// Words 4 block, 4 block + 1, ... of a row.
DR_INLINE WordGroup random_group(const RandomStream& stream, uint32_t row, uint32_t block) {
    const Wide blocks = broadcast(uint64_t(block)) + iota<uint64_t>();
    Counters counters = counters_at(stream, blocks, broadcast(uint64_t(row)));
    all_philox_rounds(stream, counters);
    return merge_words(counters);
}

// emit(i, group): the whole group belongs at columns [column + i, column + i + group_words).
// emit_part(i, words, count): `count` words belong at column + i. Only the first group (where column is
// no multiple of 4) and the last can be partial.
template <class Emit, class EmitPart>
DR_INLINE void for_random_words(const RandomStream& stream, uint32_t row, uint32_t column, int n, Emit emit,
                                EmitPart emit_part) {
    uint32_t block = column / 4;
    int i = -int(column % 4);  // where the next group begins
    for (; i < n; i += group_words, block += group_counters) {
        const WordGroup group = random_group(stream, row, block);
        if (i >= 0 && i + group_words <= n) {
            emit(i, group);
        } else {
            uint32_t words[group_words];
            storeu(words, group.words[0]);
            storeu(words + group_words / 2, group.words[1]);
            const int skip = i < 0 ? -i : 0;
            const int end = n - i < group_words ? n - i : group_words;
            emit_part(i + skip, words + skip, end - skip);
        }
    }
}

// out[i] = the word of column + i, 0 <= i < n.
inline void random_words(const RandomStream& stream, uint32_t row, uint32_t column, int n, uint32_t* out) {
    for_random_words(
        stream, row, column, n,
        [=](int i, const WordGroup& group) {
            storeu(out + i, group.words[0]);
            storeu(out + i + group_words / 2, group.words[1]);
        },
        [=](int i, const uint32_t* words, int count) {
            for (int j = 0; j < count; ++j) out[i + j] = words[j];
        });
}

// `scale` where a word is kept and 0 where it is dropped.
DR_INLINE void store_factors(vec<uint32_t> words, uint32_t threshold, float scale, float* out) {
    const auto kept = words >= broadcast(threshold);
    storeu(out, select(kept, broadcast(scale), vec<float>{}));
}
DR_INLINE void store_factors(vec<uint32_t> words, uint32_t threshold, double scale, double* out) {
#if DR_VECTOR_BYTES == 64
    const auto low = __builtin_shufflevector(words, words, 0, 1, 2, 3, 4, 5, 6, 7);
    const auto high = __builtin_shufflevector(words, words, 8, 9, 10, 11, 12, 13, 14, 15);
#elif DR_VECTOR_BYTES == 32
    const auto low = __builtin_shufflevector(words, words, 0, 1, 2, 3);
    const auto high = __builtin_shufflevector(words, words, 4, 5, 6, 7);
#else
    const auto low = __builtin_shufflevector(words, words, 0, 1);
    const auto high = __builtin_shufflevector(words, words, 2, 3);
#endif
    const vec<int64_t> limit = broadcast(int64_t(threshold));
    const vec<double> kept = broadcast(scale), dropped{};
    storeu(out, select(__builtin_convertvector(low, vec<int64_t>) >= limit, kept, dropped));
    storeu(out + lanes<double>, select(__builtin_convertvector(high, vec<int64_t>) >= limit, kept, dropped));
}

// Dropout factors of a panel: `scale` where kept, 0 where dropped; scale = 1 / (1 - rate) for the inverted form.
// Rows [row, row + rows) and columns [column, column + 2 lanes<T>), row after row; column is a multiple of 4. A group of words makes one such row of floats, or two of doubles.
template <class T>
inline void dropout_panel(const RandomStream& stream, uint32_t row, int rows, uint32_t column,
                          uint32_t threshold, T scale, T* out) {
    constexpr int width = 2 * lanes<T>;
    constexpr int group_rows = group_words / width;
    constexpr uint64_t row_counters = width / 4;
    const Wide lane = iota<uint64_t>();
    const Wide block = (lane & (row_counters - 1)) + uint64_t(column / 4);
    const Wide lane_row = (lane >= row_counters) & 1;  // 1 in the lanes of a second row
    const auto put = [=](const WordGroup& group, int r) {
        if constexpr (group_rows == 1) {
            if (r >= rows) return;
            store_factors(group.words[0], threshold, scale, out + r * width);
            store_factors(group.words[1], threshold, scale, out + r * width + width / 2);
        } else {
            if (r < rows) store_factors(group.words[0], threshold, scale, out + r * width);
            if (r + 1 < rows) store_factors(group.words[1], threshold, scale, out + (r + 1) * width);
        }
    };
    for (int r = 0; r < rows; r += 2 * group_rows) {
        Counters first = counters_at(stream, block, lane_row + uint64_t(row + uint32_t(r)));
        Counters second = counters_at(stream, block, lane_row + uint64_t(row + uint32_t(r + group_rows)));
        all_philox_rounds(stream, first, second);
        put(merge_words(first), r);
        put(merge_words(second), r + group_rows);
    }
}

}  // namespace deltarule::DR_TARGET
