// Aligned memory, in huge pages where the system has them.
#pragma once

#include <cstddef>

namespace deltarule {

// Zeroed, aligned to 64 bytes at least. Throws std::bad_alloc.
void* allocate(size_t bytes);
void release(void* memory);

}  // namespace deltarule
