// Rows of the user's table into the panels of a row tile, converted to the network's dtype.
#pragma once

#include "program.hpp"
#include "simd.hpp"

namespace deltarule::DR_TARGET {

DR_INLINE int64_t source_row(const Program& program, long row) {
    return program.order ? program.order[row] : program.first_row + row;
}

inline constexpr long rows_ahead = 4;

template <class A, class B>
inline constexpr bool is_same = false;
template <class A>
inline constexpr bool is_same<A, A> = true;

template <class T, class From>
void gather_rows(const Program& program, const Table& table, const Tile& tile, T* out) {
    constexpr long NR = 2 * lanes<T>;
    const long stride = program.capacity * NR;
    for (long r = 0; r < tile.rows; ++r) {
        const From* from =
            static_cast<const From*>(table.data) + source_row(program, tile.first + r) * table.stride;
        if (r + rows_ahead < tile.rows) {  // rows lie anywhere: fetch their beginnings early
            const From* const soon = static_cast<const From*>(table.data) +
                                     source_row(program, tile.first + r + rows_ahead) * table.stride;
            const long bytes = table.columns * long(sizeof(From));
            for (long b = 0; b < bytes && b < 512; b += 64)
                __builtin_prefetch(reinterpret_cast<const char*>(soon) + b);
        }
        T* to = out + r * NR;
        long left = table.columns;
        for (; left >= NR; left -= NR, from += NR, to += stride) {
            if constexpr (is_same<T, From>) {
                store(to, loadu(from));
                store(to + lanes<T>, loadu(from + lanes<T>));
            } else {
                for (long j = 0; j < NR; ++j) to[j] = T(from[j]);
            }
        }
        if (left > 0)
            for (long j = 0; j < NR; ++j) to[j] = j < left ? T(from[j]) : T(0);
    }
}

// out[r, :] = x[order[first + r], :]
template <class T>
void gather_table(const Program& program, const Table& table, const Tile& tile, T* out) {
    switch (table.number) {
        case Number::float32: gather_rows<T, float>(program, table, tile, out); break;
        case Number::float64: gather_rows<T, double>(program, table, tile, out); break;
        case Number::int64: gather_rows<T, int64_t>(program, table, tile, out); break;
        case Number::int32: gather_rows<T, int32_t>(program, table, tile, out); break;
        case Number::uint8: gather_rows<T, uint8_t>(program, table, tile, out); break;
    }
}

template <class T>
void gather(const Program& program, const Instruction& op, const Tile& tile) {
    gather_table<T>(program, program.input, tile, static_cast<T*>(tile.base) + op.out);
}

}  // namespace deltarule::DR_TARGET
