// The order of an epoch: the stable argsort of one random word per row.
#pragma once

#include <cstdint>

namespace deltarule {

inline constexpr int purpose_shuffle = 1;  // as in philox.hpp and deltarule.base.random

// order = stable argsort of words; `words` is overwritten.
//   in   words    (count,)
//   out  order    (count,)
//        scratch  (2 count,)
void stable_argsort(uint32_t* words, long count, uint32_t* scratch, int64_t* order);

}  // namespace deltarule
