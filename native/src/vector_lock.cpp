#include "vector_lock.hpp"

#include <cstdint>
#include <new>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace deltarule {

namespace {

constexpr int count = 64;

struct Locks {
    FairLock each[count];
};

Locks& locks() {
    // Never destroyed: threads of others may outlive main.
    static Locks* const all = [] {
        auto* const made = new Locks;
#if defined(__unix__) || defined(__APPLE__)
        static Locks* found;
        found = made;
        pthread_atfork(nullptr, nullptr, [] { new (found) Locks; });
#endif
        return made;
    }();
    return *all;
}

}  // namespace

FairLock& lock_of(const void* parameters) {
    const auto address = reinterpret_cast<uintptr_t>(parameters);
    return locks().each[(address >> 6 ^ address >> 12) % count];
}

}  // namespace deltarule
