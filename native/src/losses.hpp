// The losses: value of each example and delta of the output, from one place.
//
// a: output (n, k); z: its preactivation; t: target. A loss with its canonical activation gives delta = dl/dz
// (`from_z`); any other pair gives dl/da, and the activation's own backward follows. Deltas carry the example's
// weight; 1 / sum of weights enters where the gradient is consumed.
//
// A loss that is a sum over its outputs is a small struct over the lane type T with
//
//   V value(V a, V t)                          the loss of one output
//   V derivative(V a, V t)                     dl/da
//   V canonical_value(V z, V a, V t)           the same with the canonical activation,
//   V canonical_delta(V z, V a, V t)           and dl/dz; where they differ from value and derivative
//
// and V = vec<T>. A setting is its one member. The mean over the k outputs is the list's (kinds.hpp).
#pragma once

#include "activations.hpp"
#include "elementwise.hpp"
#include "gather.hpp"
#include "softmax.hpp"

namespace deltarule::DR_TARGET {

// l = 1/2 (a - t)^2
template <class T>
struct SquaredError {
    using V = vec<T>;
    DR_INLINE V value(V a, V t) const { return T(0.5) * (a - t) * (a - t); }
    DR_INLINE V derivative(V a, V t) const { return a - t; }
};

// l = (a - t)^2
template <class T>
struct MeanSquaredError {
    using V = vec<T>;
    DR_INLINE V value(V a, V t) const { return (a - t) * (a - t); }
    DR_INLINE V derivative(V a, V t) const { return T(2) * (a - t); }
};

// l = |a - t|
template <class T>
struct MeanAbsoluteError {
    using V = vec<T>;
    DR_INLINE V value(V a, V t) const { return abs(a - t); }
    DR_INLINE V derivative(V a, V t) const { return sign<T>(a - t); }
};

// r = a - t;  l = r^2 / 2 where |r| <= threshold, else threshold (|r| - threshold / 2)
template <class T>
struct Huber {
    using V = vec<T>;
    T threshold;
    DR_INLINE V value(V a, V t) const {
        const V r = a - t, size = abs(r);
        return select(size > threshold, threshold * (size - T(0.5) * threshold), T(0.5) * r * r);
    }
    DR_INLINE V derivative(V a, V t) const {
        const V limit = broadcast(threshold);
        return min(limit, max(-limit, a - t));
    }
};

// r = t - a;  l = q r where r > 0, (q - 1) r where r < 0
template <class T>
struct Quantile {
    using V = vec<T>;
    T q;
    DR_INLINE V value(V a, V t) const { return -derivative(a, t) * (t - a); }
    DR_INLINE V derivative(V a, V t) const {
        const V r = t - a;
        return select(r > V{}, broadcast(-q), select(r < V{}, broadcast(T(1) - q), r));
    }
};

// l = a - t log a;  with a = e^z: l = a - t z
template <class T>
struct Poisson {
    using V = vec<T>;
    DR_INLINE V above_zero(V a) const { return max(broadcast(format<T>::least_normal), a); }
    DR_INLINE V value(V a, V t) const { return a - t * log(above_zero(a)); }
    DR_INLINE V derivative(V a, V t) const { return T(1) - t / above_zero(a); }
    DR_INLINE V canonical_value(V z, V a, V t) const { return a - t * z; }
    DR_INLINE V canonical_delta(V, V a, V t) const { return a - t; }
};

// l = -t log a - (1 - t) log(1 - a)  with a = sigma(z), its only activation. Each term keeps its small part:
//     l     = |z| (1 - t) + log(1 + e^-|z|) where z > 0, |z| t + log(1 + e^-|z|) elsewhere
//     delta = a - t, and (1 - t) - sigma(-z) where both a and t are above 1/2; sigma(-z) = a e^-z
template <class T>
struct BinaryCrossEntropy {
    using V = vec<T>;
    DR_INLINE V canonical_value(V z, V, V t) const {
        const V size = abs(z);
        return size * select(z > V{}, T(1) - t, t) + log1p_finite(exp(-size));
    }
    DR_INLINE V canonical_delta(V z, V a, V t) const {
        const V half = broadcast(T(0.5));
        const auto near_one = (a > half) & (t > half);
        return select(near_one, (T(1) - t) - a * exp(-abs(z)), a - t);
    }
};

// value(z, a, t) and delta(z, a, t) of a loss, for the pair in hand.
template <class Formula, bool from_z, class V>
DR_INLINE V value_of(const Formula& loss, V z, V a, V t) {
    if constexpr (from_z && requires { loss.canonical_value(z, a, t); })
        return loss.canonical_value(z, a, t);
    else
        return loss.value(a, t);
}
template <class Formula, bool from_z, class V>
DR_INLINE V delta_of(const Formula& loss, V z, V a, V t) {
    if constexpr (from_z && requires { loss.canonical_delta(z, a, t); })
        return loss.canonical_delta(z, a, t);
    else
        return loss.derivative(a, t);
}

// The user's weights of a row of the batch: one, or one for each output.
DR_INLINE const double* weights_of(const Program& program, long row) {
    return static_cast<const double*>(program.weights.data) +
           source_row(program, row) * program.weights.stride;
}

// What each row of a tile weighs: its weight, or the mean of those of its outputs.
DR_INLINE void gather_row_weights(const Program& program, const Tile& tile) {
    const long k = program.weights.columns;
    for (long r = 0; r < tile.rows; ++r) {
        const double* const w = weights_of(program, tile.first + r);
        double sum = k == 0 ? w[0] : 0;
        for (long j = 0; j < k; ++j) sum += w[j];
        program.row_weights[tile.first + r] = k == 0 ? sum : sum / double(k);
    }
}

// A row of weight 0 changes nothing, even if its loss is not finite.
template <class T>
void clear_weightless_rows(const Program& program, const Instruction& op, const Tile& tile, T* d) {
    constexpr long NR = 2 * lanes<T>;
    for (long r = 0; r < tile.rows; ++r) {
        if (program.row_weights[tile.first + r] != 0) continue;
        program.losses[tile.first + r] = 0;
        for_row<T>(op.outputs, program.capacity * NR, [&](long i, auto) { store(d + r * NR + i, vec<T>{}); });
    }
}

// The rows of a tile.
//   in   z, a, t
//   out  d         delta; the rows' losses go to Program::losses
template <bool from_z, class T, class Formula>
void loss_of_elements(const Program& program, const Instruction& op, const Tile& tile, Formula loss, T factor,
                      const T* z, const T* a, const T* t, T* d) {
    constexpr long NR = 2 * lanes<T>;
    const long stride = program.capacity * NR;
    for (long r = 0; r < tile.rows; ++r, z += NR, a += NR, t += NR, d += NR) {
        const T w = T(program.row_weights ? program.row_weights[tile.first + r] : 1);
        vec<T> sums{};
        for_row<T>(op.outputs, stride, [&](long i, auto mask) {
            const vec<T> zi = load(z + i), ai = load(a + i), ti = load(t + i);
            sums = sums + select(mask, value_of<Formula, from_z>(loss, zi, ai, ti), vec<T>{});
            store(d + i, select(mask, delta_of<Formula, from_z>(loss, zi, ai, ti) * factor * w, vec<T>{}));
        });
        program.losses[tile.first + r] = double(sum_lanes(sums) * factor);
    }
}

// The same where every output of a row has a weight of its own: the rows' losses are sum_j w_j l_j. What weighs nothing
// gives exactly 0, whatever its target.
template <bool from_z, class T, class Formula>
void loss_of_weighted_elements(const Program& program, const Instruction& op, const Tile& tile, Formula loss,
                               T factor, const T* z, const T* a, const T* t, T* d) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    const long stride = program.capacity * NR;
    const vec<T> zero{};
    for (long r = 0; r < tile.rows; ++r, z += NR, a += NR, t += NR, d += NR) {
        const double* w = weights_of(program, tile.first + r);
        long left = op.outputs;
        vec<T> sums{};
        for_row<T>(op.outputs, stride, [&](long i, auto) {
            alignas(vector_bytes) T weights[L];
            for (long j = 0; j < L; ++j) weights[j] = j < left ? T(w[j]) : T(0);
            w += L;
            left -= L;
            const vec<T> zi = load(z + i), ai = load(a + i), ti = load(t + i), wi = load(weights);
            const auto nothing = wi == zero;
            sums = sums + select(nothing, zero, wi * value_of<Formula, from_z>(loss, zi, ai, ti));
            store(d + i, select(nothing, zero, delta_of<Formula, from_z>(loss, zi, ai, ti) * factor * wi));
        });
        program.losses[tile.first + r] = double(sum_lanes(sums) * factor);
    }
}

// Sum of a row's elements but one that is the largest.
template <class T>
DR_INLINE T sum_of_others(const T* a, long columns, long stride, T largest) {
    const vec<T> most = broadcast(largest);
    vec<T> sums{}, ties{};
    for_row<T>(columns, stride, [&](long i, auto mask) {
        const vec<T> ai = select(mask, load(a + i), vec<T>{});
        const auto tie = ai == most;
        sums = sums + select(tie, vec<T>{}, ai);
        ties = ties + select(tie, broadcast(T(1)), vec<T>{});
    });
    return sum_lanes(sums) + (sum_lanes(ties) - T(1)) * largest;
}

// What the cross-entropy asks of a row: max_k z_k, a_c = max_k a_k, and sum_{k != c} a_k.
//   out  m, largest, others  of up to L rows
template <class T>
DR_INLINE void look_at_rows(long rows, long columns, long stride, const T* z, const T* a, T* m, T* largest,
                            T* others) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    if (!by_columns<T>(rows, columns)) {
        for (long i = 0; i < rows; ++i) {
            m[i] = row_max(z + i * NR, columns, stride);
            largest[i] = row_max(a + i * NR, columns, stride);
            others[i] = sum_of_others(a + i * NR, columns, stride, largest[i]);
        }
        return;
    }
    vec<T> c[L];
    load_columns(rows, z, c);
    store(m, max_columns<T>(c, columns));
    load_columns(rows, a, c);
    const vec<T> most = max_columns<T>(c, columns);
    vec<T> ties{};
    for (long j = 0; j < L; ++j) {
        const vec<T> aj = j < columns ? c[j] : vec<T>{};
        const auto tie = aj == most;
        c[j] = select(tie, vec<T>{}, aj);
        ties = ties + select(tie, broadcast(T(1)), vec<T>{});
    }
    store(largest, most);
    store(others, sum_columns<T>(c) + (ties - T(1)) * most);
}

// Cross-entropy behind softmax, for L rows at a time, with m = z_c the largest:
//     l = log sum_k e^{z_k - m} - sum_k t_k (z_k - m),  log sum_k e^{z_k - m} = log(1 + sum_{k != c} a_k / a_c)
//     delta = a - t, and (1 - t_c) - sum_{k != c} a_k where both a_c and t_c are above 1/2
// so that what is small is a sum of small terms, never a difference of large ones.
template <class T>
void cross_entropy(const Program& program, const Instruction& op, const Tile& tile, const T* z, const T* a,
                   const T* t, T* d) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    const long k = op.outputs, stride = program.capacity * NR;
    const bool labels = program.targets.columns == 0;
    const T smooth = T(op.loss_setting / double(k)), rest = T(1 - op.loss_setting);
    const T hot_target = rest + smooth;
    for (long r0 = 0; r0 < tile.rows; r0 += L) {
        alignas(vector_bytes) T odds[L]{}, linear[L], ms[L], most[L], rests[L];
        const long rows = tile.rows - r0 < L ? tile.rows - r0 : L;
        look_at_rows(rows, k, stride, z + r0 * NR, a + r0 * NR, ms, most, rests);
        for (long i = 0; i < rows; ++i) {
            const long r = r0 + i, at = r * NR;
            const T w = T(program.row_weights ? program.row_weights[tile.first + r] : 1);
            const T m = ms[i], others = rests[i];
            odds[i] = others / most[i];
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
                const bool near_one = a[hot] > T(0.5) && hot_target > T(0.5);
                d[hot] = (near_one ? (T(1) - hot_target) - others : a[hot] - hot_target) * w;
            } else {
                const vec<T> half = broadcast(T(0.5));
                for_row<T>(k, stride, [&](long j, auto mask) {
                    const vec<T> aj = load(a + at + j), y = rest * load(t + at + j) + smooth;
                    sums = sums + select(mask, y * shifted<T>(load(z + at + j), m), vec<T>{});
                    const vec<T> delta = select((aj > half) & (y > half), (T(1) - y) - others, aj - y);
                    store(d + at + j, select(mask, delta * w, vec<T>{}));
                });
                linear[i] = sum_lanes(sums);
            }
        }
        alignas(vector_bytes) T logs[L];
        store(logs, log1p_finite(load(odds)));
        for (long i = 0; i < rows; ++i) program.losses[tile.first + r0 + i] = double(logs[i] - linear[i]);
    }
}

// The outputs of this tile's examples, to where the caller wants them.
template <class T>
void store_outputs(const Program& program, const Instruction& op, const Tile& tile, const T* a) {
    constexpr long NR = 2 * lanes<T>;
    for (long r = 0; r < tile.rows; ++r) {
        const T* from = a + r * NR;
        const int64_t row = program.outputs_by_row ? source_row(program, tile.first + r)
                                                   : program.outputs_first + tile.first + r;
        T* to = static_cast<T*>(program.outputs) + row * op.outputs;
        for (long left = op.outputs; left > 0; left -= NR, from += program.capacity * NR, to += NR)
            __builtin_memcpy(to, from, sizeof(T) * size_t(left < NR ? left : NR));
    }
}

enum class Over { sum, mean };  // a row's loss, over its outputs

// in: a; in2: z; aux: t
template <class T>
void loss_forward(const Program& program, const Instruction& op, const Tile& tile) {
    T* const base = static_cast<T*>(tile.base);
    const T *const a = base + op.in, *const z = base + op.in2;
    T *const t = base + op.aux, *const d = base + op.d_in;
    if (program.outputs != nullptr) store_outputs<T>(program, op, tile, a);
    if (program.targets.columns != 0) gather_table<T>(program, program.targets, tile, t);
    if (program.row_weights) gather_row_weights(program, tile);
    const bool by_output = program.weights.columns > 0;
    const auto run = [&](auto loss, Over over) {
        const T factor = over == Over::mean ? T(1) / T(op.outputs) : T(1);
        const auto with = [&]<bool from_z>() {
            if (by_output)
                loss_of_weighted_elements<from_z>(program, op, tile, loss, factor, z, a, t, d);
            else
                loss_of_elements<from_z>(program, op, tile, loss, factor, z, a, t, d);
        };
        if (op.from_z)
            with.template operator()<true>();
        else if constexpr (requires { loss.value(vec<T>{}, vec<T>{}); })
            with.template operator()<false>();
    };
    switch (op.loss) {
#define DR_OF_ELEMENT(name, formula, setting, over, ...) \
    case Loss::name: run(with_setting<formula<T>>(T(op.loss_setting)), Over::over); break;
#define DR_OF_ROW(name, ...) \
    case Loss::name: name<T>(program, op, tile, z, a, t, d); break;
        DR_LOSSES(DR_OF_ELEMENT, DR_OF_ROW)
#undef DR_OF_ELEMENT
#undef DR_OF_ROW
    }
    if (program.row_weights) clear_weightless_rows(program, op, tile, d);
}

}  // namespace deltarule::DR_TARGET
