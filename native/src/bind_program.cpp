// A network's description as Python writes it.
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bind.hpp"
#include "description.hpp"
#include "names.hpp"

namespace deltarule {

namespace {

using Name = std::optional<std::string>;

void bind_operation(nb::module_& m) {
    nb::class_<Operation>(m, "Operation", "One operation of a plan; kinds() says what each needs.")
        .def(nb::init<>())
        .def_prop_rw(
            "kind", [](const Operation& op) { return operation_traits[int(op.kind)].name; },
            [](Operation& op, const std::string& name) { op.kind = operation_named(name); })
        .def_rw("sources", &Operation::sources, "Slots that are read.")
        .def_rw("target", &Operation::target, "The slot that is written.")
        .def_rw("parameters", &Operation::parameters, "Indices into Description.parameters, by name.")
        .def_rw("state", &Operation::state, "Offsets in the flat vector of running statistics, by name.")
        .def_rw("settings", &Operation::settings, "Numbers by name; for an activation those of the function.")
        .def_rw("lists", &Operation::lists, "Lists of whole numbers by name.")
        .def_prop_rw(
            "activation", [](const Operation& op) { return activation_traits[int(op.activation)].name; },
            [](Operation& op, const std::string& name) { op.activation = activation_named(name); })
        .def_rw("position", &Operation::position, "The layer in the counter of the random words.")
        .def_rw("frozen", &Operation::frozen, "Whether running statistics are used in training too.");
}

void bind_parameter(nb::module_& m) {
    nb::class_<Parameter>(m, "Parameter", "A parameter's place in the flat vector, and what acts on it.")
        .def(nb::init<>())
        .def_rw("offset", &Parameter::offset)
        .def_rw("rows", &Parameter::rows, "1 for a vector.")
        .def_rw("columns", &Parameter::columns)
        .def_rw("factor", &Parameter::factor, "On the learning rate; 0: frozen.")
        .def_rw("l1", &Parameter::l1)
        .def_rw("l2", &Parameter::l2)
        .def_rw("over_batch", &Parameter::over_batch)
        .def_rw("max_norm", &Parameter::max_norm, "Of each unit's incoming weights; 0: none.")
        .def_rw("decays", &Parameter::decays, "Whether decoupled weight decay applies.");
}

}  // namespace

void bind_program(nb::module_& m) {
    bind_operation(m);
    bind_parameter(m);
    nb::class_<Description>(m, "Description",
                            "A network, its loss and its update rule. (Set lists as a whole.)")
        .def(nb::init<>())
        .def_rw("operations", &Description::operations)
        .def_rw("widths", &Description::widths, "Columns of each slot; slot 0 is the input.")
        .def_rw("parameters", &Description::parameters)
        .def_prop_rw(
            "loss",
            [](const Description& d) { return d.loss ? Name(loss_traits[int(*d.loss)].name) : Name(); },
            [](Description& d, const Name& name) {
                d.loss = name ? std::optional(loss_named(*name)) : std::nullopt;
            },
            nb::for_setter(nb::arg("name").none()))
        .def_rw("loss_settings", &Description::loss_settings)
        .def_rw("canonical", &Description::canonical, "Whether the loss has its canonical output activation.")
        .def_rw("mean", &Description::mean, "Whether a batch's loss is divided by the sum of its weights.")
        .def_prop_rw(
            "rule",
            [](const Description& d) { return d.rule ? Name(rule_traits[int(*d.rule)].name) : Name(); },
            [](Description& d, const Name& name) {
                d.rule = name ? std::optional(rule_named(*name)) : std::nullopt;
            },
            nb::for_setter(nb::arg("name").none()))
        .def_rw("clip_value", &Description::clip_value, "0: none.")
        .def_rw("clip_norm", &Description::clip_norm, "0: none.")
        .def_rw("bfloat16", &Description::bfloat16,
                "Whether products of dense layers in training read numbers rounded to bfloat16.")
        .def_rw("parameter_count", &Description::parameter_count, "Length of the flat vector.")
        .def_rw("state_count", &Description::state_count, "Length of the vector of running statistics.")
        .def_rw("work_per_thread", &Description::work_per_thread,
                "Multiplications of a step that repay another thread.");
}

}  // namespace deltarule
