// The executor as Python calls it. Every array is held to the network's description and to the others; settings that
// merely make no sense are the business of Python's checks.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <stdexcept>
#include <vector>

#include "accepted.hpp"
#include "bind.hpp"
#include "engine.hpp"
#include "interpreter.hpp"

namespace deltarule {

namespace {

constexpr uint64_t most_steps = uint64_t(1) << 40;  // in the counter of random words

using In = nb::ndarray<nb::ro, nb::device::cpu>;
using Out = nb::ndarray<nb::device::cpu, nb::c_contig>;
using Matrix = nb::ndarray<const double, nb::ndim<2>, nb::device::cpu, nb::c_contig>;
using Order = nb::ndarray<const int64_t, nb::ndim<2>, nb::device::cpu, nb::c_contig>;
using Groups = nb::ndarray<const int64_t, nb::ndim<1>, nb::device::cpu, nb::c_contig>;
template <class T, size_t dimensions>
using Record = nb::ndarray<T, nb::ndim<dimensions>, nb::device::cpu, nb::c_contig>;

std::optional<Number> known_number(nb::dlpack::dtype dtype) {
    if (dtype == nb::dtype<float>()) return Number::float32;
    if (dtype == nb::dtype<double>()) return Number::float64;
    if (dtype == nb::dtype<int64_t>()) return Number::int64;
    if (dtype == nb::dtype<int32_t>()) return Number::int32;
    if (dtype == nb::dtype<uint8_t>()) return Number::uint8;
    return {};
}

Number number_of(nb::dlpack::dtype dtype) {
    if (const std::optional<Number> number = known_number(dtype)) return *number;
    throw nb::type_error("the native engine reads float32, float64, int64, int32 and uint8");
}

bool has_contiguous_rows(const In& array) {
    const size_t last = array.ndim() - 1;
    return array.stride(last) == 1 || array.shape(last) <= 1;
}

// A matrix whose rows are contiguous, or a vector (columns = 0).
Table table_of(const In& array) {
    expect(array.ndim() == 1 || array.ndim() == 2, "a table has one or two dimensions");
    expect(has_contiguous_rows(array), "rows must be contiguous");
    const size_t last = array.ndim() - 1;
    Table table;
    table.data = array.data();
    table.number = number_of(array.dtype());
    table.columns = last == 1 ? long(array.shape(1)) : 0;
    table.stride = last == 1 ? long(array.stride(0)) : 1;
    return table;
}

// An array as it is, never a copy of it.
template <class Array>
Array array_of(const nb::object& object, const char* message) {
    Array array;
    if (!nb::try_cast(object, array, false)) throw nb::type_error(message);
    return array;
}

template <class Array>
auto* for_epochs(const Array& record, long epochs) {
    expect(long(record.shape(0)) >= epochs, "a record has fewer rows than epochs are touched");
    return record.data();
}

bool poll(void* stop) { return asked_to_stop(static_cast<PyObject*>(stop)); }

// An executor's buffers serve one call at a time: while a thread is outside the interpreter, another one may come.
struct InUse : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class Turn {
public:
    explicit Turn(std::atomic<bool>& taken) : taken_(taken) {
        if (taken_.exchange(true, std::memory_order_acquire))
            throw InUse(
                "this trainer is in use by another call (in another thread, or in a thread of the process "
                "that "
                "this one was forked from); make another one");
    }
    ~Turn() { taken_.store(false, std::memory_order_release); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

private:
    std::atomic<bool>& taken_;
};

class NativeExecutor {
public:
    NativeExecutor(const Description& network, int bits, int threads)
        : executor_(network, checked_bits(bits), threads, target()), bits_(bits),
          inputs_(network.widths.front()),
          outputs_(network.widths[size_t(network.operations.back().target)]) {}

    void train(const In& x, const nb::object& y, const nb::object& weights, const nb::object& order,
               long batch_size, long steps_per_epoch, long first_batch, uint64_t first_step, long steps,
               uint64_t seed, const Matrix& scalars, const nb::object& group, const Out& parameters,
               const Out& running, const nb::object& outputs, bool outputs_by_row,
               const Record<double, 1>& loss_sum, const Record<double, 1>& weight_sum,
               const Record<double, 1>& penalty_sum, const Record<double, 2>& gradient_squares,
               const Record<int64_t, 1>& updates, const Record<double, 2>& step_losses,
               const nb::object& stop, const Record<int64_t, 1>& outcome) {
        const Turn turn(taken_);
        expect(outcome.size() == 3, "an outcome has three numbers");
        outcome.data()[2] = TrainingRun::none;
        expect(network().loss && network().rule,
               "an executor without a loss and an update rule only predicts");
        expect(!y.is_none(), "training needs targets");
        const Executor::Data data = data_of(x, y, weights);
        const long rows = long(x.shape(0));
        TrainingRun run;
        run.input = data.input;
        run.targets = data.targets;
        run.weights = data.weights;
        run.visited = rows;
        run.seed = seed;
        run.first_step = first_step;

        expect(batch_size >= 1 && steps >= 0, "wrong batch size or number of steps");
        expect(steps_per_epoch >= 1 && first_batch >= 0 && first_batch < steps_per_epoch,
               "wrong batch of an epoch");
        const long epochs = steps == 0 ? 0 : (first_batch + steps - 1) / steps_per_epoch + 1;
        if (!order.is_none()) {
            const Order orders = array_of<Order>(order, "an order is a matrix of int64, its rows contiguous");
            run.visited = long(orders.shape(1));
            expect(orders.shape(0) == 1 || long(orders.shape(0)) >= epochs,
                   "an order for each epoch, or one for all");
            expect(all_below(orders.data(), orders.size(), rows), "the order leaves the data");
            run.order = orders.data();
            run.order_each = orders.shape(0) > 1;
        }
        expect(run.visited >= 1 && steps_per_epoch <= (run.visited - 1) / batch_size + 1,
               "an epoch has fewer batches");
        run.batch_size = std::min(batch_size, run.visited);
        run.wanted_batch_size = std::min(batch_size, 1L << 40);
        run.steps_per_epoch = steps_per_epoch;
        run.first_batch = first_batch;
        run.steps = steps;

        expect(first_step <= most_steps && uint64_t(steps) <= most_steps - first_step, "too many steps");
        if (!group.is_none()) {
            const Groups groups = array_of<Groups>(group, "groups are a vector of int64");
            run.group = groups.data();
            run.groups = long(scalars.shape(1)) / std::max(1, network().scalars());
            expect(groups.size() == network().parameters.size(), "a group for each parameter");
            expect(all_below(run.group, groups.size(), run.groups), "a parameter's group has no scalars");
        }
        expect(long(scalars.shape(0)) >= steps && long(scalars.shape(1)) == run.groups * network().scalars(),
               "wrong scalars of the steps");
        run.scalars = scalars.data();
        run.parameters = checked(parameters, network().parameter_count);
        run.running = checked(running, network().state_count);
        if (!outputs.is_none()) {
            const Out out = array_of<Out>(outputs, "outputs are an array, rows contiguous");
            const long needed = outputs_by_row ? rows : rows_of(run, epochs);
            expect(out.ndim() == 2 && long(out.shape(0)) >= needed && long(out.shape(1)) == outputs_,
                   "wrong shape of outputs");
            run.outputs = checked(out, long(out.size()));
            run.outputs_by_row = outputs_by_row;
        }
        run.loss_sum = for_epochs(loss_sum, epochs);
        run.weight_sum = for_epochs(weight_sum, epochs);
        run.penalty_sum = for_epochs(penalty_sum, epochs);
        run.gradient_squares = for_epochs(gradient_squares, epochs);
        expect(gradient_squares.shape(1) == network().parameters.size(), "wrong record of gradients");
        run.updates = for_epochs(updates, epochs);
        run.step_losses = for_epochs(step_losses, steps);
        expect(step_losses.shape(1) == 2, "two losses for each step");
        run.poll = poll;
        run.poll_context = stop.ptr();
        {
            const Outside outside;
            executor_.train(run);
        }
        outcome.data()[0] = run.steps_done;
        outcome.data()[1] = run.interrupted;
        outcome.data()[2] = run.diverged;
        if (PyErr_Occurred() != nullptr) throw nb::python_error();
    }

    // One step on a batch as a user has it; returns its loss. None, and nothing has changed: not plainly in order, not
    // finite, or stopped; who knows more looks at it and calls `train`. out: done (1,), the number of steps done.
    std::optional<double> step(const nb::object& x, const nb::object& y, const Accepted& accepted,
                               const Matrix& scalars, long row, uint64_t step, uint64_t seed,
                               const Out& parameters, const Out& running, const nb::object& stop,
                               const Record<int64_t, 1>& done) {
        const Turn turn(taken_);
        expect(done.size() == 1, "one number is done");
        done.data()[0] = 0;
        expect(network().loss && network().rule,
               "an executor without a loss and an update rule only predicts");
        expect(row >= 0 && row < long(scalars.shape(0)) && long(scalars.shape(1)) == network().scalars(),
               "wrong scalars of the steps");
        TrainingRun run;
        run.parameters = checked(parameters, network().parameter_count);
        run.running = checked(running, network().state_count);
        In inputs, targets;
        if (step >= most_steps || !nb::try_cast(x, inputs, false) || !nb::try_cast(y, targets, false) ||
            !takes(accepted, inputs, targets, run))
            return {};
        const long rows = long(inputs.shape(0));
        run.visited = run.batch_size = run.wanted_batch_size = rows;
        run.steps_per_epoch = run.steps = 1;
        run.first_step = step;
        run.seed = seed;
        run.scalars = scalars.data() + row * long(scalars.shape(1));
        double loss_sum = 0, weight_sum = 0, penalty_sum = 0, losses[2] = {};
        int64_t updates = 0;
        squares_.assign(network().parameters.size(), 0.0);
        run.loss_sum = &loss_sum;
        run.weight_sum = &weight_sum;
        run.penalty_sum = &penalty_sum;
        run.gradient_squares = squares_.data();
        run.updates = &updates;
        run.step_losses = losses;
        run.poll = poll;
        run.poll_context = stop.ptr();
        {
            const Outside outside;
            executor_.train(run);
        }
        done.data()[0] = run.steps_done;
        if (PyErr_Occurred() != nullptr) throw nb::python_error();
        if (run.steps_done == 0) return {};
        return losses[0] + losses[1];
    }

    // Fills `out` (rows, outputs); with targets also returns the sums of w_i l_i and of w_i.
    nb::tuple forward(const In& x, const nb::object& y, const nb::object& weights, const Out& parameters,
                      const Out& running, const nb::object& out) {
        const Turn turn(taken_);
        expect(y.is_none() || network().loss, "an executor without a loss only predicts");
        const Executor::Data data = data_of(x, y, weights);
        const long rows = long(x.shape(0));
        void* const to =
            out.is_none() ? nullptr
                          : checked(array_of<Out>(out, "out is an array, rows contiguous"), rows * outputs_);
        const void* const p = checked(parameters, network().parameter_count);
        const void* const s = checked(running, network().state_count);
        Executor::Sums sums;
        {
            const Outside outside;
            executor_.forward(p, s, data, rows, to, y.is_none() ? nullptr : &sums, poll);
        }
        if (PyErr_Occurred() != nullptr) throw nb::python_error();
        return nb::make_tuple(sums.loss, sums.weight);
    }

    void set_optimizer_state(const Out& flat) {
        const Turn turn(taken_);
        executor_.set_optimizer_state(checked(flat, state_size()));
    }
    void get_optimizer_state(const Out& flat) {
        const Turn turn(taken_);
        executor_.get_optimizer_state(checked(flat, state_size()));
    }

    int threads_used() const { return executor_.threads_used(); }

private:
    static const Target& target() {
        const Target* const found = chosen_target();
        if (found == nullptr)
            throw std::runtime_error("DELTARULE_TARGET names a target that this machine lacks");
        return *found;
    }
    static int checked_bits(int bits) {
        expect(bits == 32 || bits == 64, "bits must be 32 or 64");
        return bits;
    }

    const Description& network() const { return executor_.network(); }
    long state_size() const { return network().states() * network().parameter_count; }

    Executor::Data data_of(const In& x, const nb::object& y, const nb::object& weights) const {
        Executor::Data data;
        data.input = table_of(x);
        const size_t rows = x.shape(0);
        expect(data.input.columns == inputs_ && rows >= 1, "x has the wrong shape");
        if (!y.is_none()) {
            const In t = array_of<In>(y, "y is an array");
            data.targets = table_of(t);
            expect(t.shape(0) == rows, "x and y differ in length");
            if (data.targets.columns == 0) {
                expect(network().loss == Loss::cross_entropy && data.targets.number == Number::int64,
                       "y has the wrong form");
                expect(all_below(static_cast<const int64_t*>(t.data()), rows, outputs_),
                       "a label is no class");
            } else {
                expect(data.targets.columns == outputs_, "y has the wrong number of columns");
            }
        }
        if (!weights.is_none()) {
            const In w = array_of<In>(weights, "weights are an array");
            data.weights = table_of(w);
            expect(data.weights.number == Number::float64 && w.shape(0) == rows, "wrong weights");
            if (w.ndim() == 2)
                expect(data.weights.columns == outputs_ && network().loss &&
                           !loss_traits[int(*network().loss)].of_rows,
                       "this loss, or its number of outputs, does not fit the weights");
        }
        return data;
    }

    // Whether a step may train on these arrays as they are; then they are the run's data.
    bool takes(const Accepted& accepted, const In& x, const In& y, TrainingRun& run) const {
        const auto readable = [](const In& array) {
            const auto number = known_number(array.dtype());
            return number && has_contiguous_rows(array) &&
                   reinterpret_cast<uintptr_t>(array.data()) % (array.dtype().bits / 8) == 0;
        };
        if (x.ndim() != 2 || y.ndim() < 1 || y.ndim() > 2 || !readable(x) || !readable(y)) return false;
        const long rows = long(x.shape(0));
        if (long(x.shape(1)) != inputs_ || rows < accepted.rows || long(y.shape(0)) != rows) return false;
        run.input = table_of(x);
        run.targets = table_of(y);
        if (accepted.labels) {
            if (y.ndim() != 1 || run.targets.number != Number::int64 ||
                !all_below(static_cast<const int64_t*>(y.data()), size_t(rows), outputs_))
                return false;
        } else {
            if (y.ndim() == 1) run.targets.columns = 1;
            if (run.targets.columns != outputs_ ||
                !all_between(run.targets, rows, accepted.lowest, accepted.highest))
                return false;
        }
        return all_between(run.input, rows, -accepted.largest, accepted.largest);
    }

    // Rows of all steps of a run.
    static long rows_of(const TrainingRun& run, long epochs) {
        if (epochs == 0) return 0;
        const auto before = [&](long batch) { return std::min(batch * run.batch_size, run.visited); };
        const long end = run.first_batch + run.steps - (epochs - 1) * run.steps_per_epoch;
        return (epochs - 1) * before(run.steps_per_epoch) + before(end) - before(run.first_batch);
    }

    void* checked(const Out& array, long count) const {
        const Number own = bits_ == 64 ? Number::float64 : Number::float32;
        expect(long(array.size()) == count, "an array has the wrong size");
        expect(count == 0 || number_of(array.dtype()) == own, "an array has the wrong dtype");
        return array.data();
    }

    Executor executor_;
    std::atomic<bool> taken_{false};
    int bits_;
    long inputs_, outputs_;
    std::vector<double> squares_;  // of a single step's gradients
};

}  // namespace

void bind_executor(nb::module_& m) {
    const nb::object base = nb::module_::import_("deltarule.base.errors").attr("InUseError");
    nb::exception<InUse>(m, "InUse", base);
    nb::class_<Accepted>(m, "Accepted", "Which examples a step may train on as they are.")
        .def(nb::init<>())
        .def_rw("rows", &Accepted::rows, "At least.")
        .def_rw("largest", &Accepted::largest, "Inputs from -largest to it.")
        .def_rw("lowest", &Accepted::lowest, "Targets from here on, if they are no labels.")
        .def_rw("highest", &Accepted::highest)
        .def_rw("labels", &Accepted::labels, "Whether targets are class labels.");
    nb::class_<NativeExecutor>(m, "Executor", "A network bound to memory, that trains and predicts.")
        .def(nb::init<const Description&, int, int>(), nb::arg("network"), nb::kw_only(), nb::arg("bits"),
             nb::arg("threads"))
        .def("train", &NativeExecutor::train, nb::kw_only(), nb::arg("x"), nb::arg("y"),
             nb::arg("weights").none(), nb::arg("order").none(), nb::arg("batch_size"),
             nb::arg("steps_per_epoch"), nb::arg("first_batch"), nb::arg("first_step"), nb::arg("steps"),
             nb::arg("seed"), nb::arg("scalars").noconvert(), nb::arg("group").none() = nb::none(),
             nb::arg("parameters").noconvert(), nb::arg("running").noconvert(), nb::arg("outputs").none(),
             nb::arg("outputs_by_row"), nb::arg("loss_sum").noconvert(), nb::arg("weight_sum").noconvert(),
             nb::arg("penalty_sum").noconvert(), nb::arg("gradient_squares").noconvert(),
             nb::arg("updates").noconvert(), nb::arg("step_losses").noconvert(), nb::arg("stop"),
             nb::arg("outcome").noconvert(),
             "Do some steps; the records, a row for each epoch touched, are added to, and the losses of each "
             "step are set. The outcome, set even where "
             "Python raises meanwhile: steps done, whether `stop` ended it, where it diverged.")
        .def("step", &NativeExecutor::step, nb::arg("x"), nb::arg("y"), nb::arg("accepted"),
             nb::arg("scalars").noconvert(), nb::arg("row"), nb::arg("step"), nb::arg("seed"),
             nb::arg("parameters").noconvert(), nb::arg("running").noconvert(), nb::arg("stop"),
             nb::arg("done").noconvert(),
             "Do one step on a batch and return its loss. None, and nothing has changed, where the batch is "
             "not "
             "accepted, a value is not finite, or `stop` ended it. Done, set even where Python raises "
             "meanwhile: "
             "0 or 1 steps.")
        .def("forward", &NativeExecutor::forward, nb::kw_only(), nb::arg("x"), nb::arg("y").none(),
             nb::arg("weights").none(), nb::arg("parameters").noconvert(), nb::arg("running").noconvert(),
             nb::arg("out").none())
        .def("set_optimizer_state", &NativeExecutor::set_optimizer_state, nb::arg("flat").noconvert())
        .def("get_optimizer_state", &NativeExecutor::get_optimizer_state, nb::arg("flat").noconvert())
        .def_prop_ro("threads_used", &NativeExecutor::threads_used);
}

}  // namespace deltarule
