// The vector functions behind a C table, for the tests of one target per shared object:
//
//   g++ -std=c++20 -O2 -ffp-contract=off -fPIC -shared -DDR_TARGET=avx2 -mavx2 -mfma -Inative/src
//       native/tests/math_harness.cpp -o math_avx2.so
//
// dr_test_unary and dr_test_activation check that `target` is the one it was compiled for, so that
// a test cannot pass on the wrong kernels.
#include <cstdint>
#include <cstring>

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

template <class T>
int unary(int function, const T* in, T* out, int64_t n) {
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
        default: return -1;
    }
}

template <class T>
int activation(const char* name, bool derivative, T setting, const T* in, T* out, int64_t n) {
    int kind = 0;
    for (const ActivationTraits& traits : activation_traits) {
        if (std::strcmp(traits.name, name) == 0 && !traits.of_rows) {
            with_activation<T>(Activation(kind), setting, [&](auto f) {
                if (derivative)
                    map(in, out, n, [=](vec<T> z) { return f.derivative(z, f.value(z)); });
                else
                    map(in, out, n, [=](vec<T> z) { return f.value(z); });
            });
            return 0;
        }
        ++kind;
    }
    return -1;
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

// out[i] = function(in[i]). dtype: 0 float, 1 double. function: the switch above. 0, or -1 where target or function is
// unknown here.
int dr_test_unary(int target, int function, int dtype, const void* in, void* out, int64_t n) {
    if (target != dr_test_target()) return -1;
    if (dtype == 0) return here::unary(function, (const float*)in, (float*)out, n);
    return here::unary(function, (const double*)in, (double*)out, n);
}
// out[i] = f(in[i]), or f'(in[i]), of the activation of that name.
int dr_test_activation(int target, const char* name, int derivative, int dtype, double setting,
                       const void* in, void* out, int64_t n) {
    if (target != dr_test_target()) return -1;
    if (dtype == 0)
        return here::activation(name, derivative != 0, float(setting), (const float*)in, (float*)out, n);
    return here::activation(name, derivative != 0, setting, (const double*)in, (double*)out, n);
}
// The same, so many times over: for timing.
int dr_test_repeat_unary(int target, int function, int dtype, const void* in, void* out, int64_t n,
                         int times) {
    int result = 0;
    for (int i = 0; i < times; ++i) result |= dr_test_unary(target, function, dtype, in, out, n);
    return result;
}
int dr_test_repeat_activation(int target, const char* name, int derivative, int dtype, const void* in,
                              void* out, int64_t n, int times) {
    int result = 0;
    for (int i = 0; i < times; ++i)
        result |= dr_test_activation(target, name, derivative, dtype, 1.0, in, out, n);
    return result;
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

// Columns of a panel.
int dr_test_panel_width(int dtype) { return 2 * (dtype == 0 ? here::lanes<float> : here::lanes<double>); }

// Rows in panels, `stride` elements apart: a = softmax(z); and d_in (+)= dL/dz for d_out = dL/da.
void dr_test_softmax(int dtype, long rows, long columns, long stride, const void* z, void* a) {
    if (dtype == 0)
        here::softmax_forward(rows, columns, stride, (const float*)z, (float*)a);
    else
        here::softmax_forward(rows, columns, stride, (const double*)z, (double*)a);
}
void dr_test_softmax_backward(int dtype, long rows, long columns, long stride, const void* a,
                              const void* d_out, void* d_in, int add) {
    if (dtype == 0)
        here::softmax_backward(rows, columns, stride, (const float*)a, (const float*)d_out, (float*)d_in,
                               add != 0);
    else
        here::softmax_backward(rows, columns, stride, (const double*)a, (const double*)d_out, (double*)d_in,
                               add != 0);
}

// Known answers: one block; a row of words.
void dr_test_philox(const uint32_t* counter, const uint32_t* key, uint32_t* out) {
    const uint64_t seed = uint64_t(key[1]) << 32 | key[0],
                   step = uint64_t(counter[3] & 0xff) << 32 | counter[2];
    const int layer = int((counter[3] >> 16 & 0xfff) | (counter[3] >> 8 & 0xff) << 12);
    const auto stream = here::random_stream(seed, deltarule::Purpose(counter[3] >> 28), layer, step);
    const auto words = here::random_group(stream, counter[1], counter[0]).words[0];
    for (int i = 0; i < 4; ++i) out[i] = words[i];
}
void dr_test_words(uint64_t seed, int purpose, int layer, uint64_t step, uint32_t row, uint32_t column, int n,
                   uint32_t* out) {
    here::random_words(here::random_stream(seed, deltarule::Purpose(purpose), layer, step), row, column, n,
                       out);
}

// A panel of dropout factors (0 or scale), rows one after another.
int dr_test_dropout_panel(int dtype, uint64_t seed, int layer, uint64_t step, uint32_t row, int rows,
                          uint32_t column, double rate, void* out) {
    const auto stream = here::random_stream(seed, deltarule::Purpose::dropout, layer, step);
    const uint32_t threshold = deltarule::dropout_threshold(rate);
    const double scale = 1.0 / (1.0 - rate);
    if (dtype == 0)
        here::dropout_panel(stream, row, rows, column, threshold, float(scale), (float*)out);
    else
        here::dropout_panel(stream, row, rows, column, threshold, scale, (double*)out);
    return 2 * (dtype == 0 ? here::lanes<float> : here::lanes<double>);
}

}  // extern "C"
