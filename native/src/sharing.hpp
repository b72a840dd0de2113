// What training and prediction share: sums of fixed order, work shared out, rows cut into tiles.
#pragma once

#include <algorithm>
#include <atomic>

#include "compile.hpp"
#include "pool.hpp"

namespace deltarule {

inline constexpr long tile_rows_wanted = 208;   // many, since wide layers are read again for each tile

// A sum whose order depends on the count alone: eight strips.
template <class Term>
double sum_in_strips(long count, Term term) {
    double strips[8] = {};
    long i = 0;
    for (; i + 8 <= count; i += 8)
        for (long j = 0; j < 8; ++j) strips[j] += term(i + j);
    for (long j = 0; i + j < count; ++j) strips[j] += term(i + j);
    return ((strips[0] + strips[1]) + (strips[2] + strips[3])) +
           ((strips[4] + strips[5]) + (strips[6] + strips[7]));
}

// Calls visit(i) for each i below count, on several threads where there is much to do.
template <class Visit>
void share_out(long count, double work, int threads, Visit visit) {
    struct Share {
        std::atomic<long> next{0};
        long count;
        Visit& visit;
    } share{{0}, count, visit};
    run_on_threads(
        work < 1e6 ? 1 : threads,
        [](void* context, int) {
            Share& s = *static_cast<Share*>(context);
            for (long i; (i = s.next.fetch_add(1)) < s.count;) s.visit(i);
        },
        &share);
}

inline int threads_for(double work, double work_each, long most) {
    return int(std::clamp(work / work_each, 1.0, double(most)));
}

// Rows of a tile: evenly cut, a whole number of tiles for each thread.
inline long tile_capacity(long rows, long threads) {
    const long rounds = (rows + threads * tile_rows_wanted - 1) / (threads * tile_rows_wanted);
    return (rows + threads * rounds - 1) / (threads * rounds);
}

// Places are per row until the capacity of a tile is known.
inline void lay_out(Compiled& program, long capacity) {
    const auto scale = [&](long& place) {
        if (place > 0) place *= capacity;
    };
    for (Instruction& op : program.instructions)
        for (long* place : {&op.in, &op.in2, &op.pre, &op.out, &op.d_out, &op.d_in, &op.d_in2, &op.aux,
                            &op.row_aux, &op.source_pre})
            scale(*place);
    for (Segment& s : program.segments) {
        scale(s.x);
        scale(s.d);
    }
    scale(program.output);
}

}  // namespace deltarule
