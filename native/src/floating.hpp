// A known floating-point state for the life of an object: rounding to nearest, no traps, denormal numbers flushed
// to zero. (A thread inherits the state of whoever happened to start it.) The caller's is restored after.
#pragma once

#include <cstdint>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace deltarule {

class FlushDenormals {
public:
    FlushDenormals() {
#if defined(__x86_64__)
        before_ = _mm_getcsr();
        _mm_setcsr(0x9fc0u);  // all exceptions masked, FTZ and DAZ
#elif defined(__aarch64__)
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" ::"r"(uint64_t(1) << 24));  // FZ
#endif
    }
    ~FlushDenormals() {
#if defined(__x86_64__)
        // The exception flags raised meanwhile are nobody's business outside.
        _mm_setcsr(uint32_t(before_));
#elif defined(__aarch64__)
        asm volatile("msr fpcr, %0" ::"r"(before_));
#endif
    }
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

private:
    uint64_t before_ = 0;
};

}  // namespace deltarule
