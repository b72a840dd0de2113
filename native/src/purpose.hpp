// What random words are for, in the counter that philox.hpp describes; the numbers are those of deltarule.base.random.
#pragma once

#include <cstdint>

namespace deltarule {

enum class Purpose : int { initializer, shuffle, dropout, split, restart, direction, shuffle_blocks };

// A unit is kept where its word >= threshold = floor(rate 2^32), rate in [0, 1).
__attribute__((always_inline)) inline uint32_t dropout_threshold(double rate) {
    return uint32_t(rate * 4294967296.0);
}

}  // namespace deltarule
