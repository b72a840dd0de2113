// The vector functions behind a C table, for the tests of one target per shared object:
//
//   g++ -std=c++20 -O2 -ffp-contract=off -fPIC -shared -DDR_TARGET=avx2 -mavx2 -mfma -Inative/src
//       native/tests/math_harness.cpp -o math_avx2.so
//
// dr_test_unary checks that `target` is the one it was compiled for, so that a test cannot pass on the
// wrong kernels.
#include <cstdint>

#include "activations.hpp"
#include "erf.hpp"
#include "math.hpp"
#include "philox.hpp"
#include "softmax.hpp"

#define DR_STRING_OF(x) #x
#define DR_STRING(x) DR_STRING_OF(x)

namespace deltarule::DR_TARGET {
namespace {

template <class T, class F>
void map(const T* in, T* out, int64_t n, F f) {
    constexpr int width = lanes<T>;
    int64_t i = 0;
    for (; i + width <= n; i += width) storeu(out + i, f(loadu(in + i)));
    if (i < n) store_partial(out + i, f(load_partial(in + i, int(n - i))), int(n - i));
}

constexpr int first_activation = 100, first_derivative = 200;

template <class T>
int unary(int function, T parameter, const T* in, T* out, int64_t n) {
    using V = vec<T>;
    switch (function) {
        case 0: map(in, out, n, [](V x) { return exp(x); }); return 0;
        case 1: map(in, out, n, [](V x) { return expm1(x); }); return 0;
        case 2: map(in, out, n, [](V x) { return log(x); }); return 0;
        case 3: map(in, out, n, [](V x) { return log1p(x); }); return 0;
        case 4: map(in, out, n, [](V x) { return tanh(x); }); return 0;
        case 5: map(in, out, n, [](V x) { return erf(x); }); return 0;
        case 6: map(in, out, n, [](V x) { return erfc(x); }); return 0;
        case 7: map(in, out, n, [](V x) { return normal_distribution(x).cumulative; }); return 0;
        case 8: map(in, out, n, [](V x) { return x; }); return 0;  // the cost of the loop
        default: break;
    }
    const bool derivative = function >= first_derivative;
    const int kind = function - (derivative ? first_derivative : first_activation);
    const bool known = with_activation<T>(deltarule::ActivationKind(kind), parameter, [&](auto f) {
        if (derivative)
            map(in, out, n, [=](V z) { return f.derivative(z, f.value(z)); });
        else
            map(in, out, n, [=](V z) { return f.value(z); });
    });
    return known ? 0 : -1;
}

template <class T>
int lane_probe(const T* in, int n, T* out) {
    const vec<T> v = load_partial(in, n);
    out[0] = sum_lanes(v);
    out[1] = max_lanes(v);
    out[2] = T(count(v > vec<T>{}));
    out[3] = T(mask_bits(v > vec<T>{}));
    store_partial(out + 4, v, n);
    return lanes<T>;
}

}  // namespace
}  // namespace deltarule::DR_TARGET

namespace here = deltarule::DR_TARGET;

extern "C" {

// The target of this object: 0 baseline, 1 avx2, 2 avx512.
int dr_test_target() {
    const char* name = DR_STRING(DR_TARGET);
    return name[0] == 'b' ? 0 : name[3] == '2' ? 1 : 2;
}

// out[i] = function(in[i]). dtype: 0 float, 1 double. function: the switch above; 100 + kind an
// activation, 200 + kind its derivative at z (with the default parameter unless dr_test_activation is
// called). 0, or -1 where target or function is unknown here.
int dr_test_activation(int target, int function, int dtype, double parameter, const void* in, void* out,
                       int64_t n) {
    if (target != dr_test_target()) return -1;
    if (dtype == 0) return here::unary<float>(function, float(parameter), (const float*)in, (float*)out, n);
    return here::unary<double>(function, parameter, (const double*)in, (double*)out, n);
}
// The same, so many times over: for timing.
int dr_test_repeat(int target, int function, int dtype, const void* in, void* out, int64_t n, int times) {
    int result = 0;
    for (int i = 0; i < times; ++i) result |= dr_test_activation(target, function, dtype, 1.0, in, out, n);
    return result;
}
void dr_test_unary(int target, int function, int dtype, const void* in, void* out, int64_t n) {
    if (dr_test_activation(target, function, dtype, 1.0, in, out, n) != 0) __builtin_trap();
}

// The first n of one vector of numbers `in`, n <= lanes: out[0] their sum in the order of sum_lanes, [1] the
// largest (others 0), [2] how many are > 0, [3] the bits of that mask; then the n copied by store_partial.
// Returns the number of lanes.
int dr_test_lanes(int dtype, const void* in, int n, void* out) {
    if (dtype == 0) return here::lane_probe((const float*)in, n, (float*)out);
    return here::lane_probe((const double*)in, n, (double*)out);
}

// Flush denormals to zero and count them as zero in this thread, as a worker of the engine does. Returns
// the former setting, to be restored.
unsigned dr_test_set_flush([[maybe_unused]] unsigned control, [[maybe_unused]] int flush) {
#if defined(__x86_64__)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(flush ? before | 0x8040 : control);
    return before;
#else
    return 0;
#endif
}

// One row: out = softmax(z), returns log(sum(exp(z))).
double dr_test_softmax(int dtype, const void* z, void* out, int n) {
    if (dtype == 0) return here::softmax_row((const float*)z, (float*)out, n);
    return here::softmax_row((const double*)z, (double*)out, n);
}

// Known answers: one block; a row of words; a row of dropout factors (0 or scale).
void dr_test_philox(const uint32_t* counter, const uint32_t* key, uint32_t* out) {
    const auto block = here::philox4x32({counter[0], counter[1], counter[2], counter[3]}, {key[0], key[1]});
    for (int i = 0; i < 4; ++i) out[i] = block.word[i];
}
void dr_test_words(uint64_t seed, int purpose, int layer, uint64_t step, uint32_t row, uint32_t column, int n,
                   uint32_t* out) {
    here::random_words(here::random_stream(seed, purpose, layer, step), row, column, n, out);
}
void dr_test_dropout(int dtype, uint64_t seed, int layer, uint64_t step, uint32_t row, uint32_t column, int n,
                     double rate, void* out) {
    const auto stream = here::random_stream(seed, here::purpose_dropout, layer, step);
    const uint32_t threshold = here::dropout_threshold(rate);
    const double scale = 1.0 / (1.0 - rate);
    if (dtype == 0)
        here::dropout_factors(stream, row, column, n, threshold, float(scale), (float*)out);
    else
        here::dropout_factors(stream, row, column, n, threshold, scale, (double*)out);
}

// A panel of 2 lanes columns, rows one after another.
int dr_test_dropout_panel(int dtype, uint64_t seed, int layer, uint64_t step, uint32_t row, int rows,
                          uint32_t column, double rate, void* out) {
    const auto stream = here::random_stream(seed, here::purpose_dropout, layer, step);
    const uint32_t threshold = here::dropout_threshold(rate);
    const double scale = 1.0 / (1.0 - rate);
    if (dtype == 0)
        here::dropout_panel(stream, row, rows, column, threshold, float(scale), (float*)out);
    else
        here::dropout_panel(stream, row, rows, column, threshold, scale, (double*)out);
    return 2 * (dtype == 0 ? here::lanes<float> : here::lanes<double>);
}

}  // extern "C"
