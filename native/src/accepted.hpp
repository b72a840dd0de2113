// Which examples a step may train on as they are, without a look at them from Python.
#pragma once

#include "program.hpp"

namespace deltarule {

struct Accepted {
    long rows = 1;                   // at least
    double largest = 0;              // |x| at most
    double lowest = 0, highest = 0;  // targets from, to
    bool labels = false;             // targets are class labels, int64 (n,), and nothing else
};

// Whether all numbers of a table are in [low, high], which NaN is not; vectors (columns = 0) are one column.
bool all_between(const Table& table, long rows, double low, double high);

// Whether all values are from 0 to limit - 1.
bool all_below(const int64_t* values, size_t count, int64_t limit);

}  // namespace deltarule
