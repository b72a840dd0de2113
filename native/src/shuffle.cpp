#include "shuffle.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace deltarule {

// Radix sort by 11 bits at a time, the lowest first; more than 2^32 rows are sorted by comparison.
void stable_argsort(uint32_t* words, long count, uint32_t* scratch, int64_t* order) {
    if (count < 256 || count > long(UINT32_MAX)) {
        std::iota(order, order + count, int64_t(0));
        std::stable_sort(order, order + count, [&](int64_t a, int64_t b) { return words[a] < words[b]; });
        return;
    }
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

}  // namespace deltarule
