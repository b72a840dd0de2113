// The rows phase of narrow networks: rows fill the lanes (columnar_products.hpp). One group of row tiles runs forward
// and backward, tile after tile in the same memory, and each tile adds its gradient to the group's. Places and
// instructions are those of rows.hpp; only where elements lie differs, and what lies there of the parameters: as in
// the network's flat vector.
#pragma once

#include "columnar_losses.hpp"
#include "columnar_products.hpp"
#include "elementwise.hpp"
#include "extents.hpp"
#include "philox.hpp"

namespace deltarule::DR_TARGET {

template <class T>
DR_INLINE long whole_vectors(long rows) {
    return (rows + lanes<T> - 1) / lanes<T> * lanes<T>;
}

// visit(offset, count) for the runs of memory that a value's rows fill: one where they fill all of the tile.
template <class T, class Visit>
DR_INLINE void for_runs(const Program& program, const Tile& tile, long columns, Visit visit) {
    const long rows = whole_vectors<T>(tile.rows);
    if (rows == program.capacity)
        visit(0L, columns * rows);
    else
        for (long j = 0; j < columns; ++j) visit(j * program.capacity, rows);
}
// visit(offset) for each vector of a value.
template <class T, class Visit>
DR_INLINE void for_columns(const Program& program, const Tile& tile, long columns, Visit visit) {
    for_runs<T>(program, tile, columns, [&](long at, long count) {
        for (long i = at; i < at + count; i += lanes<T>) visit(i);
    });
}

// ------------------------------------------------------------------------------------------- examples

// Columns [j, j + w) of the rows of the user's table, converted to the network's dtype. Each row's w numbers first go,
// side by side, where its square of w rows and w columns is to lie; then all squares are transposed. The last vector of
// rows is filled up with copies of the last row, so that nothing can overflow there that does not elsewhere.
//   out  out  the first of the columns
template <int w, class T, class From>
void columnar_gather_squares(const Program& program, const Table& table, const Tile& tile, long j, T* out) {
    const long capacity = program.capacity, stride = table.stride, first = tile.first, count = tile.rows;
    const long rows = whole_vectors<T>(count);
    const From* const data = static_cast<const From*>(table.data) + j;
    const auto place = [&](long r, int64_t row) {
        const From* const from = data + row * stride;
        T x[w];
        for (int i = 0; i < w; ++i) x[i] = T(from[i]);
        __builtin_memcpy(out + r % w * capacity + r / w * w, x, sizeof x);
    };
    long r = 0;
    if (const int64_t* const order = program.order)
        for (; r < count; ++r) place(r, order[first + r]);
    else
        for (; r < count; ++r) place(r, program.first_row + first + r);
    const int64_t last = source_row(program, first + count - 1);
    for (; r < rows; ++r) place(r, last);
    for (r = 0; w > 1 && r < rows; r += lanes<T>) {
        vec<T> x[w];
        for (int i = 0; i < w; ++i) x[i] = load(out + i * capacity + r);
        transpose<T, w>(x);
        for (int i = 0; i < w; ++i) store(out + i * capacity + r, x[i]);
    }
}

// All columns from j on: in squares of w, then of w / 2, ...
template <class T, class From, int w = lanes<T>>
void columnar_gather_rows(const Program& program, const Table& table, const Tile& tile, T* out, long j = 0) {
    for (; table.columns - j >= w; j += w)
        columnar_gather_squares<w, T, From>(program, table, tile, j, out + j * program.capacity);
    if constexpr (w > 1) columnar_gather_rows<T, From, w / 2>(program, table, tile, out, j);
}

template <class T>
void columnar_gather(const Program& program, const Table& table, const Tile& tile, T* out) {
    switch (table.number) {
        case Number::float32: columnar_gather_rows<T, float>(program, table, tile, out); break;
        case Number::float64: columnar_gather_rows<T, double>(program, table, tile, out); break;
        case Number::int64: columnar_gather_rows<T, int64_t>(program, table, tile, out); break;
        case Number::int32: columnar_gather_rows<T, int32_t>(program, table, tile, out); break;
        case Number::uint8: columnar_gather_rows<T, uint8_t>(program, table, tile, out); break;
    }
}

// ---------------------------------------------------------------------------------------- activations

// a = f(z); a may be z.
template <class T>
void columnar_activate(const Program& program, const Tile& tile, Activation activation, double setting,
                       long columns, const T* z, T* a) {
    if (acts_on_rows(activation)) {
        columnar_softmax_forward(whole_vectors<T>(tile.rows), columns, program.capacity, z, a);
        return;
    }
    for_runs<T>(program, tile, columns,
                [&](long at, long count) { activate_run(activation, setting, count, z + at, a + at); });
}

// d = d * f'(z)
template <class T>
void columnar_differentiate(const Program& program, const Tile& tile, Activation activation, double setting,
                            long columns, const T* z, const T* a, T* d) {
    if (acts_on_rows(activation)) {
        columnar_softmax_backward(whole_vectors<T>(tile.rows), columns, program.capacity, a, d, d, false);
        return;
    }
    for_runs<T>(program, tile, columns, [&](long at, long count) {
        differentiate_run(activation, setting, count, z + at, a + at, d + at);
    });
}

// dL/dz = dL/da * f'(z), to a place of its own
template <class T>
void columnar_activation_backward(const Program& program, const Instruction& op, const Tile& tile, T* base) {
    T* const d_in = base + op.d_in;
    if (acts_on_rows(op.activation)) {
        columnar_softmax_backward(whole_vectors<T>(tile.rows), op.outputs, program.capacity, base + op.out,
                                  base + op.d_out, d_in, op.add_d_in);
        return;
    }
    with_activation<T>(op.activation, T(op.setting), [&](auto f) {
        for_columns<T>(program, tile, op.outputs, [&](long i) {
            const vec<T> d =
                load(base + op.d_out + i) * f.derivative(load(base + op.pre + i), load(base + op.out + i));
            store(d_in + i, op.add_d_in ? load(d_in + i) + d : d);
        });
    });
}

// ---------------------------------------------------------------------------------------------- dense

// z = a_prev @ W + b,  a = f(z)
template <class T>
void columnar_dense_forward(const Program& program, const Instruction& op, const Tile& tile, T* base) {
    const T* const parameters = static_cast<const T*>(program.parameters);
    units_product(op.outputs, whole_vectors<T>(tile.rows) / lanes<T>, base + op.in, program.capacity,
                  parameters + op.weight, 1, op.outputs, op.inputs, parameters + op.bias, false,
                  base + op.pre);
    if (op.activation != Activation::identity)
        columnar_activate(program, tile, op.activation, op.setting, op.outputs, base + op.pre, base + op.out);
}

// dW += a_prev.T @ delta,  db += delta summed over the rows,  d_prev = delta @ W.T
//   in/out  gradient  of all parameters, as they are packed
template <class T>
void columnar_dense_backward(const Program& program, const Instruction& op, const Tile& tile, T* base,
                             T* gradient) {
    const long vectors = whole_vectors<T>(tile.rows) / lanes<T>;
    if (op.derive)
        columnar_differentiate(program, tile, op.activation, op.setting, op.outputs, base + op.pre,
                               base + op.out, base + op.d_out);
    gradient_product(op.inputs, op.outputs, vectors, base + op.in, base + op.d_out, base + program.ones,
                     program.capacity, gradient + op.weight, op.flat_bias < 0 ? nullptr : gradient + op.bias);
    if (op.d_in < 0) return;
    units_product(op.inputs, vectors, base + op.d_out, program.capacity,
                  static_cast<const T*>(program.parameters) + op.weight, op.outputs, 1, op.outputs,
                  static_cast<const T*>(nullptr), op.add_d_in, base + op.d_in);
    if (op.source != Activation::identity)
        columnar_differentiate(program, tile, op.source, op.source_setting, op.inputs, base + op.source_pre,
                               base + op.in, base + op.d_in);
}

// ----------------------------------------------------------------------------------------------- loss

// The outputs of this tile's examples, to where the caller wants them.
template <class T>
void columnar_store_outputs(const Program& program, const Instruction& op, const Tile& tile, const T* a) {
    for (long r = 0; r < tile.rows; ++r) {
        const int64_t row = program.outputs_by_row ? source_row(program, tile.first + r)
                                                   : program.outputs_first + tile.first + r;
        T* const to = static_cast<T*>(program.outputs) + row * op.outputs;
        for (long j = 0; j < op.outputs; ++j) to[j] = a[j * program.capacity + r];
    }
}

// in: a; in2: z; aux: t
template <class T>
void columnar_loss(const Program& program, const Instruction& op, const Tile& tile, T* base) {
    const T *const a = base + op.in, *const z = base + op.in2;
    T *const t = base + op.aux, *const d = base + op.d_in;
    if (program.outputs != nullptr) columnar_store_outputs(program, op, tile, a);
    if (program.targets.columns != 0) columnar_gather(program, program.targets, tile, t);
    if (program.row_weights) gather_row_weights(program, tile);
    const auto run = [&](auto loss, Over over) {
        const T factor = over == Over::mean ? T(1) / T(op.outputs) : T(1);
        if (op.from_z)
            columnar_loss_of_elements<true>(program, op, tile, loss, factor, z, a, t, d);
        else if constexpr (requires { loss.value(vec<T>{}, vec<T>{}); })
            columnar_loss_of_elements<false>(program, op, tile, loss, factor, z, a, t, d);
    };
    switch (op.loss) {
#define DR_OF_ELEMENT(name, formula, setting, over, ...) \
    case Loss::name: run(with_setting<formula<T>>(T(op.loss_setting)), Over::over); break;
#define DR_OF_ROW(name, ...) \
    case Loss::name: columnar_##name(program, op, tile, z, a, t, d); break;
        DR_LOSSES(DR_OF_ELEMENT, DR_OF_ROW)
#undef DR_OF_ELEMENT
#undef DR_OF_ROW
    }
}

// ------------------------------------------------------------------------------------ a group of tiles

template <class T>
void columnar_tile(const Program& program, const Tile& tile, T* gradient) {
    T* const base = static_cast<T*>(tile.base);
    const int count = program.instruction_count;
    for (int i = 0; i < count; ++i) {
        const Instruction& op = program.instructions[i];
        switch (op.kind) {
            case Kind::gather: columnar_gather(program, program.input, tile, base + op.out); break;
            case Kind::dense: columnar_dense_forward(program, op, tile, base); break;
            case Kind::activation:
                columnar_activate(program, tile, op.activation, op.setting, op.outputs, base + op.in,
                                  base + op.out);
                break;
            case Kind::loss: columnar_loss(program, op, tile, base); break;
            default: break;  // has_columns() in compile.cpp
        }
    }
    for (int i = count - 1; i >= 0; --i) {
        const Instruction& op = program.instructions[i];
        switch (op.kind) {
            case Kind::dense: columnar_dense_backward(program, op, tile, base, gradient); break;
            case Kind::activation:
                if (op.d_in >= 0) columnar_activation_backward(program, op, tile, base);
                break;
            default: break;
        }
    }
}

// The tiles of a group, one after the other.
//   out  gradient  the group's, in the layout of the parameters
//   out  extents   of each parameter: a bound of the group's gradient
template <class T>
void columnar_group(const Program& program, const Tile& group, void* gradient, int parameters,
                    Extent* extents) {
    constexpr long L = lanes<T>;
    T* const sum = static_cast<T*>(gradient);
    __builtin_memset(sum, 0, sizeof(T) * size_t(program.packed));
    T* const ones = static_cast<T*>(group.base) + program.ones;
    for (long r = 0; r < program.capacity; r += L) store(ones + r, broadcast(T(1)));
    for (long first = 0; first < group.rows; first += program.capacity) {
        const long left = group.rows - first;
        columnar_tile(program,
                      {group.first + first, left < program.capacity ? left : program.capacity, group.base},
                      sum);
    }
    for (int p = 0; p < parameters; ++p) {
        const PackedParameter& s = program.layout[p];
        vec<T> largest{};
        for (long i = 0; i < s.outputs; i += L) largest = largest_of(largest, load(sum + s.at + i));
        extents[p] = {1, largest_lane<T>(largest)};
    }
}

}  // namespace deltarule::DR_TARGET
