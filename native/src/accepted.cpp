#include "accepted.hpp"

#include <algorithm>
#include <limits>

namespace deltarule {

namespace {

template <class T>
bool row_between(const T* values, long count, T low, T high) {
    unsigned outside = 0;
    for (long i = 0; i < count; ++i)
        outside |= unsigned(!(values[i] >= low)) | unsigned(!(values[i] <= high));
    return outside == 0;
}

// Bounds beyond the type's own hold always.
template <class T>
T bound(double value) {
    using Limits = std::numeric_limits<T>;
    if (value <= double(Limits::lowest())) return Limits::lowest();
    if (value >= double(Limits::max())) return Limits::max();
    return T(value);
}

template <class T>
bool between(const Table& table, long rows, double low, double high) {
    const T* const data = static_cast<const T*>(table.data);
    const long columns = std::max(table.columns, 1L);
    if (table.stride == columns) return row_between(data, rows * columns, bound<T>(low), bound<T>(high));
    for (long r = 0; r < rows; ++r)
        if (!row_between(data + r * table.stride, columns, bound<T>(low), bound<T>(high))) return false;
    return true;
}

}  // namespace

bool all_between(const Table& table, long rows, double low, double high) {
    switch (table.number) {
        case Number::float32: return between<float>(table, rows, low, high);
        case Number::float64: return between<double>(table, rows, low, high);
        case Number::int64: return between<int64_t>(table, rows, low, high);
        case Number::int32: return between<int32_t>(table, rows, low, high);
        case Number::uint8: return between<uint8_t>(table, rows, low, high);
    }
    return false;
}

bool all_below(const int64_t* values, size_t count, int64_t limit) {
    uint64_t largest = 0;  // a negative number is larger than any other
    for (size_t i = 0; i < count; ++i) largest = std::max(largest, uint64_t(values[i]));
    return count == 0 || largest < uint64_t(limit);
}

}  // namespace deltarule
