// Softmax over rows, and the losses: value of each example and delta of the output, from one place.
//
// a: output (n, k); z: its preactivation; t: target. A loss with its canonical activation gives
// delta = dl/dz (`from_z`); any other pair gives dl/da, and the activation's own backward follows.
// Deltas carry the example's weight; 1 / sum of weights enters where the gradient is consumed.
#pragma once

#include "elementwise.hpp"
#include "gather.hpp"
#include "math.hpp"

namespace deltarule::DR_TARGET {

// visit(offset, mask of valid lanes) for each vector of a row.
template <class T, class Visit>
DR_INLINE void for_row(long columns, long stride, Visit visit) {
    constexpr long L = lanes<T>;
    const auto every = broadcast<typename lane_traits<vec<T>>::integer>(-1);
    for (long p = 0; p * 2 * L < columns; ++p)
        for (long v = 0; v < 2; ++v) {
            const long left = columns - (p * 2 + v) * L;
            if (left >= L)
                visit(p * stride + v * L, every);
            else if (left > 0)
                visit(p * stride + v * L, first_lanes<T>(int(left)));
        }
}

template <class T>
inline constexpr T largest_finite = T(sizeof(T) == 4 ? 3.4028234663852886e38 : 1.7976931348623157e308);

// The largest element of a row; NaN-free rows only (others turn NaN in what follows).
template <class T>
DR_INLINE T row_max(const T* x, long columns, long stride) {
    const vec<T> lowest = broadcast(T(-__builtin_inf()));
    vec<T> largest = lowest;
    for_row<T>(columns, stride,
               [&](long i, auto mask) { largest = max(select(mask, load(x + i), lowest), largest); });
    return max_lanes(largest);
}

// a_j = e^{z_j - m} / sum_k e^{z_k - m},  m = max_k z_k
template <class T>
void softmax_forward(long rows, long columns, long stride, const T* z, T* a) {
    constexpr long NR = 2 * lanes<T>;
    for (long r = 0; r < rows; ++r, z += NR, a += NR) {
        const T m = row_max(z, columns, stride);
        vec<T> sums{};
        for_row<T>(columns, stride, [&](long i, auto mask) {
            const vec<T> e = select(mask, exp(load(z + i) - m), vec<T>{});
            store(a + i, e);
            sums = sums + e;
        });
        const T sum = sum_lanes(sums);
        for_row<T>(columns, stride, [&](long i, auto) { store(a + i, load(a + i) / sum); });
    }
}

// dL/dz_j = a_j (g_j - sum_k g_k a_k),  g = dL/da
template <class T>
void softmax_backward(long rows, long columns, long stride, const T* a, const T* d_out, T* d_in, bool add) {
    constexpr long NR = 2 * lanes<T>;
    for (long r = 0; r < rows; ++r, a += NR, d_out += NR, d_in += NR) {
        vec<T> sums{};
        for_row<T>(columns, stride, [&](long i, auto mask) {
            sums = sums + select(mask, load(d_out + i) * load(a + i), vec<T>{});
        });
        const T sum = sum_lanes(sums);
        for_row<T>(columns, stride, [&](long i, auto) {
            const vec<T> d = load(a + i) * (load(d_out + i) - sum);
            store(d_in + i, add ? load(d_in + i) + d : d);
        });
    }
}

// z - m, with no infinity from finite z: its product with a target of 0 must be 0.
template <class T>
DR_INLINE vec<T> shifted(vec<T> z, T m) {
    return max(broadcast(-largest_finite<T>), z - m);
}

// Cross-entropy behind softmax, for L rows at a time:
//     l = log sum_k e^{z_k - m} - sum_k t_k (z_k - m),  delta = a - t
// The sum of exponentials is 1 / max a, since the largest one is e^0.
template <class T>
void cross_entropy(const Program& program, const Instruction& op, const Tile& tile, const T* z, const T* a,
                   const T* t, T* d) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    const long k = op.outputs, stride = program.capacity * NR;
    const bool labels = program.targets.columns == 0;
    const T smooth = T(op.loss_setting / double(k)), rest = T(1 - op.loss_setting);
    for (long r0 = 0; r0 < tile.rows; r0 += L) {
        alignas(vector_bytes) T largest_a[L], linear[L];
        for (long i = 0; i < L; ++i) largest_a[i] = 1;
        const long rows = tile.rows - r0 < L ? tile.rows - r0 : L;
        for (long i = 0; i < rows; ++i) {
            const long r = r0 + i, at = r * NR;
            const T w = T(program.row_weights ? program.row_weights[tile.first + r] : 1);
            const T m = row_max(z + at, k, stride);
            largest_a[i] = row_max(a + at, k, stride);
            vec<T> sums{};
            if (labels) {
                const long label = long(
                    static_cast<const int64_t*>(program.targets.data)[source_row(program, tile.first + r)]);
                const long hot = at + (label / NR) * stride + label % NR;
                if (op.loss_setting != 0)
                    for_row<T>(k, stride, [&](long j, auto mask) {
                        sums = sums + select(mask, shifted<T>(load(z + at + j), m), vec<T>{});
                    });
                const T to_hot = z[hot] - m < -largest_finite<T> ? -largest_finite<T> : z[hot] - m;
                linear[i] = smooth * sum_lanes(sums) + rest * to_hot;
                for_row<T>(k, stride, [&](long j, auto mask) {
                    store(d + at + j, select(mask, (load(a + at + j) - smooth) * w, vec<T>{}));
                });
                d[hot] = (a[hot] - (rest + smooth)) * w;
            } else {
                for_row<T>(k, stride, [&](long j, auto mask) {
                    const vec<T> y = rest * load(t + at + j) + smooth;
                    sums = sums + select(mask, y * shifted<T>(load(z + at + j), m), vec<T>{});
                    store(d + at + j, select(mask, (load(a + at + j) - y) * w, vec<T>{}));
                });
                linear[i] = sum_lanes(sums);
            }
        }
        alignas(vector_bytes) T logs[L];
        store(logs, log(load(largest_a)));
        for (long i = 0; i < rows; ++i) program.losses[tile.first + r0 + i] = double(-logs[i] - linear[i]);
    }
}

// One formula per loss: value and derivative of one element. Those that average over the k outputs
// have their factor 1/k applied by the caller.
template <class T>
struct Element {
    vec<T> value, derivative;
};

template <class T, class Formula>
void elementwise_loss(const Program& program, const Instruction& op, const Tile& tile, T factor, const T* z,
                      const T* a, const T* t, T* d, Formula formula) {
    constexpr long NR = 2 * lanes<T>;
    const long stride = program.capacity * NR;
    for (long r = 0; r < tile.rows; ++r, z += NR, a += NR, t += NR, d += NR) {
        const T w = T(program.row_weights ? program.row_weights[tile.first + r] : 1);
        vec<T> sums{};
        for_row<T>(op.outputs, stride, [&](long i, auto mask) {
            const Element<T> e = formula(load(z + i), load(a + i), load(t + i));
            sums = sums + select(mask, e.value, vec<T>{});
            store(d + i, select(mask, e.derivative * factor * w, vec<T>{}));
        });
        program.losses[tile.first + r] = double(sum_lanes(sums) * factor);
    }
}

template <class T>
DR_INLINE vec<T> sign(vec<T> x) {  // NaN stays NaN
    const vec<T> zero{}, one = broadcast(T(1));
    return select(x > zero, one, select(x < zero, -one, x));
}

// The outputs of this tile's examples, to where the caller wants them.
template <class T>
void store_outputs(const Program& program, const Instruction& op, const Tile& tile, const T* a) {
    constexpr long NR = 2 * lanes<T>;
    for (long r = 0; r < tile.rows; ++r) {
        const T* from = a + r * NR;
        T* to = static_cast<T*>(program.outputs) + source_row(program, tile.first + r) * op.outputs;
        for (long left = op.outputs; left > 0; left -= NR, from += program.capacity * NR, to += NR)
            __builtin_memcpy(to, from, sizeof(T) * size_t(left < NR ? left : NR));
    }
}

// in: a; in2: z; aux: t
template <class T>
void loss_forward(const Program& program, const Instruction& op, const Tile& tile) {
    using V = vec<T>;
    T* const base = static_cast<T*>(tile.base);
    const T *const a = base + op.in, *const z = base + op.in2;
    T *const t = base + op.aux, *const d = base + op.d_in;
    if (program.outputs != nullptr) store_outputs<T>(program, op, tile, a);
    if (program.targets.columns != 0) gather_table<T>(program, program.targets, tile, t);
    if (program.row_weights)
        for (long r = 0; r < tile.rows; ++r) {
            const int64_t row = source_row(program, tile.first + r);
            program.row_weights[tile.first + r] = static_cast<const double*>(program.weights.data)[row];
        }
    const T mean = T(1) / T(op.outputs), setting = T(op.loss_setting);
    const auto run = [&](T factor, auto formula) {
        elementwise_loss<T>(program, op, tile, factor, z, a, t, d, formula);
    };
    switch (op.loss) {
        case Loss::none: break;
        case Loss::cross_entropy: cross_entropy<T>(program, op, tile, z, a, t, d); break;
        case Loss::squared_error:
            run(T(1), [](V, V x, V y) { return Element<T>{T(0.5) * (x - y) * (x - y), x - y}; });
            break;
        case Loss::mean_squared_error:
            run(mean, [](V, V x, V y) { return Element<T>{(x - y) * (x - y), T(2) * (x - y)}; });
            break;
        case Loss::mean_absolute_error:
            run(mean, [](V, V x, V y) { return Element<T>{abs(x - y), sign<T>(x - y)}; });
            break;
        case Loss::huber:
            run(mean, [setting](V, V x, V y) {
                const V e = x - y, size = abs(e), limit = broadcast(setting);
                const V bounded = min(limit, max(-limit, e));
                return Element<T>{select(size > limit, setting * (size - T(0.5) * setting), T(0.5) * e * e),
                                  bounded};
            });
            break;
        case Loss::quantile:
            run(mean, [setting](V, V x, V y) {
                const V e = y - x;
                const V slope =
                    select(e > V{}, broadcast(-setting), select(e < V{}, broadcast(T(1) - setting), e));
                return Element<T>{-slope * e, slope};
            });
            break;
        case Loss::poisson:
            if (op.from_z)
                run(mean, [](V u, V x, V y) { return Element<T>{x - y * u, x - y}; });
            else
                run(mean, [](V, V x, V y) {
                    const V safe = max(broadcast(format<T>::least_normal), x);
                    return Element<T>{x - y * log(safe), T(1) - y / safe};
                });
            break;
        case Loss::binary_cross_entropy:
            run(T(1), [](V u, V x, V y) { return Element<T>{softplus(u) - y * u, x - y}; });
            break;
    }
}

}  // namespace deltarule::DR_TARGET
