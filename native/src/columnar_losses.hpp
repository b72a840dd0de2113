// Softmax and the losses where rows fill the lanes. The formulas are those of losses.hpp and softmax.hpp; here a sum
// over a row's columns is a sum of vectors.
#pragma once

#include "losses.hpp"

namespace deltarule::DR_TARGET {

// a_j = e^{z_j - m} / sum_k e^{z_k - m},  m = max_k z_k
//   in   rows  a multiple of the lanes, here and below
template <class T>
void columnar_softmax_forward(long rows, long columns, long capacity, const T* z, T* a) {
    for (long r = 0; r < rows; r += lanes<T>) {
        vec<T> m = broadcast(T(-__builtin_inf())), sum{};
        for (long j = 0; j < columns; ++j) m = max(load(z + j * capacity + r), m);
        for (long j = 0; j < columns; ++j) {
            const vec<T> e = exp(load(z + j * capacity + r) - m);
            store(a + j * capacity + r, e);
            sum = sum + e;
        }
        for (long j = 0; j < columns; ++j) store(a + j * capacity + r, load(a + j * capacity + r) / sum);
    }
}

// dL/dz_j = a_j (g_j - sum_k g_k a_k),  g = dL/da
template <class T>
void columnar_softmax_backward(long rows, long columns, long capacity, const T* a, const T* d_out, T* d_in,
                               bool add) {
    for (long r = 0; r < rows; r += lanes<T>) {
        vec<T> sum{};
        for (long j = r; j < columns * capacity; j += capacity) sum = sum + load(d_out + j) * load(a + j);
        for (long j = r; j < columns * capacity; j += capacity) {
            const vec<T> d = load(a + j) * (load(d_out + j) - sum);
            store(d_in + j, add ? load(d_in + j) + d : d);
        }
    }
}

// What a loss needs to know of one vector of rows.
template <class T>
struct LossRows {
    integers_of<vec<T>> counts;  // rows of the tile whose weight is not 0
    vec<T> weight;               // of each row
    long first;                  // of the rows, in the tile
    int count;                   // of those that are rows of the tile
};

// The weights of one output.
template <class T>
DR_INLINE vec<T> output_weights(const Program& program, const Tile& tile, const LossRows<T>& rows, long j) {
    alignas(vector_bytes) T w[lanes<T>] = {};
    for (int i = 0; i < rows.count; ++i) w[i] = T(weights_of(program, tile.first + rows.first + i)[j]);
    return load(w);
}

// visit(rows) returns their losses; what does not count loses nothing.
template <class T, class Visit>
DR_INLINE void for_loss_rows(const Program& program, const Tile& tile, Visit visit) {
    constexpr long L = lanes<T>;
    for (long r = 0; r < tile.rows; r += L) {
        const int count = int(tile.rows - r < L ? tile.rows - r : L);
        LossRows<T> rows{first_lanes<T>(count), broadcast(T(1)), r, count};
        if (program.row_weights) {
            alignas(vector_bytes) T w[L] = {};
            for (int i = 0; i < count; ++i) w[i] = T(program.row_weights[tile.first + r + i]);
            // (A weight that underflows in float still counts.)
            integers_of<vec<T>> counts = rows.counts;
            for (int i = 0; i < count; ++i)
                if (program.row_weights[tile.first + r + i] == 0) counts[i] = 0;
            rows.counts = counts;
            rows.weight = load(w);
        }
        alignas(vector_bytes) T loss[L];
        store(loss, select(rows.counts, visit(rows), vec<T>{}));
        double* const to = program.losses + tile.first + r;
        if (count == L)
            for (int i = 0; i < L; ++i) to[i] = double(loss[i]);
        else
            for (int i = 0; i < count; ++i) to[i] = double(loss[i]);
    }
}

//   in   z, a, t
//   out  d        delta; the rows' losses go to Program::losses
template <bool from_z, class T, class Formula>
void columnar_loss_of_elements(const Program& program, const Instruction& op, const Tile& tile, Formula loss,
                               T factor, const T* z, const T* a, const T* t, T* d) {
    const long capacity = program.capacity;
    const bool by_output = program.weights.columns > 0;
    const vec<T> zero{};
    for_loss_rows<T>(program, tile, [&](const LossRows<T>& rows) {
        vec<T> sum{};
        for (long j = 0; j < op.outputs; ++j) {
            const long i = j * capacity + rows.first;
            const vec<T> zi = load(z + i), ai = load(a + i), ti = load(t + i);
            vec<T> value = value_of<Formula, from_z>(loss, zi, ai, ti);
            vec<T> delta = delta_of<Formula, from_z>(loss, zi, ai, ti) * factor;
            if (by_output) {  // what weighs nothing gives exactly 0, whatever its target
                const vec<T> w = output_weights(program, tile, rows, j);
                value = select(w == zero, zero, w * value);
                delta = select(w == zero, zero, w * delta);
            } else {
                delta = delta * rows.weight;
            }
            sum = sum + value;
            store(d + i, select(rows.counts, delta, zero));
        }
        return sum * factor;
    });
}

// As in losses.hpp; a label is a target of 1 where it stands, and 0 elsewhere.
template <class T>
void columnar_cross_entropy(const Program& program, const Instruction& op, const Tile& tile, const T* z,
                            const T* a, const T* t, T* d) {
    const long k = op.outputs, capacity = program.capacity;
    const bool labels = program.targets.columns == 0;
    const T smooth = T(op.loss_setting / double(k)), rest = T(1 - op.loss_setting);
    const vec<T> zero{}, one = broadcast(T(1)), half = broadcast(T(0.5));
    for_loss_rows<T>(program, tile, [&](const LossRows<T>& rows) {
        alignas(vector_bytes) T label[lanes<T>] = {};
        for (int i = 0; labels && i < rows.count; ++i)
            label[i] = T(static_cast<const int64_t*>(
                program.targets.data)[source_row(program, tile.first + rows.first + i)]);
        const vec<T> labelled = load(label);
        const long begin = rows.first, end = k * capacity;
        vec<T> m = broadcast(T(-__builtin_inf())), largest = m, others{}, ties{}, linear{};
        for (long i = begin; i < end; i += capacity) {
            m = max(load(z + i), m);
            largest = max(load(a + i), largest);
        }
        for (long i = begin; i < end; i += capacity) {
            const auto tie = load(a + i) == largest;
            others = others + select(tie, zero, load(a + i));
            ties = ties + select(tie, one, zero);
        }
        others = others + (ties - T(1)) * largest;
        T column = 0;
        for (long i = begin; i < end; i += capacity, column += T(1)) {
            const vec<T> target = labels ? select(labelled == broadcast(column), one, zero) : load(t + i);
            const vec<T> ai = load(a + i), y = rest * target + smooth;
            linear = linear + y * max(broadcast(-largest_finite<T>), load(z + i) - m);
            const vec<T> delta = select((ai > half) & (y > half), (T(1) - y) - others, ai - y);
            store(d + i, select(rows.counts, delta * rows.weight, zero));
        }
        return log1p_finite(others / largest) - linear;
    });
}

}  // namespace deltarule::DR_TARGET
