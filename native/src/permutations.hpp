// Random orders of rows: the stable argsort of one random word per row, as deltarule.base.random.permutation.
#pragma once

#include <cstdint>

#include "purpose.hpp"

namespace deltarule {

// Order e is that of the words (seed, purpose, layer 0, step first_step + e, row `row`, columns 0 to n - 1).
//   out  orders  (count, n)
// n must be below 2^32. Throws std::bad_alloc.
void permutations(uint64_t seed, Purpose purpose, uint64_t first_step, long count, uint32_t row, long n,
                  int64_t* orders);

}  // namespace deltarule
