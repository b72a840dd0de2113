#include "interpreter.hpp"

#include <atomic>
#include <chrono>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "pool.hpp"
#include "vector_lock.hpp"

namespace deltarule {

namespace {

// How many threads ask for the interpreter's lock or have it again; the highest bit: no other may.
constexpr uint32_t ending = uint32_t(1) << 31;
std::atomic<uint32_t> inside{0};
std::atomic<std::thread::id> last{};  // the thread that ends the interpreter may always

bool may_enter() {
    uint32_t now = inside.load();
    do {
        if ((now & ending) != 0 && last.load() != std::this_thread::get_id()) return false;
    } while (!inside.compare_exchange_weak(now, now + 1));
    return true;
}

void entered() { inside.fetch_sub(1); }

void begin() {
    inside.store(0);
    allow_threads(true);
}

void end_of_interpreter() {
    last.store(std::this_thread::get_id());
    inside.fetch_or(ending);
    const nb::gil_scoped_release released;
    while ((inside.load() & ~ending) != 0) std::this_thread::sleep_for(std::chrono::microseconds(100));
    allow_threads(false);
}

}  // namespace

Outside::~Outside() {
    if (!may_enter())
        for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    PyEval_RestoreThread(state_);
    entered();
}

bool asked_to_stop(PyObject* stop) noexcept {
    if (!may_enter()) return true;
    const PyGILState_STATE held = PyGILState_Ensure();
    bool result = PyErr_CheckSignals() != 0;  // a handler raised
    if (!result && stop != nullptr) {
        PyObject* const answer = PyObject_CallNoArgs(stop);
        result = answer == nullptr || PyObject_IsTrue(answer) != 0;  // -1: it raised
        Py_XDECREF(answer);
    }
    PyGILState_Release(held);
    entered();
    return result;
}

void bind_interpreter(nb::module_& m) {
    begin();
    lock_of(nullptr);  // the locks are made before there are threads
#if defined(__unix__) || defined(__APPLE__)
    // The threads that were inside do not exist in the child.
    static const int registered = pthread_atfork(nullptr, nullptr, [] { inside.store(0); });
    (void)registered;
#endif
    m.def("end_of_interpreter", &end_of_interpreter,
          "Called by atexit: no thread comes back from native code any more, and those of the pool end.");
    nb::module_::import_("atexit").attr("register")(m.attr("end_of_interpreter"));
}

}  // namespace deltarule
