#include "memory.hpp"

#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "engine.hpp"

namespace deltarule {

void* allocate(size_t bytes) {
    constexpr size_t huge = size_t(2) << 20;
    const size_t alignment = bytes >= 2 * huge ? huge : 64;
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void* const memory = std::aligned_alloc(alignment, rounded);
    if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    // (Whole pages only: the end of the last one would cost memory that nobody asked for.)
    if (alignment == huge) madvise(memory, bytes / huge * huge, MADV_HUGEPAGE);
#endif
    std::memset(memory, 0, bytes);
    return memory;
}

void release(void* memory) { std::free(memory); }

Buffer::~Buffer() { release(data_); }

void* Buffer::need(size_t bytes) {
    if (bytes > bytes_) {
        release(data_);
        data_ = nullptr;
        bytes_ = 0;
        data_ = allocate(bytes);
        bytes_ = bytes;
    }
    return data_;
}

}  // namespace deltarule
