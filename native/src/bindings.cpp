// The module: vector targets, kinds, random orders. Numbers, names and arrays in, numbers, names and arrays out; what
// would read or write out of bounds is refused (description.cpp, bind_executor.cpp).
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <climits>
#include <memory>
#include <optional>

#include "bind.hpp"
#include "interpreter.hpp"
#include "kernels.hpp"
#include "names.hpp"
#include "permutations.hpp"

namespace deltarule {

namespace {

std::string target_name() {
    const Target* const found = chosen_target();
    return found == nullptr ? std::string() : std::string(found->name);
}

std::vector<std::string> target_names() {
    int count = 0;
    const Target* const all = targets(&count);
    std::vector<std::string> names;
    for (int i = 0; i < count; ++i)
        if (all[i].supported()) names.emplace_back(all[i].name);
    return names;
}

// The lists of kinds.hpp: {family: {name: what it needs}}.
nb::dict kinds() {
    nb::dict activations, losses, rules, operations, families;
    for (const ActivationTraits& f : activation_traits) {
        nb::dict needs;
        needs["settings"] = names_in(f.setting);
        activations[f.name] = needs;
    }
    for (const LossTraits& loss : loss_traits) {
        nb::dict needs;
        needs["settings"] = names_in(loss.setting);
        losses[loss.name] = needs;
    }
    for (const RuleTraits& rule : rule_traits) {
        nb::dict needs;
        needs["states"] = rule.states;
        needs["scalars"] = names_in(rule.scalar_names);
        rules[rule.name] = needs;
    }
    for (const OperationTraits& op : operation_traits) {
        std::vector<std::string> parameters, optional;
        for (std::string name : names_in(op.parameters)) {
            if (name.back() == '?') {
                name.pop_back();
                optional.push_back(name);
            }
            parameters.push_back(name);
        }
        nb::dict needs;
        needs["sources"] = op.sources;
        needs["parameters"] = parameters;
        needs["optional"] = optional;
        needs["state"] = names_in(op.state);
        needs["settings"] = names_in(op.settings);
        needs["lists"] = names_in(op.lists);
        operations[op.name] = needs;
    }
    families["activation"] = activations;
    families["loss"] = losses;
    families["rule"] = rules;
    families["operation"] = operations;
    return families;
}

using Orders = nb::ndarray<nb::numpy, int64_t, nb::ndim<2>>;

constexpr long much = 10000;  // values that take long enough for others to run meanwhile

Orders random_orders(uint64_t seed, int purpose, uint64_t first_step, long count, uint32_t row, long n) {
    expect(purpose >= 0 && purpose < 16, "purpose must be below 16");
    expect(count >= 0 && n >= 0 && (n == 0 || count <= LONG_MAX / 8 / n), "wrong number of orders or rows");
    expect(n <= long(UINT32_MAX), "random orders have fewer than 2^32 rows");
    std::unique_ptr<int64_t[]> orders(new int64_t[size_t(count * n)]);
    {
        std::optional<Outside> outside;
        if (count * n > much) outside.emplace();
        permutations(seed, Purpose(purpose), first_step, count, row, n, orders.get());
    }
    int64_t* const data = orders.release();
    const nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<int64_t*>(p); });
    return Orders(data, {size_t(count), size_t(n)}, owner);
}

// Single-precision GFLOP/s of one core in the target in use, by multiply-adds in registers.
double peak_gflops(long repeats) {
    const Target* const found = chosen_target();
    expect(found != nullptr, "no vector target is in use");
    expect(repeats > 0, "repeats must be positive");
    const Outside outside;
    double sum;
    const auto start = std::chrono::steady_clock::now();
    const double operations = found->float32->multiply_adds(repeats, &sum);
    return 1e-9 * operations /
           std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

NB_MODULE(_native, m) {
    m.def(
        "target", &target_name,
        "Name of the vector target in use; empty where DELTARULE_TARGET names one that this machine lacks.");
    m.def("targets", &target_names, "Names of the vector targets that this machine has, the best first.");
    m.def("kinds", &kinds,
          "What the core knows: {\"activation\" | \"loss\" | \"rule\" | \"operation\": {name: what it "
          "needs}}.");
    m.def("permutations", &random_orders, nb::kw_only(), nb::arg("seed"), nb::arg("purpose"),
          nb::arg("first_step"), nb::arg("count"), nb::arg("row"), nb::arg("n"),
          "Random orders (count, n): row e is the stable argsort of the n words of step first_step + e.");
    m.def("peak_gflops", &peak_gflops, nb::arg("repeats"),
          "Single-precision GFLOP/s that this core reaches now, by multiply-adds in registers.");
    nb::set_leak_warnings(false);  // a daemon thread keeps what it has when the interpreter ends
    bind_program(m);
    bind_executor(m);
    bind_interpreter(m);
}

}  // namespace deltarule
