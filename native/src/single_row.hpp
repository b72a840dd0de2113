// A batch of one row. dW[k, n] = x[k] d[n] needs no memory of its own, |dW|^2 = |x|^2 |d|^2 is known before
// any weight moves, and weight traffic is the limit: so the update waits for the next step, whose forward
// product reads the weights anyway, and both are one sweep.
#pragma once

#include "elementwise.hpp"
#include "gemm.hpp"
#include "norms.hpp"
#include "update.hpp"

namespace deltarule::DR_TARGET {

// Rows [k0, k1) of P panels: the update by x[k] d[n], and with `multiply` what the new weights add to z.
//   in      x, d   of the step whose update this is, d scaled; panels of one row lie side by side
//   in      next   this step's input, with `multiply`
//   in      at     of the first panel's row 0 in the packed parameters, panels `stride` apart
//   in/out  z      P panels: z[n] += sum_k next[k] w[k, n], k in order
template <class T, int P, bool multiply, class OneRule>
DR_INLINE void sweep(const Program& program, const OneRule& rule, long at, long stride, long k0, long k1,
                     const T* x, const T* d, const T* next, T* z) {
    constexpr long NR = panel_width<T>, L = lanes<T>;
    T* const w = static_cast<T*>(program.parameters) + at;
    const StatesAt<T, OneRule> states(program, at);
    vec<T> delta[P * 2], sum[P * 2];
    for (int v = 0; v < 2 * P; ++v) {
        delta[v] = load(d + v * L);
        if constexpr (multiply) sum[v] = load(z + v * L);
    }
    for (long k = k0; k < k1; ++k) {
        const vec<T> xk = broadcast(x[k]);
        vec<T> nk{};
        if constexpr (multiply) nk = broadcast(next[k]);
        for (int v = 0; v < 2 * P; ++v) {
            const long i = (v / 2) * stride + k * NR + v % 2 * L;
            const vec<T> wi = update_vector(rule, states, w, i, xk * delta[v]);
            if constexpr (multiply) sum[v] = fma(nk, wi, sum[v]);
        }
    }
    if constexpr (multiply)
        for (int v = 0; v < 2 * P; ++v) store(z + v * L, sum[v]);
}

// Panels [p0, p1), two at a time, rows [k0, k1).
//   in  base  the tile of the step whose update this is
template <class T, bool multiply>
void single_row_sweep(const Program& program, const PackedParameter& parameter, const double* scalars,
                      T scale, const T* base, long p0, long p1, long k0, long k1, const T* next, T* z) {
    constexpr long NR = panel_width<T>, L = lanes<T>;
    const long K = parameter.inputs, N = parameter.outputs;
    const double* const own = scalars + parameter.scalars;
    with_rule<T>(program.rule, own, parameter.factor, parameter.decays, [&](auto rule) {
        for (long p = p0; p < p1; p += 2) {
            alignas(vector_bytes) T d[2 * NR];
            for (long n = 0; n < 2 * NR; n += L) {
                const long left = N - p * NR - n;
                store(d + n, left <= 0 ? vec<T>{}
                                       : scale * load_partial(base + parameter.d + p * NR + n,
                                                              left < L ? int(left) : int(L)));
            }
            const long at = parameter.at + p * K * NR;
            T* const to = multiply ? z + p * NR : nullptr;
            if (p + 1 < p1)
                sweep<T, 2, multiply>(program, rule, at, K * NR, k0, k1, base + parameter.x, d, next, to);
            else
                sweep<T, 1, multiply>(program, rule, at, K * NR, k0, k1, base + parameter.x, d, next, to);
        }
    });
}

// |x[k0:k1]|^2 |d[panels]|^2
template <class T>
Squares single_row_squares(const Program& program, const PackedParameter& parameter, const Task& task) {
    constexpr long NR = panel_width<T>, L = lanes<T>;
    const T* const base = static_cast<const T*>(program.tiles[0].base);
    const auto squares = [&](const T* from, long begin, long end) {
        return squares_of<T>(end - begin, [&](long i) {
            const long left = end - begin - i;
            return load_partial(from + begin + i, left < L ? int(left) : int(L));
        });
    };
    const long k1 = task.q1 * NR < parameter.inputs ? task.q1 * NR : parameter.inputs;
    const long n1 = task.p1 * NR < parameter.outputs ? task.p1 * NR : parameter.outputs;
    const double scale = program.gradient_scale;
    const Squares x = squares(base + parameter.x, task.q0 * NR, k1);
    const Squares d = squares(base + parameter.d, task.p0 * NR, n1);
    if (x.unit == 1 && d.unit == 1) return {scale * scale * x.value * d.value, 1};
    const double norm = scale * x.norm() * d.norm(), unit = double(Units<T>::of(norm));
    return {norm / unit * (norm / unit), unit};
}

// The update at once, of a layer too small to wait.
template <class T>
void single_row_task(const Program& program, const PackedParameter& parameter, const Task& task,
                     TaskSums& sums) {
    constexpr long NR = panel_width<T>;
    const long k1 = task.q1 * NR < parameter.inputs ? task.q1 * NR : parameter.inputs;
    sums.squares.add(single_row_squares<T>(program, parameter, task));
    single_row_sweep<T, false>(program, parameter, program.scalars, T(program.gradient_scale),
                               static_cast<const T*>(program.tiles[0].base), task.p0, task.p1, task.q0 * NR,
                               k1, nullptr, nullptr);
}

// The update of the step before, and this step's forward product: panels [p0, p1).
template <class T>
void update_and_multiply(const Program& program, const Instruction& op, long p0, long p1) {
    constexpr long NR = panel_width<T>, L = lanes<T>;
    const PackedParameter& parameter = program.layout[op.parameter];
    T* const base = static_cast<T*>(program.tiles[0].base);
    const T* const bias = static_cast<const T*>(program.parameters) + op.bias;
    T *const z = base + op.pre, *const a = base + op.out;
    for (long n = p0 * NR; n < p1 * NR; n += L) store(z + n, load(bias + n));
    single_row_sweep<T, true>(program, parameter, program.previous_scalars, T(program.previous_scale),
                              static_cast<const T*>(program.previous), p0, p1, 0, op.inputs, base + op.in, z);
    if (op.activation != Activation::identity && !acts_on_rows(op.activation))
        for (long p = p0; p < p1; ++p)
            activate(op.activation, op.setting, 1, vectors_in_use<T>(op.outputs, p), z + p * NR, a + p * NR);
}

// A deferred update for which no next step comes.
template <class T>
void flush_update(const Program& program, const Instruction& op, long item) {
    const long p0 = item * op.panel_group, all = panels<T>(op.outputs);
    single_row_sweep<T, false>(program, program.layout[op.parameter], program.previous_scalars,
                               T(program.previous_scale), static_cast<const T*>(program.previous), p0,
                               p0 + op.panel_group < all ? p0 + op.panel_group : all, 0, op.inputs, nullptr,
                               nullptr);
}

}  // namespace deltarule::DR_TARGET
