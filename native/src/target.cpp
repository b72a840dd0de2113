// Compiled once per target, with -DDR_TARGET=<name> and the target's flags.
#include "columnar.hpp"
#include "kernels.hpp"
#include "parameters.hpp"
#include "peak.hpp"
#include "rows.hpp"

#define DR_NAME_OF(x) #x
#define DR_NAME(x) DR_NAME_OF(x)

namespace deltarule::DR_TARGET {

namespace {

// w[k, n] between rows of N (canonical) and panels; vectors are matrices of one row.
template <class T>
double pack(const PackedParameter& parameter, long p0, long p1, const void* flat, void* packed,
            void* transposed) {
    constexpr long NR = panel_width<T>;
    const long K = parameter.inputs, N = parameter.outputs;
    const T* const from = static_cast<const T*>(flat) + parameter.canonical;
    T* const to = static_cast<T*>(packed) + parameter.at;
    integers_of<vec<T>> sizes[2] = {};  // bits of absolute values are ordered as these, NaN above infinity
    for (long k = 0; k < K; ++k)
        for (long p = p0; p < p1; ++p) {
            const T* const row = from + k * N + p * NR;
            for (int v = 0; v < 2; ++v) {
                const long left = N - p * NR - v * lanes<T>;
                const vec<T> w = left >= lanes<T>
                                     ? loadu(row + v * lanes<T>)
                                     : load_partial(row + v * lanes<T>, left > 0 ? int(left) : 0);
                store(to + (p * K + k) * NR + v * lanes<T>, w);
                const auto bits = bitcast<integers_of<vec<T>>>(abs(w));
                sizes[v] = bits > sizes[v] ? bits : sizes[v];
            }
        }
    const double result =
        larger(largest_lane<T>(bitcast<vec<T>>(sizes[0])), largest_lane<T>(bitcast<vec<T>>(sizes[1])));
    for (long p = p0; transposed != nullptr && p < p1; ++p)
        for (long q = 0; q * NR < K; ++q) copy_block<T>(parameter, p, q, packed, transposed);
    return result;
}

template <class T>
double largest(const PackedParameter& parameter, const void* packed) {
    const T* const w = static_cast<const T*>(packed) + parameter.at;
    vec<T> size{};
    for (long i = 0; i < parameter.inputs * panels<T>(parameter.outputs) * panel_width<T>; i += lanes<T>)
        size = largest_of(size, load(w + i));
    return largest_lane<T>(size);
}

template <class T>
void unpack(const PackedParameter& parameter, long p0, long p1, const void* packed, void* flat) {
    constexpr long NR = panel_width<T>;
    const long K = parameter.inputs, N = parameter.outputs;
    T* const to = static_cast<T*>(flat) + parameter.canonical;
    const T* const from = static_cast<const T*>(packed) + parameter.at;
    for (long k = 0; k < K; ++k)
        for (long p = p0; p < p1; ++p) {
            const T* const row = from + (p * K + k) * NR;
            for (int v = 0; v < 2; ++v) {
                const long left = N - p * NR - v * lanes<T>;
                T* const out = to + k * N + p * NR + v * lanes<T>;
                if (left >= lanes<T>)
                    storeu(out, load(row + v * lanes<T>));
                else if (left > 0)
                    store_partial(out, load(row + v * lanes<T>), int(left));
            }
        }
}

template <class T>
void read_value(const Program& program, const Tile& tile, long place, long columns, void* out) {
    constexpr long NR = panel_width<T>;
    for (long r = 0; r < tile.rows; ++r) {
        const T* from = static_cast<const T*>(tile.base) + place + r * NR;
        T* to = static_cast<T*>(out) + r * columns;
        for (long left = columns; left > 0; left -= NR, from += program.capacity * NR, to += NR)
            __builtin_memcpy(to, from, sizeof(T) * size_t(left < NR ? left : NR));
    }
}

void words(uint64_t seed, Purpose purpose, uint64_t step, uint32_t row, long count, uint32_t* out) {
    constexpr long at_once = 1 << 30;
    const RandomStream stream = random_stream(seed, purpose, 0, step);
    for (long i = 0; i < count; i += at_once)
        random_words(stream, row, uint32_t(i), int(count - i < at_once ? count - i : at_once), out + i);
}

template <class T>
constexpr Kernels table() {
    return {DR_NAME(DR_TARGET), panel_width<T>,
            run_forward<T>,     run_backward<T>,
            columnar_group<T>,  run_outputs<T>,
            run_inputs<T>,      flush_update<T>,
            extents<T>,         batch_norm_statistics<T>,
            batch_norm_sums<T>, batch_norm_endless<T>,
            batch_norm_move<T>, batch_norm_from_running<T>,
            run_task<T>,        update_task<T>,
            constrain_panel<T>, pack<T>,
            unpack<T>,          largest<T>,
            read_value<T>,      words,
            multiply_adds<T>};
}

}  // namespace

extern const Kernels kernels32 = table<float>();
extern const Kernels kernels64 = table<double>();

}  // namespace deltarule::DR_TARGET
