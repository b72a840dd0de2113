// What Python sees: numbers and arrays in, numbers and arrays out. Checks live in the adapter
// (deltarule/engines/native.py); here only what would otherwise read or write out of bounds.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "engine.hpp"
#include "pool.hpp"

namespace nb = nanobind;

namespace deltarule {

namespace {

using In = nb::ndarray<nb::ro, nb::device::cpu>;
using Out = nb::ndarray<nb::device::cpu, nb::c_contig>;

Number number_of(nb::dlpack::dtype dtype) {
    if (dtype == nb::dtype<float>()) return Number::float32;
    if (dtype == nb::dtype<double>()) return Number::float64;
    if (dtype == nb::dtype<int64_t>()) return Number::int64;
    if (dtype == nb::dtype<int32_t>()) return Number::int32;
    if (dtype == nb::dtype<uint8_t>()) return Number::uint8;
    throw nb::type_error("the native engine reads float32, float64, int64, int32 and uint8");
}

// A matrix whose rows are contiguous, or a vector (columns = 0).
Table table_of(const In& array) {
    Table table;
    table.data = array.data();
    table.number = number_of(array.dtype());
    table.columns = array.ndim() == 2 ? long(array.shape(1)) : 0;
    table.stride = array.ndim() == 2 ? long(array.stride(0)) : 1;
    const int64_t inner = array.ndim() == 2 ? array.stride(1) : array.stride(0);
    const size_t columns = array.ndim() == 2 ? array.shape(1) : array.shape(0);
    if (array.ndim() > 2 || (inner != 1 && columns > 1)) throw nb::value_error("rows must be contiguous");
    return table;
}

void expect(bool holds, const char* message) {
    if (!holds) throw nb::value_error(message);
}

// (kind, source, other, target, weight, bias, activation, setting, momentum, running_mean, running_var,
//  frozen, position)
Operation operation_of(nb::handle item) {
    const nb::tuple t = nb::cast<nb::tuple>(item);
    const auto whole = [&](size_t i) { return nb::cast<long>(t[i]); };
    const auto real = [&](size_t i) { return nb::cast<double>(t[i]); };
    Operation op;
    op.kind = Kind(whole(0));
    op.source = int(whole(1));
    op.other = int(whole(2));
    op.target = int(whole(3));
    op.weight = int(whole(4));
    op.bias = int(whole(5));
    op.activation = Activation(whole(6));
    op.setting = real(7);
    op.momentum = real(8);
    op.running_mean = whole(9);
    op.running_var = whole(10);
    op.frozen = whole(11) != 0;
    op.position = int(whole(12));
    return op;
}

// (offset, rows, columns, factor, l1, l2, max_norm, decays)
Parameter parameter_of(nb::handle item) {
    const nb::tuple t = nb::cast<nb::tuple>(item);
    Parameter p;
    p.offset = nb::cast<long>(t[0]);
    p.rows = nb::cast<long>(t[1]);
    p.columns = nb::cast<long>(t[2]);
    p.factor = nb::cast<double>(t[3]);
    p.l1 = nb::cast<double>(t[4]);
    p.l2 = nb::cast<double>(t[5]);
    p.max_norm = nb::cast<double>(t[6]);
    p.decays = nb::cast<bool>(t[7]);
    return p;
}

bool poll(void* context) {
    const nb::gil_scoped_acquire held;
    if (PyErr_CheckSignals() != 0) {
        // A handler raised: stop at once; the error is raised when the network has been written back.
        return true;
    }
    return nb::cast<bool>((*static_cast<nb::object*>(context))());
}

class NativeExecutor {
public:
    NativeExecutor(const nb::list& operations, const std::vector<long>& widths, const nb::list& parameters,
                   int loss, double loss_setting, bool canonical, bool mean, int rule, int states,
                   double clip_value, double clip_norm, long parameter_count, long state_count, int bits,
                   int threads, double work_per_thread)
        : executor_(describe(operations, widths, parameters, loss, loss_setting, canonical, mean, rule,
                             states, clip_value, clip_norm, parameter_count, state_count, work_per_thread),
                    bits, threads, target()),
          inputs_(widths.at(0)), outputs_(widths.back()), parameters_(parameter_count), state_(state_count),
          states_(states), bits_(bits) {
        for (const nb::handle item : operations) outputs_ = widths.at(size_t(operation_of(item).target));
    }

    nb::dict train(const In& x, const In& y, const nb::object& weights, long batch_size, bool drop_last,
                   bool shuffle, const nb::object& order, uint64_t seed, long first_epoch, long first_step,
                   long epochs, const In& rows, const Out& parameters, const Out& running,
                   const nb::object& outputs, const Out& loss_sum, const Out& weight_sum,
                   const Out& penalty_sum, const Out& gradient_squares, const Out& updates, nb::object stop) {
        TrainingRun run;
        run.rows = long(x.shape(0));
        run.inputs = table_of(x);
        run.targets = table_of(y);
        expect(run.inputs.columns == inputs_, "x has the wrong number of columns");
        expect(long(y.shape(0)) == run.rows, "x and y differ in length");
        expect(run.targets.columns == outputs_ ||
                   (run.targets.columns == 0 && run.targets.number == Number::int64),
               "y has the wrong form");
        if (!weights.is_none()) {
            const In w = nb::cast<In>(weights);
            run.weights = table_of(w);
            expect(run.weights.number == Number::float64 && long(w.shape(0)) == run.rows, "wrong weights");
        }
        if (!order.is_none()) {
            const In o = nb::cast<In>(order);
            expect(number_of(o.dtype()) == Number::int64 && long(o.shape(0)) == run.rows, "wrong order");
            run.order = static_cast<const int64_t*>(o.data());
            for (long i = 0; i < run.rows; ++i)
                expect(run.order[i] >= 0 && run.order[i] < run.rows, "the order leaves the data");
        }
        run.batch_size = batch_size;
        expect(batch_size >= 1 && epochs >= 0, "wrong batch size or number of epochs");
        run.drop_last = drop_last;
        run.shuffle = shuffle;
        run.seed = seed;
        run.first_epoch = first_epoch;
        run.first_step = first_step;
        run.epochs = epochs;
        const long steps =
            epochs * (drop_last ? run.rows / batch_size : (run.rows + batch_size - 1) / batch_size);
        expect(rows.ndim() == 2 && number_of(rows.dtype()) == Number::float64 &&
                   long(rows.shape(0)) >= steps && long(rows.shape(1)) <= most_scalars,
               "wrong rows of scalars");
        run.scalars = static_cast<const double*>(rows.data());
        run.scalars_per_row = long(rows.shape(1));
        run.parameters = checked(parameters, parameters_);
        run.running = checked(running, state_);
        if (!outputs.is_none()) run.outputs = checked(nb::cast<Out>(outputs), run.rows * outputs_);
        run.loss_sum = per_epoch(loss_sum, epochs);
        run.weight_sum = per_epoch(weight_sum, epochs);
        run.penalty_sum = per_epoch(penalty_sum, epochs);
        run.gradient_squares = per_epoch(gradient_squares, epochs);
        expect(number_of(updates.dtype()) == Number::int64 && long(updates.size()) >= epochs,
               "wrong updates");
        run.updates = static_cast<int64_t*>(updates.data());
        run.poll = poll;
        run.poll_context = &stop;
        {
            const nb::gil_scoped_release released;
            executor_.train(run);
        }
        if (PyErr_Occurred() != nullptr) throw nb::python_error();
        nb::dict result;
        result["epochs_done"] = run.epochs_done;
        result["steps_done"] = run.steps_done;
        result["interrupted"] = run.interrupted;
        result["diverged"] = run.diverged;
        return result;
    }

    // Fills `out` (rows, outputs); with targets also returns the sums of w_i l_i and of w_i.
    nb::tuple forward(const In& x, const nb::object& y, const nb::object& weights, const Out& parameters,
                      const Out& running, const nb::object& out) {
        Executor::Data data;
        const long rows = long(x.shape(0));
        data.inputs = table_of(x);
        expect(data.inputs.columns == inputs_ && rows >= 1, "x has the wrong shape");
        if (!y.is_none()) {
            const In t = nb::cast<In>(y);
            data.targets = table_of(t);
            expect(long(t.shape(0)) == rows &&
                       (data.targets.columns == outputs_ ||
                        (data.targets.columns == 0 && data.targets.number == Number::int64)),
                   "y has the wrong form");
        }
        if (!weights.is_none()) {
            const In w = nb::cast<In>(weights);
            data.weights = table_of(w);
            expect(data.weights.number == Number::float64 && long(w.shape(0)) == rows, "wrong weights");
        }
        void* const to = out.is_none() ? nullptr : checked(nb::cast<Out>(out), rows * outputs_);
        const void* const p = checked(parameters, parameters_);
        const void* const s = checked(running, state_);
        Executor::Sums sums;
        {
            const nb::gil_scoped_release released;
            executor_.forward(p, s, data, rows, to, y.is_none() ? nullptr : &sums);
        }
        return nb::make_tuple(sums.loss, sums.weight);
    }

    void set_moments(const Out& flat) { executor_.set_moments(checked(flat, parameters_ * states_)); }
    void get_moments(const Out& flat) const { executor_.get_moments(checked(flat, parameters_ * states_)); }

    int threads_used() const { return executor_.threads_used(); }

private:
    static const Target& target() {
        const Target* const found = chosen_target();
        if (found == nullptr)
            throw std::runtime_error("DELTARULE_TARGET names a target this machine has not");
        return *found;
    }

    static Description describe(const nb::list& operations, const std::vector<long>& widths,
                                const nb::list& parameters, int loss, double loss_setting, bool canonical,
                                bool mean, int rule, int states, double clip_value, double clip_norm,
                                long parameter_count, long state_count, double work_per_thread) {
        Description d;
        for (const nb::handle item : operations) d.operations.push_back(operation_of(item));
        for (const nb::handle item : parameters) d.parameters.push_back(parameter_of(item));
        d.widths = widths;
        d.loss = Loss(loss);
        d.loss_setting = loss_setting;
        d.canonical = canonical;
        d.mean = mean;
        d.rule = Rule(rule);
        d.states = states;
        d.clip_value = clip_value;
        d.clip_norm = clip_norm;
        d.parameter_count = parameter_count;
        d.state_count = state_count;
        d.work_per_thread = work_per_thread;
        return d;
    }

    void* checked(const Out& array, long count) const {
        const Number own = bits_ == 64 ? Number::float64 : Number::float32;
        expect(long(array.size()) == count, "an array has the wrong size");
        expect(count == 0 || number_of(array.dtype()) == own, "an array has the wrong dtype");
        return array.data();
    }
    static double* per_epoch(const Out& array, long epochs) {
        expect(number_of(array.dtype()) == Number::float64 && long(array.size()) >= epochs, "wrong record");
        return static_cast<double*>(array.data());
    }

    Executor executor_;
    long inputs_, outputs_, parameters_, state_, states_;
    int bits_;
};

}  // namespace

NB_MODULE(_native, m) {
    m.def(
        "target",
        [] {
            const Target* const found = chosen_target();
            return found == nullptr ? std::string() : std::string(found->name);
        },
        "Name of the vector target in use; empty where DELTARULE_TARGET names one this machine has not.");
    m.def(
        "targets",
        [] {
            int count = 0;
            const Target* const all = targets(&count);
            std::vector<std::string> names;
            for (int i = 0; i < count; ++i)
                if (all[i].supported()) names.emplace_back(all[i].name);
            return names;
        },
        "Names of the vector targets that this machine has, the best first.");
    m.def("processors", &available_processors, "Processors this process may use.");
    nb::class_<NativeExecutor>(m, "Executor")
        .def(nb::init<const nb::list&, const std::vector<long>&, const nb::list&, int, double, bool, bool,
                      int, int, double, double, long, long, int, int, double>(),
             nb::kw_only(), nb::arg("operations"), nb::arg("widths"), nb::arg("parameters"), nb::arg("loss"),
             nb::arg("loss_setting"), nb::arg("canonical"), nb::arg("mean"), nb::arg("rule"),
             nb::arg("states"), nb::arg("clip_value"), nb::arg("clip_norm"), nb::arg("parameter_count"),
             nb::arg("state_count"), nb::arg("bits"), nb::arg("threads"), nb::arg("work_per_thread"))
        .def("train", &NativeExecutor::train, nb::kw_only(), nb::arg("x"), nb::arg("y"),
             nb::arg("weights").none(), nb::arg("batch_size"), nb::arg("drop_last"), nb::arg("shuffle"),
             nb::arg("order").none(), nb::arg("seed"), nb::arg("first_epoch"), nb::arg("first_step"),
             nb::arg("epochs"), nb::arg("rows"), nb::arg("parameters").noconvert(),
             nb::arg("running").noconvert(), nb::arg("outputs").none(), nb::arg("loss_sum").noconvert(),
             nb::arg("weight_sum").noconvert(), nb::arg("penalty_sum").noconvert(),
             nb::arg("gradient_squares").noconvert(), nb::arg("updates").noconvert(), nb::arg("stop"))
        .def("forward", &NativeExecutor::forward, nb::kw_only(), nb::arg("x"), nb::arg("y").none(),
             nb::arg("weights").none(), nb::arg("parameters").noconvert(), nb::arg("running").noconvert(),
             nb::arg("out").none())
        .def("set_moments", &NativeExecutor::set_moments, nb::arg("flat").noconvert())
        .def("get_moments", &NativeExecutor::get_moments, nb::arg("flat").noconvert())
        .def_prop_ro("threads_used", &NativeExecutor::threads_used);
}

}  // namespace deltarule
