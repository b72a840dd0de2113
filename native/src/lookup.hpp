// Category codes among the network's inputs, which stand for rows of a table. Codes are whole numbers in the network's
// dtype; one that is none of its column's (NaN, for instance) stands for no row.
#pragma once

#include "gemm.hpp"
#include "program.hpp"

namespace deltarule::DR_TARGET {

// Where element (row, column) of a value in a row tile lies.
template <class T>
DR_INLINE long element(const Program& program, long row, long column) {
    constexpr long NR = panel_width<T>;
    return column / NR * program.capacity * NR + row * NR + column % NR;
}

// The row of the table for a row of x, or -1.
template <class T>
DR_INLINE long row_looked_up(const Program& program, const Lookup& lookup, const T* x, long row) {
    const T code = x[element<T>(program, row, lookup.column)];
    return code >= T(0) && code < T(lookup.categories) ? lookup.first + long(code) : -1;
}

}  // namespace deltarule::DR_TARGET
