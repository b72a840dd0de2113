// How large the numbers are that a step's gradient is made of. Where |x|, |d| and the rows' count bound the
// gradient and its squares by what the dtype holds, the gradient is finite before any of it is computed, and
// the parameters may be updated tile by tile. (Otherwise the engine computes all of it first.)
#pragma once

#include "elementwise.hpp"
#include "program.hpp"

namespace deltarule::DR_TARGET {

// Lane by lane the larger of m and |x|, by their bits: these are ordered as the numbers, NaN above infinity.
template <class V>
DR_INLINE V largest_of(V m, V x) {
    const V size = abs(x);
    return select(bitcast<integers_of<V>>(size) > bitcast<integers_of<V>>(m), size, m);
}

//   in  m  from largest_of
template <class T>
DR_INLINE double largest_lane(vec<T> m) {
    using I = integers_of<vec<T>>;
    const lane_of<I> bits = reduce_halves(bitcast<I>(m), [](auto a, auto b) { return a > b ? a : b; });
    return double(__builtin_bit_cast(T, bits));
}

// max |value| over the rows of a tile. Four maxima, since each waits for the one before.
template <class T>
double extent_of(const Program& program, const Tile& tile, long place, long columns) {
    constexpr long NR = 2 * lanes<T>, L = lanes<T>;
    using Bits = integers_of<vec<T>>;
    const T* const base = static_cast<const T*>(tile.base) + place;
    Bits m[4] = {};
    const auto look = [&](int i, const T* at) {
        const Bits size = bitcast<Bits>(abs(load(at)));
        m[i] = size > m[i] ? size : m[i];
    };
    for (long p = 0; p < panels<T>(columns); ++p) {
        const T* const panel = base + p * program.capacity * NR;
        const long step = vectors_in_use<T>(columns, p) == 2 ? L : NR, end = tile.rows * NR;
        long i = 0;
        for (; i + 3 * step < end; i += 4 * step)
            for (int j = 0; j < 4; ++j) look(j, panel + i + j * step);
        for (; i < end; i += step) look(0, panel + i);
    }
    double result = 0;
    for (const Bits& bits : m) result = larger(result, largest_lane<T>(bitcast<vec<T>>(bits)));
    return result;
}

//   out  of each parameter; what the parameter before has measured is taken from there
template <class T>
void extents(const Program& program, int count, const Tile& tile, Extent* out) {
    for (int i = 0; i < count; ++i) {
        const PackedParameter& s = program.layout[i];
        const bool shares = i > 0 && s.d == program.layout[i - 1].d;
        const bool product = s.form == PackedParameter::Form::product;
        const bool looked_up = s.form == PackedParameter::Form::looked_up;
        const long columns = looked_up ? s.d_columns : s.outputs;
        out[i].d = s.d < 0 ? 0 : shares ? out[i - 1].d : extent_of<T>(program, tile, s.d, columns);
        out[i].x = looked_up || s.form == PackedParameter::Form::column_sum ? 1
                   : s.x < 0 ? 0
                             : extent_of<T>(program, tile, s.x, product ? s.inputs : s.outputs);
    }
}

}  // namespace deltarule::DR_TARGET
