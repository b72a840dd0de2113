// Layer normalisation (over the columns of a row) and batch normalisation (over the rows of a column).
//
//     x_hat = (x - mean) * rstd,  rstd = 1 / sqrt(var + epsilon),  y = scale * x_hat + shift
//     dx = rstd * (g - mean(g) - x_hat * mean(g * x_hat)),  g = dL/dy * scale
//
// x_hat is kept (place `aux`): the gradient of scale is the sum of dL/dy * x_hat.
#pragma once

#include "elementwise.hpp"
#include "extents.hpp"
#include "sums.hpp"

namespace deltarule::DR_TARGET {

// Row i's vector at tile offset p * stride + r * NR + v * L belongs to columns p * NR + v * L ...
template <class T>
DR_INLINE long column_of(long offset, long stride) {
    return offset / stride * 2 * lanes<T> + offset % (2 * lanes<T>);
}

template <class T>
void layer_norm_forward(const Program& program, const Instruction& op, const Tile& tile) {
    constexpr long NR = 2 * lanes<T>;
    const long stride = program.capacity * NR, columns = op.outputs;
    T* const base = static_cast<T*>(tile.base);
    const T* const parameters = static_cast<const T*>(program.parameters);
    const T *const scale = parameters + op.weight, *const shift = parameters + op.bias;
    for (long r = 0; r < tile.rows; ++r) {
        const T* const x = base + op.in + r * NR;
        T *const x_hat = base + op.aux + r * NR, *const y = base + op.out + r * NR;
        vec<T> sums{};
        for_row<T>(columns, stride,
                   [&](long i, auto mask) { sums = sums + select(mask, load(x + i), vec<T>{}); });
        const T mean = sum_lanes(sums) / T(columns);
        vec<T> squares{};
        for_row<T>(columns, stride, [&](long i, auto mask) {
            const vec<T> e = select(mask, load(x + i) - mean, vec<T>{});
            squares = fma(e, e, squares);
        });
        const T var = sum_lanes(squares) / T(columns);
        const T rstd = T(1) / sqrt(broadcast(T(var + T(op.epsilon))))[0];
        base[op.row_aux + r] = rstd;
        for_row<T>(columns, stride, [&](long i, auto mask) {
            const vec<T> h = select(mask, (load(x + i) - mean) * rstd, vec<T>{});
            const long n = column_of<T>(i, stride);
            store(x_hat + i, h);
            store(y + i, fma(load(scale + n), h, load(shift + n)));
        });
    }
}

template <class T>
void layer_norm_backward(const Program& program, const Instruction& op, const Tile& tile) {
    constexpr long NR = 2 * lanes<T>;
    const long stride = program.capacity * NR, columns = op.outputs;
    T* const base = static_cast<T*>(tile.base);
    const T* const scale = static_cast<const T*>(program.parameters) + op.weight;
    for (long r = 0; r < tile.rows; ++r) {
        const T *const x_hat = base + op.aux + r * NR, *const d_out = base + op.d_out + r * NR;
        T* const d_in = base + op.d_in + r * NR;
        vec<T> sums{}, dots{};
        for_row<T>(columns, stride, [&](long i, auto mask) {
            const vec<T> g = select(mask, load(d_out + i) * load(scale + column_of<T>(i, stride)), vec<T>{});
            sums = sums + g;
            dots = fma(g, load(x_hat + i), dots);
        });
        const T rstd = base[op.row_aux + r];
        const T mean = sum_lanes(sums) / T(columns), dot = sum_lanes(dots) / T(columns);
        for_row<T>(columns, stride, [&](long i, auto mask) {
            const vec<T> g = load(d_out + i) * load(scale + column_of<T>(i, stride));
            const vec<T> d = select(mask, rstd * (g - mean - load(x_hat + i) * dot), vec<T>{});
            store(d_in + i, op.add_d_in ? load(d_in + i) + d : d);
        });
    }
}

// ------------------------------------------------------------------------------ batch normalisation

// Mean and 1/deviation of the columns of panel p over the whole batch.
template <class T>
void batch_norm_statistics(const Program& program, const Instruction& op, long p) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    T* const statistics = static_cast<T*>(program.statistics);
    const T n = T(program.batch);
    for (long v = 0; v < vectors_in_use<T>(op.outputs, p); ++v) {
        RunningSum<T> sum, squares;
        down_column<T>(program, p, v, [&](const T* x) { sum.add(load(x + op.in)); });
        const vec<T> mean = sum.value() / n;
        down_column<T>(program, p, v, [&](const T* x) {
            const vec<T> e = load(x + op.in) - mean;
            squares.add(e * e);
        });
        const vec<T> var = squares.value() / n;
        const long at = p * NR + v * L;
        store(statistics + op.mean + at, mean);
        store(statistics + op.variance + at, var);
        store(statistics + op.rstd + at, T(1) / sqrt(var + T(op.epsilon)));
    }
}

template <class T>
int batch_norm_endless(const Program& program, const Instruction& op) {
    const T* const statistics = static_cast<const T*>(program.statistics);
    const T unbiased = T(program.batch > 1 ? double(program.batch) / double(program.batch - 1) : 1);
    vec<T> mean{}, variance{};
    for (long i = 0; i < op.outputs; i += lanes<T>) {
        const int count = op.outputs - i < lanes<T> ? int(op.outputs - i) : int(lanes<T>);
        mean = largest_of(mean, load_partial(statistics + op.mean + i, count));
        variance = largest_of(variance, load_partial(statistics + op.variance + i, count) * unbiased);
    }
    if (!(largest_lane<T>(mean) < __builtin_inf())) return 1;
    return largest_lane<T>(variance) < __builtin_inf() ? 0 : 2;
}

// Running statistics move once per step, in the parameters phase:
//     running = (1 - momentum) * running + momentum * batch, the variance unbiased
template <class T>
void batch_norm_move(const Program& program, const Instruction& op) {
    const T* const statistics = static_cast<const T*>(program.statistics);
    T* const running = static_cast<T*>(program.running);
    const T keep = T(1 - op.momentum), take = T(op.momentum);
    const double n = double(program.batch);
    const T unbiased = T(n > 1 ? n / (n - 1) : 1);
    for (long i = 0; i < op.outputs; ++i) {
        T& mean = running[op.running_mean + i];
        T& var = running[op.running_var + i];
        mean = keep * mean + take * statistics[op.mean + i];
        var = keep * var + take * (statistics[op.variance + i] * unbiased);
    }
}

template <class T>
void batch_norm_forward(const Program& program, const Instruction& op, const Tile& tile) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    const long stride = program.capacity * NR;
    T* const base = static_cast<T*>(tile.base);
    const T* const parameters = static_cast<const T*>(program.parameters);
    const T* const statistics = static_cast<const T*>(program.statistics);
    for (long p = 0; p < panels<T>(op.outputs); ++p)
        for (long v = 0; v < vectors_in_use<T>(op.outputs, p); ++v) {
            const long at = p * NR + v * L;
            const vec<T> mean = load(statistics + op.mean + at), rstd = load(statistics + op.rstd + at);
            const vec<T> scale = load(parameters + op.weight + at), shift = load(parameters + op.bias + at);
            const long offset = p * stride + v * L;
            for (long r = 0; r < tile.rows; ++r) {
                const long i = offset + r * NR;
                const vec<T> h = (load(base + op.in + i) - mean) * rstd;
                store(base + op.aux + i, h);
                store(base + op.out + i, fma(scale, h, shift));
            }
        }
}

// Sums of d and d * x_hat of the columns of panel p: what dx needs, and the gradients of shift and scale.
template <class T>
void batch_norm_sums(const Program& program, const Instruction& op, long p) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    T* const statistics = static_cast<T*>(program.statistics);
    for (long v = 0; v < vectors_in_use<T>(op.outputs, p); ++v) {
        RunningSum<T> sum, dot;
        down_column<T>(program, p, v, [&](const T* x) {
            const vec<T> d = load(x + op.d_out);
            sum.add(d);
            dot.add(d * load(x + op.aux));
        });
        store(statistics + op.sum_d + p * NR + v * L, sum.value());
        store(statistics + op.sum_dx + p * NR + v * L, dot.value());
    }
}

template <class T>
void batch_norm_backward(const Program& program, const Instruction& op, const Tile& tile) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    const long stride = program.capacity * NR;
    T* const base = static_cast<T*>(tile.base);
    const T* const scales = static_cast<const T*>(program.parameters) + op.weight;
    const T* const statistics = static_cast<const T*>(program.statistics);
    const T n = T(program.batch);
    for (long p = 0; p < panels<T>(op.outputs); ++p)
        for (long v = 0; v < vectors_in_use<T>(op.outputs, p); ++v) {
            const long at = p * NR + v * L, offset = p * stride + v * L;
            const vec<T> slope = load(scales + at) * load(statistics + op.rstd + at);
            // Running statistics are constants: then dx = slope * d.
            const vec<T> mean = op.use_running ? vec<T>{} : load(statistics + op.sum_d + at) / n;
            const vec<T> dot = op.use_running ? vec<T>{} : load(statistics + op.sum_dx + at) / n;
            for (long r = 0; r < tile.rows; ++r) {
                const long i = offset + r * NR;
                const vec<T> d = slope * (load(base + op.d_out + i) - mean - load(base + op.aux + i) * dot);
                store(base + op.d_in + i, op.add_d_in ? load(base + op.d_in + i) + d : d);
            }
        }
}

// Frozen layers and prediction: mean and 1/deviation from the running statistics, once per call.
template <class T>
void batch_norm_from_running(const Program& program, const Instruction& op) {
    T* const statistics = static_cast<T*>(program.statistics);
    const T* const running = static_cast<const T*>(program.running);
    for (long i = 0; i < op.outputs; ++i) {
        statistics[op.mean + i] = running[op.running_mean + i];
        statistics[op.rstd + i] = T(1) / sqrt(broadcast(T(running[op.running_var + i] + T(op.epsilon))))[0];
    }
}

}  // namespace deltarule::DR_TARGET
