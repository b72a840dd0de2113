// What the files of the binding share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "program.hpp"

namespace nb = nanobind;

namespace deltarule {

inline void expect(bool holds, const char* message) {
    if (!holds) throw nb::value_error(message);
}

void bind_program(nb::module_& m);   // Operation, Parameter, Description
void bind_executor(nb::module_& m);  // Executor

}  // namespace deltarule
