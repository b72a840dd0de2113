// The parameters phase: a tile of parameters has its gradient computed and, while that is in cache,
// consumed: penalty, clipping, optimizer, transposed copy.
#pragma once

#include "dense_bfloat16.hpp"
#include "elementwise.hpp"
#include "extents.hpp"
#include "gemm.hpp"
#include "lookup.hpp"
#include "norms.hpp"
#include "single_row.hpp"
#include "sums.hpp"
#include "transpose.hpp"
#include "update.hpp"

namespace deltarule::DR_TARGET {

// The part of a block that a gradient comes in: `rows` rows of NR; columns past `columns` are padding.
template <class T>
struct Block {
    long at;       // in the packed parameters
    int rows;      // rows of NR
    long columns;  // valid columns
};

// Penalty added, sums taken, then stored or handed to the optimizer.
//   in/out  g   the block's gradient: the sum over rows, not yet scaled
template <class T>
void consume_block(const Program& program, const PackedParameter& parameter, Consume consume,
                   const Block<T>& block, T* g, TaskSums& sums) {
    constexpr long NR = panel_width<T>, L = lanes<T>;
    const long count = block.rows == 1 && block.columns <= L ? L : block.rows * NR;
    T* const w = static_cast<T*>(program.parameters) + block.at;
    T* const whole = static_cast<T*>(program.gradient) + (program.gradient ? block.at : 0);
    if (consume == Consume::accumulate) {
        for (long i = 0; i < count; i += L) store(whole + i, load(g + i));
        return;
    }
    // Lanes past the last column must not enter a sum, nor become anything but zero.
    const auto valid = [&](long i) {
        const long left = block.columns - i % NR;
        return first_lanes<T>(left >= L ? int(L) : left > 0 ? int(left) : 0);
    };
    const bool whole_panel = block.columns >= NR;
    const double share = parameter.over_batch ? program.batch_share : 1;
    const double strength1 = parameter.l1 * share, strength2 = parameter.l2 * share;
    const T scale = T(program.gradient_scale), l1 = T(strength1), l2 = T(strength2);
    vec<T> squares[2] = {}, absolute{}, square{}, largest{};
    const bool penalised = parameter.l1 != 0 || parameter.l2 != 0;
    if (penalised) {
        for (long i = 0; i < count; i += L) {
            const vec<T> x = load(w + i);
            store(g + i, scale * load(g + i) + (l1 * sign<T>(x) + l2 * x));
            absolute = absolute + abs(x);
            square = fma(x, x, square);
        }
        const Squares w2 = checked_squares<T>(sum_lanes(square), count, [&](long i) { return load(w + i); });
        sums.penalty += strength1 * double(sum_lanes(absolute)) + 0.5 * strength2 * w2.total();
    }
    const T factor = penalised ? T(1) : scale;
    const auto gradient = [&](long i) { return factor * load(g + i); };
    if (!whole_panel)
        for (long i = 0; i < count; i += L) store(g + i, select(valid(i), load(g + i), vec<T>{}));
    if (consume == Consume::keep || parameter.factor == 0) {
        for (long i = 0; i < count; i += L) {
            const vec<T> x = factor * load(g + i);
            squares[0] = fma(x, x, squares[0]);
            if (consume == Consume::keep) store(whole + i, x);
        }
        sums.squares.add(checked_squares<T>(sum_lanes(squares[0]), count, gradient));
        return;
    }
    const T limit = program.clip_value > 0 ? T(program.clip_value) : T(__builtin_inf());
    const double* const scalars = program.scalars + parameter.scalars;
    with_rule<T>(program.rule, scalars, parameter.factor, parameter.decays, [&](auto rule) {
        const StatesAt<T, decltype(rule)> states(program, block.at);
        for (long i = 0; i < count; i += L) {
            const vec<T> x = factor * load(g + i);
            squares[i / L % 2] = fma(x, x, squares[i / L % 2]);
            update_vector(rule, states, w, i, min(broadcast(limit), max(broadcast(-limit), x)));
        }
    });
    if (!whole_panel)
        for (long i = 0; i < count; i += L) store(w + i, select(valid(i), load(w + i), vec<T>{}));
    if (penalised) {
        for (long i = 0; i < count; i += L) largest = largest_of(largest, load(w + i));
        sums.largest = larger(sums.largest, largest_lane<T>(largest));
    }
    sums.squares.add(checked_squares<T>(sum_lanes(squares[0] + squares[1]), count, gradient));
}

// Fetches what the update of a block will read, while its gradient is computed.
template <class T>
DR_INLINE void prefetch_block(const Program& program, long at, long count) {
    const auto fetch = [&](const void* array) {
        if (array == nullptr) return;
        const char* const from = reinterpret_cast<const char*>(static_cast<const T*>(array) + at);
        for (long b = 0; b < count * long(sizeof(T)); b += 64) __builtin_prefetch(from + b, 1);
    };
    fetch(program.parameters);
    for (const void* state : program.states) fetch(state);
}

// The copies of the weights that products read, of row block q in panel p.
//   in   packed  all parameters
//   out  copies
template <class T>
void copy_block(const PackedParameter& parameter, long p, long q, const void* packed, void* copies) {
    constexpr long NR = panel_width<T>;
    const long K = parameter.inputs, N = parameter.outputs;
    const int rows = int(K - q * NR < NR ? K - q * NR : NR);
    const T* const w = static_cast<const T*>(packed) + parameter.at + p * K * NR + q * NR * NR;
    if (parameter.rounded >= 0) {
        uint32_t* const words = static_cast<uint32_t*>(copies);
        pair_weights(rows, N - p * NR, reinterpret_cast<const float*>(w),
                     words + parameter.rounded + p * ((K + 1) / 2) * NR + q * NR / 2 * NR,
                     parameter.transposed < 0
                         ? nullptr
                         : words + parameter.transposed + q * ((N + 1) / 2) * NR + p * NR / 2 * NR);
    } else if (parameter.transposed >= 0) {
        transpose_block<T>(rows, N - p * NR, w,
                           static_cast<T*>(copies) + parameter.transposed + q * N * NR + p * NR * NR);
    }
}

inline constexpr int task_panels = 4;       // panels of a task's width at most
inline constexpr long gradient_rows = 128;  // rows at a time: a panel of x and one of d stay in L1

// One row block of the gradient, of bfloat16 x and d, over the rows of a tile.
//   in/out  g  (NR, NR) for each panel of the task
inline void words_gradient(const Program& program, const PackedParameter& parameter, const Task& task, long q,
                           int rows, const Tile& tile, float* g) {
    constexpr long NR = panel_width<float>;
    const long stride = program.capacity / 2 * NR, pairs = (tile.rows + 1) / 2;
    const uint32_t* const words = static_cast<const uint32_t*>(tile.base);
    for (long r = 0; r < pairs; r += gradient_rows) {
        const long count = pairs - r < gradient_rows ? pairs - r : gradient_rows;
        const uint32_t* const x = words + parameter.x_by_rows + q * stride + r * NR;
        for (long p = task.p0; p < task.p1; ++p) {
            const uint32_t* const d = words + parameter.d_by_rows + p * stride + r * NR;
            float* const to = g + (p - task.p0) * NR * NR;
            with_pairs(program, [&](auto terms) {
                if (vectors_in_use<float>(parameter.outputs, p) == 2)
                    gradient_block<float, 2, decltype(terms)>(count, rows, x, d, to);
                else
                    gradient_block<float, 1, decltype(terms)>(count, rows, x, d, to);
            });
        }
    }
}

// dW[k, n] = sum_r x[r, k] d[r, n]
template <class T>
void product_task(const Program& program, const PackedParameter& parameter, const Task& task, Consume consume,
                  TaskSums& sums) {
    constexpr long NR = panel_width<T>;
    const long K = parameter.inputs, N = parameter.outputs, stride = program.capacity * NR;
    if (parameter.deferred) {
        sums.squares.add(single_row_squares<T>(program, parameter, task));
        return;
    }
    if (parameter.single_row && consume == Consume::update) {
        single_row_task<T>(program, parameter, task, sums);
        return;
    }
    alignas(vector_bytes) T g[task_panels * NR * NR];
    for (long q = task.q0; q < task.q1; ++q) {
        const int rows = int(K - q * NR < NR ? K - q * NR : NR);
        const auto at = [&](long p) { return parameter.at + p * K * NR + q * NR * NR; };
        for (long p = task.p0; p < task.p1; ++p) {
            T* const to = g + (p - task.p0) * NR * NR;
            if (program.gradient_started)
                __builtin_memcpy(to, static_cast<T*>(program.gradient) + at(p),
                                 sizeof(T) * size_t(rows * NR));
            else
                __builtin_memset(to, 0, sizeof(T) * size_t(rows * NR));
        }
        if (consume == Consume::update)
            for (long p = task.p0; p < task.p1; ++p) prefetch_block<T>(program, at(p), rows * NR);
        for (int i = 0; i < program.tile_count; ++i) {
            const Tile& tile = program.tiles[i];
            const T* const base = static_cast<const T*>(tile.base);
            if (parameter.rounded >= 0) {
                words_gradient(program, parameter, task, q, rows, tile, reinterpret_cast<float*>(g));
                continue;
            }
            for (long r = 0; r < tile.rows; r += gradient_rows) {
                const long count = tile.rows - r < gradient_rows ? tile.rows - r : gradient_rows;
                const T* const x = base + parameter.x + q * stride + r * NR;
                for (long p = task.p0; p < task.p1; ++p) {
                    const T* const d = base + parameter.d + p * stride + r * NR;
                    T* const to = g + (p - task.p0) * NR * NR;
                    if (vectors_in_use<T>(N, p) == 2)
                        gradient_block<T, 2>(count, rows, x, d, to);
                    else
                        gradient_block<T, 1>(count, rows, x, d, to);
                }
            }
        }
        for (long p = task.p0; p < task.p1; ++p) {
            T* const block = g + (p - task.p0) * NR * NR;
            consume_block<T>(program, parameter, consume, {at(p), rows, N - p * NR}, block, sums);
            if (consume == Consume::update && parameter.factor != 0)
                copy_block<T>(parameter, p, q, program.parameters, program.transposed);
        }
    }
}

// db[n] = sum_r d[r, n];  ds[n] = sum_r x[r, n] d[r, n]
template <class T>
void column_task(const Program& program, const PackedParameter& parameter, const Task& task, Consume consume,
                 TaskSums& sums) {
    constexpr long NR = panel_width<T>, L = lanes<T>;
    const bool dot = parameter.form == PackedParameter::Form::column_dot;
    for (long p = task.p0; p < task.p1; ++p) {
        alignas(vector_bytes) T g[NR] = {};
        const long at = parameter.at + p * NR;
        for (long v = 0; v < vectors_in_use<T>(parameter.outputs, p); ++v) {
            RunningSum<T> sum;
            down_column<T>(program, p, v, [&](const T* row) {
                const vec<T> d = load(row + parameter.d);
                sum.add(dot ? d * load(row + parameter.x) : d);
            });
            vec<T> total = sum.value();
            if (program.gradient_started)
                total = total + load(static_cast<const T*>(program.gradient) + at + v * L);
            store(g + v * L, total);
        }
        consume_block<T>(program, parameter, consume, {at, 1, parameter.outputs - p * NR}, g, sums);
    }
}

// dt[k, n] = sum of d[r, n] over the rows r of the batch whose code stands for k, in their order
template <class T>
void lookup_task(const Program& program, const PackedParameter& parameter, const Task& task, Consume consume,
                 TaskSums& sums) {
    constexpr long NR = panel_width<T>;
    const long K = parameter.inputs, N = parameter.outputs;
    alignas(vector_bytes) T g[NR * NR];
    for (long q = task.q0; q < task.q1; ++q)
        for (long p = task.p0; p < task.p1; ++p) {
            const long rows = K - q * NR < NR ? K - q * NR : NR;
            const long columns = N - p * NR < NR ? N - p * NR : NR;
            const long at = parameter.at + p * K * NR + q * NR * NR;
            if (program.gradient_started)
                __builtin_memcpy(g, static_cast<T*>(program.gradient) + at, sizeof(T) * size_t(rows * NR));
            else
                __builtin_memset(g, 0, sizeof(T) * size_t(rows * NR));
            for (int i = 0; i < program.tile_count; ++i) {
                const Tile& tile = program.tiles[i];
                const T* const base = static_cast<const T*>(tile.base);
                const T *const x = base + parameter.x, *const d = base + parameter.d;
                for (long r = 0; r < tile.rows; ++r)
                    for (int j = 0; j < program.lookup_count; ++j) {
                        const Lookup& lookup = program.lookups[j];
                        const long k = row_looked_up(program, lookup, x, r) - q * NR;
                        if (k < 0 || k >= rows) continue;
                        for (long n = 0; n < columns; ++n)
                            g[k * NR + n] += d[element<T>(program, r, lookup.to + p * NR + n)];
                    }
            }
            consume_block<T>(program, parameter, consume, {at, int(rows), N - p * NR}, g, sums);
        }
}

// The sum of the groups' gradients, in their order. All whole panels are one block of rows of NR.
template <class T>
void groups_task(const Program& program, const PackedParameter& parameter, Consume consume, TaskSums& sums) {
    constexpr long NR = panel_width<T>, L = lanes<T>, most = 64;
    alignas(vector_bytes) T g[most * NR];
    for (long p = 0, all = panels<T>(parameter.outputs); p < all;) {
        const long whole = parameter.outputs / NR - p;
        const long rows = whole > most ? most : whole > 0 ? whole : 1;
        const long at = parameter.at + p * NR;
        const T* from = static_cast<const T*>(program.group_gradients) + at;
        __builtin_memcpy(g, from, sizeof(T) * size_t(rows * NR));
        for (int i = 1; i < program.tile_count; ++i) {
            from += program.packed;
            for (long j = 0; j < rows * NR; j += L) store(g + j, load(g + j) + load(from + j));
        }
        consume_block<T>(program, parameter, consume, {at, int(rows), parameter.outputs - p * NR}, g, sums);
        p += rows;
    }
}

template <class T>
void run_task(const Program& program, const Task& task, Consume consume, TaskSums& sums) {
    const PackedParameter& parameter = program.layout[task.parameter];
    switch (parameter.form) {
        case PackedParameter::Form::product: product_task<T>(program, parameter, task, consume, sums); break;
        case PackedParameter::Form::looked_up: lookup_task<T>(program, parameter, task, consume, sums); break;
        case PackedParameter::Form::by_groups: groups_task<T>(program, parameter, consume, sums); break;
        case PackedParameter::Form::column_sum:
        case PackedParameter::Form::column_dot:
            column_task<T>(program, parameter, task, consume, sums);
            break;
    }
}

// The update from a whole gradient: clipped by norm, or handed over from elsewhere.
template <class T>
void update_task(const Program& program, const Task& task) {
    constexpr long NR = panel_width<T>, L = lanes<T>;
    const PackedParameter& parameter = program.layout[task.parameter];
    if (parameter.factor == 0 || parameter.deferred) return;
    const long K = parameter.inputs, N = parameter.outputs;
    const T factor = T(program.clip_factor);
    PackedParameter bare = parameter;  // the penalty is in the gradient already
    bare.l1 = bare.l2 = 0;
    Program plain = program;
    plain.gradient_scale = 1;
    TaskSums ignored;
    alignas(vector_bytes) T g[NR * NR];
    for (long q = task.q0; q < task.q1; ++q)
        for (long p = task.p0; p < task.p1; ++p) {
            const int rows = int(K - q * NR < NR ? K - q * NR : NR);
            const long at = parameter.at + p * K * NR + q * NR * NR;
            const T* const whole = static_cast<const T*>(program.gradient) + at;
            for (long i = 0; i < rows * NR; i += L) store(g + i, factor * load(whole + i));
            consume_block<T>(plain, bare, Consume::update, {at, rows, N - p * NR}, g, ignored);
            copy_block<T>(parameter, p, q, program.parameters, program.transposed);
        }
}

// w = w * min(1, limit / |w|) for each unit's incoming weights, panel p.
template <class T>
void constrain_panel(const Program& program, const PackedParameter& parameter, long p) {
    constexpr long NR = panel_width<T>, L = lanes<T>;
    const long K = parameter.inputs;
    T* const w = static_cast<T*>(program.parameters) + parameter.at + p * K * NR;
    const vec<T> limit = broadcast(T(parameter.max_norm));
    for (long v = 0; v < 2; ++v) {
        RunningSum<T> squares;
        for (long k = 0; k < K; ++k) {
            const vec<T> x = load(w + k * NR + v * L);
            squares.add(x * x);
        }
        vec<T> norm = sqrt(squares.value());
        if (T(parameter.max_norm) < Units<T>::below || !(max_lanes(squares.value()) < most_squares<T>)) {
            vec<T> size{};
            for (long k = 0; k < K; ++k) size = largest_of(size, load(w + k * NR + v * L));
            const vec<T> unit = Units<T>::of(size);
            RunningSum<T> scaled;
            for (long k = 0; k < K; ++k) {
                const vec<T> x = load(w + k * NR + v * L) / unit;
                scaled.add(x * x);
            }
            norm = sqrt(scaled.value()) * unit;
        }
        const vec<T> shrink = select(norm > limit, limit / norm, broadcast(T(1)));
        for (long k = 0; k < K; ++k) store(w + k * NR + v * L, load(w + k * NR + v * L) * shrink);
    }
    for (long q = 0; q * NR < K; ++q) copy_block<T>(parameter, p, q, program.parameters, program.transposed);
}

}  // namespace deltarule::DR_TARGET
