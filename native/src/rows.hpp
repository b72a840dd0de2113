// The rows phase: one row tile runs forward through the instructions, or backward. Each backward
// function stands under the forward one that it inverts and quotes its formula.
//
// r: row of the tile; k: column of the input; n: column of the output.
#pragma once

#include "dense_bfloat16.hpp"
#include "elementwise.hpp"
#include "gather.hpp"
#include "gemm.hpp"
#include "lookup.hpp"
#include "losses.hpp"
#include "normalization.hpp"
#include "philox.hpp"
#include "single_row.hpp"
#include "transpose.hpp"

namespace deltarule::DR_TARGET {

// ------------------------------------------------------------------------------------------- dense

// z = a_prev @ W + b,  a = f(z)  for the panels [p0, p1) of the outputs; not for a softmax, which needs all
template <class T>
void dense_outputs(const Program& program, const Instruction& op, const Tile& tile, long p0, long p1) {
    constexpr long NR = panel_width<T>;
    const long K = op.inputs, N = op.outputs, stride = program.capacity * NR, rows = tile.rows;
    T* const base = static_cast<T*>(tile.base);
    const T* const in = base + op.in;
    T *const z = base + op.pre, *const a = base + op.out;
    const bool activates = op.activation != Activation::identity && !acts_on_rows(op.activation);
    if (program.flat != nullptr) {
        const T* const flat = static_cast<const T*>(program.flat);
        for (long r = 0; r < rows; ++r)
            flat_row(in + r * NR, stride, flat + op.flat_weight, K, N,
                     op.flat_bias < 0 ? nullptr : flat + op.flat_bias, z + r * NR, stride, p0 * NR,
                     p1 * NR < N ? p1 * NR : N);
        for (long p = p0; activates && p < p1; ++p)
            activate(op.activation, op.setting, rows, vectors_in_use<T>(N, p), z + p * stride,
                     a + p * stride);
        return;
    }
    const T* const parameters = static_cast<const T*>(program.parameters);
    const T *const w = parameters + op.weight, *const bias = parameters + op.bias;
    for (long k0 = 0; k0 < K; k0 += depth_block) {
        const long k1 = k0 + depth_block < K ? k0 + depth_block : K;
        for (long p = p0; p < p1;) {
            const T* const start = k0 == 0 ? bias + p * NR : nullptr;
            long count = 1;
            if (rows <= few_rows<T> && p + 2 <= p1 && (p + 2) * NR <= N) {
                count = p + 4 <= p1 && (p + 4) * NR <= N ? 4 : 2;
                if (count == 4)
                    product_few_rows<T, 4>(rows, in, stride, w + p * K * NR, K * NR, k0, k1, start,
                                           z + p * stride, stride);
                else
                    product_few_rows<T, 2>(rows, in, stride, w + p * K * NR, K * NR, k0, k1, start,
                                           z + p * stride, stride);
            } else if (vectors_in_use<T>(N, p) == 2) {
                product_panel<T, 2>(rows, in, stride, w + p * K * NR, k0, k1, start, z + p * stride);
            } else {
                product_panel<T, 1>(rows, in, stride, w + p * K * NR, k0, k1, start, z + p * stride);
            }
            for (long q = p; activates && k1 == K && q < p + count; ++q)
                activate(op.activation, op.setting, rows, vectors_in_use<T>(N, q), z + q * stride,
                         a + q * stride);
            p += count;
        }
    }
}

template <class T>
void dense_forward(const Program& program, const Instruction& op, const Tile& tile) {
    if (op.rounded >= 0)
        dense_outputs_bfloat16(program, op, tile);
    else if (!op.by_panels)
        dense_outputs<T>(program, op, tile, 0, panels<T>(op.outputs));
    if (!acts_on_rows(op.activation)) return;
    T* const base = static_cast<T*>(tile.base);
    softmax_forward(tile.rows, op.outputs, program.capacity * panel_width<T>, base + op.pre, base + op.out);
}

// delta = dL/da * f'(z), where nothing above has done it:  the first half of the way back
template <class T>
void derive_output(const Program& program, const Instruction& op, const Tile& tile) {
    const long stride = program.capacity * panel_width<T>;
    T* const base = static_cast<T*>(tile.base);
    T* const d = base + op.d_out;
    if (acts_on_rows(op.activation)) {
        softmax_backward(tile.rows, op.outputs, stride, base + op.out, d, d, false);
        return;
    }
    for (long p = 0; p < panels<T>(op.outputs); ++p)
        differentiate(op.activation, op.setting, tile.rows, vectors_in_use<T>(op.outputs, p),
                      base + op.pre + p * stride, base + op.out + p * stride, d + p * stride);
}

// d_prev = delta @ W.T, times f'(z_prev) where that activation is fused, for the panels [q0, q1) of the inputs
template <class T>
void dense_inputs(const Program& program, const Instruction& op, const Tile& tile, long q0, long q1) {
    constexpr long NR = panel_width<T>, L = lanes<T>;
    const long K = op.inputs, N = op.outputs, stride = program.capacity * NR, rows = tile.rows;
    T* const base = static_cast<T*>(tile.base);
    const T* const delta = base + op.d_out;
    T* const d_in = base + op.d_in;
    const T* const w = static_cast<const T*>(program.parameters) + op.weight;
    if (op.direct) {
        for (long k = q0 * NR; k < K && k < q1 * NR; k += L)
            for (long r = 0; r < rows; ++r) {
                alignas(vector_bytes) T sum[L] = {};
                dot_rows(delta + r * NR, stride, w + k * NR, K * NR, N, K - k < L ? int(K - k) : int(L), sum);
                T* const to = d_in + (k / NR) * stride + r * NR + k % NR;
                store(to, op.add_d_in ? load(to) + load(sum) : load(sum));
            }
        if (op.source != Activation::identity)
            for (long q = q0; q < q1; ++q)
                differentiate(op.source, op.source_setting, rows, vectors_in_use<T>(K, q),
                              base + op.source_pre + q * stride, base + op.in + q * stride,
                              d_in + q * stride);
        return;
    }
    alignas(vector_bytes) static constexpr T zeros[NR] = {};
    // Where no transposed copy is kept, as much of it as one product needs is made on the way.
    alignas(vector_bytes) T part[depth_block * NR];
    for (long n0 = 0; n0 < N; n0 += depth_block) {
        const long n1 = n0 + depth_block < N ? n0 + depth_block : N;
        const T* const start = n0 == 0 && !op.add_d_in ? zeros : nullptr;
        for (long q = q0; q < q1; ++q) {
            const int vectors = vectors_in_use<T>(K, q);
            const T* wt = part;
            if (op.transposed >= 0)
                wt = static_cast<const T*>(program.transposed) + op.transposed + (q * N + n0) * NR;
            else
                for (long n = n0; n < n1; n += NR)
                    transpose_block<T>(int(K - q * NR < NR ? K - q * NR : NR), n1 - n,
                                       w + (n / NR * K + q * NR) * NR, part + (n - n0) * NR);
            const T* const d = delta + n0 / NR * stride;
            if (vectors == 2)
                product_panel<T, 2>(rows, d, stride, wt, 0, n1 - n0, start, d_in + q * stride);
            else
                product_panel<T, 1>(rows, d, stride, wt, 0, n1 - n0, start, d_in + q * stride);
            if (n1 == N && op.source != Activation::identity)
                differentiate(op.source, op.source_setting, rows, vectors, base + op.source_pre + q * stride,
                              base + op.in + q * stride, d_in + q * stride);
        }
    }
}

template <class T>
void dense_backward(const Program& program, const Instruction& op, const Tile& tile) {
    if (op.derive) derive_output<T>(program, op, tile);
    if (op.rounded >= 0)
        dense_inputs_bfloat16(program, op, tile);
    else if (op.d_in >= 0 && !op.by_panels)
        dense_inputs<T>(program, op, tile, 0, panels<T>(op.inputs));
}

// -------------------------------------------------------------------------------------- activation

// a = f(z)
template <class T>
void activation_forward(const Program& program, const Instruction& op, const Tile& tile) {
    const long stride = program.capacity * panel_width<T>;
    T* const base = static_cast<T*>(tile.base);
    if (acts_on_rows(op.activation)) {
        softmax_forward(tile.rows, op.outputs, stride, base + op.in, base + op.out);
        return;
    }
    for (long p = 0; p < panels<T>(op.outputs); ++p)
        activate(op.activation, op.setting, tile.rows, vectors_in_use<T>(op.outputs, p),
                 base + op.in + p * stride, base + op.out + p * stride);
}

// dL/dz = dL/da * f'(z)
template <class T>
void activation_backward(const Program& program, const Instruction& op, const Tile& tile) {
    const long stride = program.capacity * panel_width<T>;
    T* const base = static_cast<T*>(tile.base);
    const T *const z = base + op.pre, *const a = base + op.out, *const d_out = base + op.d_out;
    T* const d_in = base + op.d_in;
    if (acts_on_rows(op.activation)) {
        softmax_backward(tile.rows, op.outputs, stride, a, d_out, d_in, op.add_d_in);
        return;
    }
    with_activation<T>(op.activation, T(op.setting), [&](auto f) {
        for_value<T>(tile.rows, op.outputs, stride, [&](long i) {
            const vec<T> d = load(d_out + i) * f.derivative(load(z + i), load(a + i));
            store(d_in + i, op.add_d_in ? load(d_in + i) + d : d);
        });
    });
}

// --------------------------------------------------------------------------------------------- add

// out = in + in2
template <class T>
void add_forward(const Program& program, const Instruction& op, const Tile& tile) {
    T* const base = static_cast<T*>(tile.base);
    for_value<T>(tile.rows, op.outputs, program.capacity * panel_width<T>,
                 [&](long i) { store(base + op.out + i, load(base + op.in + i) + load(base + op.in2 + i)); });
}

// both inputs receive d_out; one whose place is d_out's has it already
template <class T>
void add_backward(const Program& program, const Instruction& op, const Tile& tile) {
    T* const base = static_cast<T*>(tile.base);
    const auto pass = [&](long place, bool add) {
        if (place < 0 || place == op.d_out) return;
        for_value<T>(tile.rows, op.outputs, program.capacity * panel_width<T>, [&](long i) {
            const vec<T> d = load(base + op.d_out + i);
            store(base + place + i, add ? load(base + place + i) + d : d);
        });
    };
    pass(op.d_in, op.add_d_in);
    pass(op.d_in2, op.add_d_in2);
}

// --------------------------------------------------------------------------------------- embedding

// y = [columns without codes, table[code of the first column], table[code of the second], ...]; where a code stands
// for no row of the table, the whole row is NaN
template <class T>
void embedding_forward(const Program& program, const Instruction& op, const Tile& tile) {
    constexpr long NR = panel_width<T>;
    T* const base = static_cast<T*>(tile.base);
    const T* const x = base + op.in;
    T* const y = base + op.out;
    const T* const table = static_cast<const T*>(program.parameters) + op.weight;
    for (long r = 0; r < tile.rows; ++r) {
        bool known = true;
        for (int i = 0; i < program.passed_count; ++i)
            y[element<T>(program, r, i)] = x[element<T>(program, r, program.passed[i])];
        for (int i = 0; i < program.lookup_count; ++i) {
            const Lookup& lookup = program.lookups[i];
            const long k = row_looked_up(program, lookup, x, r);
            known = known && k >= 0;
            for (long n = 0; k >= 0 && n < op.table_columns; ++n)
                y[element<T>(program, r, lookup.to + n)] = table[(n / NR * op.table_rows + k) * NR + n % NR];
        }
        for (long n = 0; !known && n < op.outputs; ++n) y[element<T>(program, r, n)] = T(__builtin_nan(""));
        for (long n = op.outputs; n % NR != 0; ++n) y[element<T>(program, r, n)] = T(0);
    }
}

// Codes have no derivative, and nothing stands before an embedding that could learn.
template <class T>
void embedding_backward(const Program&, const Instruction&, const Tile&) {}

// ------------------------------------------------------------------------------------------- scale

// y = x * scale
template <class T>
void scale_forward(const Program& program, const Instruction& op, const Tile& tile) {
    constexpr long NR = panel_width<T>, L = lanes<T>;
    T* const base = static_cast<T*>(tile.base);
    const T* const scale = static_cast<const T*>(program.parameters) + op.weight;
    for (long p = 0; p < panels<T>(op.outputs); ++p)
        for (long v = 0; v < vectors_in_use<T>(op.outputs, p); ++v) {
            const vec<T> factor = load(scale + p * NR + v * L);
            const long first = p * program.capacity * NR + v * L;
            for (long i = first; i < first + tile.rows * NR; i += NR)
                store(base + op.out + i, load(base + op.in + i) * factor);
        }
}

// dL/dx = dL/dy * scale;  the gradient of scale, the sum of x dL/dy over rows, is a column_dot
template <class T>
void scale_backward(const Program& program, const Instruction& op, const Tile& tile) {
    constexpr long NR = panel_width<T>, L = lanes<T>;
    T* const base = static_cast<T*>(tile.base);
    const T* const scale = static_cast<const T*>(program.parameters) + op.weight;
    for (long p = 0; p < panels<T>(op.outputs); ++p)
        for (long v = 0; v < vectors_in_use<T>(op.outputs, p); ++v) {
            const vec<T> factor = load(scale + p * NR + v * L);
            const long first = p * program.capacity * NR + v * L;
            for (long i = first; i < first + tile.rows * NR; i += NR) {
                const vec<T> d = load(base + op.d_out + i) * factor;
                store(base + op.d_in + i, op.add_d_in ? load(base + op.d_in + i) + d : d);
            }
        }
}

// ----------------------------------------------------------------------------------------- dropout

// a = x * mask / (1 - rate): mask and scale are kept for the way back
template <class T>
void dropout_forward(const Program& program, const Instruction& op, const Tile& tile) {
    constexpr long NR = panel_width<T>;
    const long stride = program.capacity * NR;
    T* const base = static_cast<T*>(tile.base);
    if (op.aux < 0) return;  // rate 0: out is in
    T* const mask = base + op.aux;
    const RandomStream stream = random_stream(program.seed, Purpose::dropout, int(op.layer), program.step);
    for (long p = 0; p < panels<T>(op.outputs); ++p)
        dropout_panel<T>(stream, uint32_t(tile.first), int(tile.rows), uint32_t(p * NR), op.threshold,
                         T(op.keep_scale), mask + p * stride);
    for_value<T>(tile.rows, op.outputs, stride, [&](long i) {
        // Dropped is dropped: an infinity times 0 must not become NaN.
        const vec<T> keep = load(mask + i), zero{};
        store(base + op.out + i, select(keep == zero, zero, load(base + op.in + i) * keep));
    });
}

template <class T>
void dropout_backward(const Program& program, const Instruction& op, const Tile& tile) {
    const long stride = program.capacity * panel_width<T>;
    T* const base = static_cast<T*>(tile.base);
    if (op.aux < 0) {
        add_backward<T>(program, op, tile);
        return;
    }
    for_value<T>(tile.rows, op.outputs, stride, [&](long i) {
        const vec<T> d = load(base + op.d_out + i) * load(base + op.aux + i);
        store(base + op.d_in + i, op.add_d_in ? load(base + op.d_in + i) + d : d);
    });
}

// ------------------------------------------------------------------------------------- a whole tile

template <class T>
void run_forward(const Program& program, int first, int last, const Tile& tile) {
    for (int i = first; i < last; ++i) {
        const Instruction& op = program.instructions[i];
        switch (op.kind) {
#define DR_CASE(name, ...) \
    case Kind::name: name##_forward<T>(program, op, tile); break;
            DR_OPERATIONS(DR_CASE)
#undef DR_CASE
            case Kind::gather: gather<T>(program, op, tile); break;
            case Kind::loss: loss_forward<T>(program, op, tile); break;
        }
    }
}

template <class T>
void run_backward(const Program& program, int first, int last, const Tile& tile) {
    for (int i = last - 1; i >= first; --i) {
        const Instruction& op = program.instructions[i];
        // (Rounded, the delta of the lowest layer is wanted in words.)
        if (op.d_in < 0 && op.d_in2 < 0 && !op.derive && op.rounded < 0) continue;  // nothing below learns
        switch (op.kind) {
#define DR_CASE(name, ...) \
    case Kind::name: name##_backward<T>(program, op, tile); break;
            DR_OPERATIONS(DR_CASE)
#undef DR_CASE
            case Kind::gather:
            case Kind::loss: break;
        }
    }
}

// -------------------------------------------------------------- one dense layer with few rows, by panels

template <class T>
void run_outputs(const Program& program, const Instruction& op, long item) {
    const long p0 = item * op.panel_group, all = panels<T>(op.outputs);
    const long p1 = p0 + op.panel_group < all ? p0 + op.panel_group : all;
    if (op.deferred && program.previous != nullptr)
        update_and_multiply<T>(program, op, p0, p1);
    else
        dense_outputs<T>(program, op, program.tiles[0], p0, p1);
}

template <class T>
void run_inputs(const Program& program, const Instruction& op, long item) {
    dense_inputs<T>(program, op, program.tiles[0], item, item + 1);
}

}  // namespace deltarule::DR_TARGET
