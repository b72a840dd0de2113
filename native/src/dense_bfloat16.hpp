// A dense layer whose products take bfloat16 numbers: the values and weights that they read are rounded, sums, biases
// and whatever else a layer does are float.
#pragma once

#include "bfloat16.hpp"
#include "program.hpp"

namespace deltarule::DR_TARGET {

template <class Visit>
DR_INLINE void with_pairs(const Program& program, Visit visit) {
    if (program.pairs_in_hardware)
        visit(PairsInHardware{});
    else
        visit(Pairs{});
}

// c[rows, panel] = start + a @ b, the depth in blocks that stay in L1.
//   in   a      words of columns, panels `stride` apart
//   in   b      `depth` rows of words of one panel
//   in   start  NR values that every row starts from, or null: start from c
template <class Terms>
void product_of_words(long rows, int vectors, const uint32_t* a, long stride, const uint32_t* b, long depth,
                      const float* start, float* c) {
    for (long k0 = 0; k0 < depth; k0 += depth_block) {
        const long k1 = k0 + depth_block < depth ? k0 + depth_block : depth;
        const float* const from = k0 == 0 ? start : nullptr;
        if (vectors == 2)
            product_panel<float, 2, Terms>(rows, a, stride, b, k0, k1, from, c);
        else
            product_panel<float, 1, Terms>(rows, a, stride, b, k0, k1, from, c);
    }
}

// z = rounded(a_prev) @ rounded(W) + b,  a = f(z);  the words of a_prev stay for the gradient
inline void dense_outputs_bfloat16(const Program& program, const Instruction& op, const Tile& tile) {
    constexpr long NR = panel_width<float>;
    const long depth = (op.inputs + 1) / 2, stride = program.capacity * NR;
    float* const base = static_cast<float*>(tile.base);
    uint32_t* const words = static_cast<uint32_t*>(tile.base);
    pair_columns(tile.rows, op.inputs, stride, base + op.in, words + op.in_by_columns);
    pair_rows(tile.rows, op.inputs, stride, base + op.in, words + op.in_by_rows);
    const uint32_t* const w = static_cast<const uint32_t*>(program.transposed) + op.rounded;
    const float* const bias = static_cast<const float*>(program.parameters) + op.bias;
    for (long p = 0; p < panels<float>(op.outputs); ++p) {
        const int vectors = vectors_in_use<float>(op.outputs, p);
        float *const z = base + op.pre + p * stride, *const a = base + op.out + p * stride;
        with_pairs(program, [&](auto terms) {
            product_of_words<decltype(terms)>(tile.rows, vectors, words + op.in_by_columns, stride,
                                              w + p * depth * NR, depth, bias + p * NR, z);
        });
        if (op.activation != Activation::identity && !acts_on_rows(op.activation))
            activate(op.activation, op.setting, tile.rows, vectors, z, a);
    }
}

// d_prev = rounded(delta) @ rounded(W).T, times f'(z_prev) where that is fused;  the words of delta for the gradient
inline void dense_inputs_bfloat16(const Program& program, const Instruction& op, const Tile& tile) {
    constexpr long NR = panel_width<float>;
    alignas(vector_bytes) static constexpr float zeros[NR] = {};
    const long depth = (op.outputs + 1) / 2, stride = program.capacity * NR;
    float* const base = static_cast<float*>(tile.base);
    uint32_t* const words = static_cast<uint32_t*>(tile.base);
    pair_rows(tile.rows, op.outputs, stride, base + op.d_out, words + op.d_by_rows);
    if (op.d_in < 0) return;
    pair_columns(tile.rows, op.outputs, stride, base + op.d_out, words + op.d_by_columns);
    const uint32_t* const wt = static_cast<const uint32_t*>(program.transposed) + op.transposed;
    for (long q = 0; q < panels<float>(op.inputs); ++q) {
        const int vectors = vectors_in_use<float>(op.inputs, q);
        float* const d_in = base + op.d_in + q * stride;
        with_pairs(program, [&](auto terms) {
            product_of_words<decltype(terms)>(tile.rows, vectors, words + op.d_by_columns, stride,
                                              wt + q * depth * NR, depth, op.add_d_in ? nullptr : zeros,
                                              d_in);
        });
        if (op.source != Activation::identity)
            differentiate(op.source, op.source_setting, tile.rows, vectors, base + op.source_pre + q * stride,
                          base + op.in + q * stride, d_in);
    }
}

}  // namespace deltarule::DR_TARGET
