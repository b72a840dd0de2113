#include <cstdlib>
#include <cstring>

#include "kernels.hpp"

namespace deltarule {

#define DR_DECLARE(name)                       \
    namespace name {                           \
    extern const Kernels kernels32, kernels64; \
    }
DR_DECLARE(baseline)
#if defined(DR_HAS_X86_TARGETS)
DR_DECLARE(avx2)
DR_DECLARE(avx512)
#endif

namespace {

bool always() { return true; }
#if defined(DR_HAS_X86_TARGETS)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
bool has_avx512_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#endif

const Target table[] = {
#if defined(DR_HAS_X86_TARGETS)
    {"avx512_bf16", has_avx512_bf16, &avx512::kernels32, &avx512::kernels64, true},
    {"avx512", has_avx512, &avx512::kernels32, &avx512::kernels64},
    {"avx2", has_avx2, &avx2::kernels32, &avx2::kernels64},
#endif
    {"baseline", always, &baseline::kernels32, &baseline::kernels64},
};

}  // namespace

const Target* targets(int* count) {
    *count = int(sizeof table / sizeof table[0]);
    return table;
}

const Target* chosen_target() {
    const char* const forced = std::getenv("DELTARULE_TARGET");
    for (const Target& target : table) {
        if (forced != nullptr && *forced != 0 && std::strcmp(forced, target.name) != 0) continue;
        if (target.supported()) return &target;
        if (forced != nullptr && *forced != 0) return nullptr;
    }
    return nullptr;
}

}  // namespace deltarule
