#include "permutations.hpp"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels.hpp"

namespace deltarule {

namespace {

// Few numbers: each is put where it belongs among those before it.
void sort_by_insertion(const uint32_t* words, long count, int64_t* order) {
    for (long i = 0; i < count; ++i) {
        long at = i;
        for (; at > 0 && words[order[at - 1]] > words[i]; --at) order[at] = order[at - 1];
        order[at] = i;
    }
}

// Radix sort by 11 bits at a time, the lowest first.
//   in       words    (count,)
//   scratch           (2 count,)
void sort_by_digits(const uint32_t* words, long count, uint32_t* scratch, int64_t* order) {
    constexpr int bits = 11, buckets = 1 << bits;
    uint32_t *from = scratch, *to = scratch + count;
    for (long i = 0; i < count; ++i) from[i] = uint32_t(i);
    for (int shift = 0; shift < 32; shift += bits) {
        uint32_t first[buckets] = {};
        for (long i = 0; i < count; ++i) ++first[words[i] >> shift & (buckets - 1)];
        uint32_t sum = 0;
        for (uint32_t& f : first) {
            const uint32_t size = f;
            f = sum;
            sum += size;
        }
        for (long i = 0; i < count; ++i) {
            const uint32_t index = from[i];
            to[first[words[index] >> shift & (buckets - 1)]++] = index;
        }
        std::swap(from, to);
    }
    for (long i = 0; i < count; ++i) order[i] = from[i];
}

constexpr long few = 32, many = 256;

// order = stable argsort of words
void stable_argsort(const uint32_t* words, long count, uint32_t* scratch, int64_t* order) {
    if (count <= few) {
        sort_by_insertion(words, count, order);
    } else if (count < many) {
        std::iota(order, order + count, int64_t(0));
        std::stable_sort(order, order + count, [&](int64_t a, int64_t b) { return words[a] < words[b]; });
    } else {
        sort_by_digits(words, count, scratch, order);
    }
}

}  // namespace

void permutations(uint64_t seed, Purpose purpose, uint64_t first_step, long count, uint32_t row, long n,
                  int64_t* orders) {
    int known = 0;
    const Target *const all = targets(&known), *const chosen = chosen_target();
    const Kernels& kernels =
        *(chosen != nullptr ? chosen : all + known - 1)->float32;  // the words are the same on each
    std::vector<uint32_t> words(static_cast<size_t>(n < many ? n : 3 * n));
    for (long e = 0; e < count; ++e) {
        kernels.random_words(seed, purpose, first_step + uint64_t(e), row, n, words.data());
        stable_argsort(words.data(), n, words.data() + n, orders + e * n);
    }
}

}  // namespace deltarule
