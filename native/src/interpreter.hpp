// Leaving the Python interpreter for a while, and coming back, from threads that may outlive it.
//
// When the interpreter ends, Python ends each thread that asks for its lock: pthread_exit in the middle of C++ code,
// which aborts the process. So before it ends, `end_of_interpreter` waits for those that are asking or inside, and from
// then on keeps all others out: they stop what they do and sleep until the process is gone.
#pragma once

#include <nanobind/nanobind.h>

namespace nb = nanobind;

namespace deltarule {

// Runs without the interpreter's lock from construction to destruction.
class Outside {
public:
    Outside() : state_(PyEval_SaveThread()) {}
    ~Outside();
    Outside(const Outside&) = delete;
    Outside& operator=(const Outside&) = delete;

private:
    PyThreadState* const state_;
};

// Has Python handle signals and asks `stop` (a callable without arguments; null: nothing more), from a thread that is
// outside. True: stop, and if an error is set in Python's thread state, raise it once back inside.
bool asked_to_stop(PyObject* stop) noexcept;

// Registers what follows with Python's atexit.
void bind_interpreter(nb::module_& m);

}  // namespace deltarule
