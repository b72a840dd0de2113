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
// What a word is for, shared with deltarule.random:
//
//   key = seed: low word, high word
//   c0  = column / 4 (the word of a column is output column % 4)
//   c1  = row in the whole batch
//   c2  = step or epoch, bits 0 to 31
//   c3  = purpose << 28 | layer << 16 | bits 32 to 47 of step
#pragma once

#include "simd.hpp"

namespace deltarule::DR_TARGET {

inline constexpr int purpose_initializer = 0, purpose_shuffle = 1, purpose_dropout = 2;
inline constexpr int purpose_split = 3, purpose_restart = 4, purpose_direction = 5;

inline constexpr int philox_rounds = 10;
inline constexpr uint32_t philox_multiplier[2] = {0xD2511F53, 0xCD9E8D57};
inline constexpr uint32_t philox_key_step[2] = {0x9E3779B9, 0xBB67AE85};

struct PhiloxBlock {
    uint32_t word[4];
};
struct PhiloxKey {
    uint32_t word[2];
};

DR_INLINE PhiloxBlock philox4x32(PhiloxBlock counter, PhiloxKey key) {
    uint32_t(&c)[4] = counter.word;
    uint32_t(&k)[2] = key.word;
    for (int round = 0; round < philox_rounds; ++round) {
        const uint64_t product0 = uint64_t(philox_multiplier[0]) * c[0];
        const uint64_t product1 = uint64_t(philox_multiplier[1]) * c[2];
        c[0] = uint32_t(product1 >> 32) ^ c[1] ^ k[0];
        c[1] = uint32_t(product1);
        c[2] = uint32_t(product0 >> 32) ^ c[3] ^ k[1];
        c[3] = uint32_t(product0);
        k[0] += philox_key_step[0];
        k[1] += philox_key_step[1];
    }
    return counter;
}

// All but row and column of what words are for, with the keys of the ten rounds.
struct RandomStream {
    uint64_t round_key[philox_rounds][2];
    uint32_t c2, c3;
};
inline RandomStream random_stream(uint64_t seed, int purpose, int layer, uint64_t step) {
    RandomStream stream;
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
    for (auto& key : stream.round_key) {
        key[0] = k0;
        key[1] = k1;
        k0 += philox_key_step[0];
        k1 += philox_key_step[1];
    }
    stream.c2 = uint32_t(step);
    stream.c3 = uint32_t(purpose) << 28 | uint32_t(layer) << 16 | uint32_t(step >> 32 & 0xffff);
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

// A group: the words of as many consecutive counters as there are 64-bit lanes, in the order of columns.
inline constexpr int group_counters = lanes<uint64_t>;
inline constexpr int group_words = 4 * group_counters;
struct WordGroup {
    vec<uint32_t> words[2];
};

// Words 4 block, 4 block + 1, ... of a row. Each word of the counter has a 64-bit lane whose high half
// is left to hold anything, since products and the final merge ignore it: no masking in the rounds.
DR_INLINE WordGroup random_group(const RandomStream& stream, uint32_t row, uint32_t block) {
    using W = vec<uint64_t>;
    const W multiplier0 = broadcast(uint64_t(philox_multiplier[0]));
    const W multiplier1 = broadcast(uint64_t(philox_multiplier[1]));
    W c0 = broadcast(uint64_t(block)) + iota<uint64_t>();
    W c1 = broadcast(uint64_t(row));
    W c2 = broadcast(uint64_t(stream.c2));
    W c3 = broadcast(uint64_t(stream.c3));
    for (const auto& key : stream.round_key) {
        const W product0 = multiply_low_halves(c0, multiplier0);
        const W product1 = multiply_low_halves(c2, multiplier1);
        c0 = (product1 >> 32) ^ (c1 ^ broadcast(key[0]));
        c1 = product1;
        c2 = (product0 >> 32) ^ (c3 ^ broadcast(key[1]));
        c3 = product0;
    }
    const W low = (c0 & 0xffffffff) | (c1 << 32);   // words 0 and 1 of each counter
    const W high = (c2 & 0xffffffff) | (c3 << 32);  // words 2 and 3
#if DR_VECTOR_BYTES == 64
    const W first = __builtin_shufflevector(low, high, 0, 8, 1, 9, 2, 10, 3, 11);
    const W second = __builtin_shufflevector(low, high, 4, 12, 5, 13, 6, 14, 7, 15);
#elif DR_VECTOR_BYTES == 32
    const W first = __builtin_shufflevector(low, high, 0, 4, 1, 5);
    const W second = __builtin_shufflevector(low, high, 2, 6, 3, 7);
#else
    const W first = __builtin_shufflevector(low, high, 0, 2);
    const W second = __builtin_shufflevector(low, high, 1, 3);
#endif
    return {{bitcast<vec<uint32_t>>(first), bitcast<vec<uint32_t>>(second)}};
}

// emit(i, group): the whole group belongs at columns [column + i, column + i + group_words).
// emit_part(i, words, count): `count` words belong at column + i. Only the first group (where column is
// no multiple of 4) and the last can be partial.
template <class Emit, class EmitPart>
DR_INLINE void for_random_words(const RandomStream& stream, uint32_t row, uint32_t column, int n,
                                Emit emit, EmitPart emit_part) {
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

// A unit is kept where its word >= threshold = floor(rate 2^32), rate in [0, 1).
DR_INLINE uint32_t dropout_threshold(double rate) {
    return uint32_t(rate * 4294967296.0);
}

// `scale` where a word is kept and 0 where it is dropped.
DR_INLINE void store_factors(vec<uint32_t> words, uint32_t threshold, float scale, float* out) {
    const auto kept = words >= broadcast(threshold);
    storeu(out, select(kept, broadcast(scale), vec<float>{}));
}
DR_INLINE void store_factors(vec<uint32_t> words, uint32_t threshold, double scale, double* out) {
    constexpr int half = lanes<double>;
    uint32_t parts[2 * half];
    storeu(parts, words);
    typedef uint32_t Half __attribute__((vector_size(DR_VECTOR_BYTES / 2)));
    for (int part = 0; part < 2; ++part) {
        Half narrow;
        __builtin_memcpy(&narrow, parts + part * half, sizeof narrow);
        const vec<int64_t> wide = __builtin_convertvector(narrow, vec<int64_t>);
        storeu(out + part * half, select(wide >= broadcast(int64_t(threshold)), broadcast(scale), vec<double>{}));
    }
}

// Dropout factors of columns [column, column + n) of a row: out[i] = scale where kept, 0 where dropped;
// scale = 1 / (1 - rate) for the inverted form.
template <class T>
inline void dropout_factors(const RandomStream& stream, uint32_t row, uint32_t column, int n,
                            uint32_t threshold, T scale, T* out) {
    for_random_words(
        stream, row, column, n,
        [=](int i, const WordGroup& group) {
            store_factors(group.words[0], threshold, scale, out + i);
            store_factors(group.words[1], threshold, scale, out + i + group_words / 2);
        },
        [=](int i, const uint32_t* words, int count) {
            for (int j = 0; j < count; ++j) out[i + j] = words[j] >= threshold ? scale : T(0);
        });
}

}  // namespace deltarule::DR_TARGET
