#include "description.hpp"

#include <cmath>
#include <stdexcept>

#include "names.hpp"

namespace deltarule {

namespace {

constexpr long most_values = 1L << 48;   // of a vector or in a row: what is computed from it fits into a long
constexpr int most_positions = 1 << 20;  // in the counter of random words

class Checker {
public:
    explicit Checker(const Description& network)
        : net_(network), written_(network.widths.size(), false), read_(network.widths.size(), false),
          used_(network.parameters.size(), false) {}

    void check() {
        check_vectors();
        expect(!net_.operations.empty(), "a network without operations");
        written_[0] = true;
        for (index_ = 0; index_ < net_.operations.size(); ++index_) check_operation(net_.operations[index_]);
        const size_t end = size_t(net_.operations.back().target);
        for (size_t slot = 0; slot < net_.widths.size(); ++slot)
            expect(written_[slot] && (read_[slot] || slot == end), "a slot that is not written or not read");
        for (const bool used : used_) expect(used, "a parameter that no operation has");
        check_loss();
        expect(net_.clip_value >= 0 && net_.clip_norm >= 0, "limits of clipping must not be negative");
        expect(net_.work_per_thread > 0, "work_per_thread must be above 0");
    }

private:
    [[noreturn]] void fail(const std::string& what) const {
        throw std::invalid_argument("native core: " + what);
    }
    void expect(bool holds, const char* what) const {
        if (!holds) fail(what);
    }
    // About the operation at hand.
    void expect_here(bool holds, const std::string& what) const {
        if (holds) return;
        const char* const name = operation_traits[int(net_.operations[index_].kind)].name;
        fail("operation " + std::to_string(index_) + " (" + name + "): " + what);
    }

    void check_vectors() const {
        expect(net_.parameter_count >= 0 && net_.parameter_count <= most_values && net_.state_count >= 0 &&
                   net_.state_count <= most_values,
               "wrong length of a flat vector");
        expect(!net_.widths.empty() && net_.widths.size() < size_t(most_values), "a network without slots");
        for (const long width : net_.widths)
            expect(width >= 1 && width <= most_values, "every slot must have columns");
        long end = 0;
        for (const Parameter& p : net_.parameters) {
            expect(p.rows >= 1 && p.columns >= 1 && p.rows <= most_values / p.columns,
                   "a parameter without values");
            expect(p.offset >= end && p.offset <= net_.parameter_count - p.rows * p.columns,
                   "a parameter that leaves the flat vector or overlaps the one before");
            expect(std::isfinite(p.factor) && p.l1 >= 0 && p.l2 >= 0 && p.max_norm >= 0,
                   "a parameter's factor, penalty or constraint is no number that makes sense");
            end = p.offset + p.rows * p.columns;
        }
    }

    void check_operation(const Operation& op) {
        const OperationTraits& needs = operation_traits[int(op.kind)];
        expect_here(op.sources.size() == size_t(needs.sources), "needs " + std::to_string(needs.sources) +
                                                                    " source(s), got " +
                                                                    std::to_string(op.sources.size()));
        for (const int slot : op.sources) {
            expect_here(is_slot(slot) && written_[size_t(slot)], "reads a slot that nothing has written");
            read_[size_t(slot)] = true;
        }
        expect_here(is_slot(op.target) && !written_[size_t(op.target)], "writes no slot of its own");
        written_[size_t(op.target)] = true;
        const long in = width(op.source()), out = width(op.target);
        check_names(op.parameters, needs.parameters, "parameter");
        check_names(op.state, needs.state, "statistic");
        const bool activates = op.kind == Kind::activation;
        const char* const settings =
            activates ? activation_traits[int(op.activation)].setting : needs.settings;
        check_names(op.settings, settings, "setting");
        check_names(op.lists, needs.lists, "list");
        for (const auto& [name, value] : op.settings)
            expect_here(std::isfinite(value), name + " is not finite");
        if (needs.shapes == Shapes::own) {  // which its compiler checks
            for (const auto& [name, i] : op.parameters) check_parameter(name, i);
            return;
        }
        if (op.kind != Kind::dense)
            for (const int slot : op.sources)
                expect_here(width(slot) == out, "its sources and target differ in width");
        for (const auto& [name, i] : op.parameters)
            check_parameter(name, i, op.kind == Kind::dense && name == "weight" ? in : 1, out);
        for (const auto& [name, offset] : op.state)
            expect_here(offset >= 0 && offset <= net_.state_count - out, name + " leaves the flat vector");
        if (op.kind == Kind::dropout) {
            const double rate = op.settings.at("rate");
            expect_here(rate >= 0 && rate < 1, "rate must be at least 0 and below 1");
        }
        expect_here(op.position >= 0 && op.position < most_positions, "position must be below 2^20");
    }

    bool is_slot(int slot) const { return slot >= 0 && size_t(slot) < net_.widths.size(); }
    long width(int slot) const { return net_.widths[size_t(slot)]; }

    // Exactly the names of a list; one that ends with "?" may be missing.
    template <class Value>
    void check_names(const std::map<std::string, Value>& given, const char* list, const char* what) const {
        size_t found = 0;
        for (std::string name : names_in(list)) {
            const bool may_be_missing = name.back() == '?';
            if (may_be_missing) name.pop_back();
            const bool has = given.count(name) > 0;
            expect_here(has || may_be_missing, std::string("misses the ") + what + " '" + name + "'");
            found += has;
        }
        if (found == given.size()) return;
        std::string known = *list == 0 ? "none" : list;
        expect_here(false, std::string("has an unknown ") + what + "; known: " + known);
    }

    void check_parameter(const std::string& name, int i) {
        expect_here(i >= 0 && size_t(i) < net_.parameters.size(), name + " is no index of a parameter");
        expect_here(!used_[size_t(i)], name + " is another operation's parameter");
        used_[size_t(i)] = true;
    }
    void check_parameter(const std::string& name, int i, long rows, long columns) {
        check_parameter(name, i);
        const Parameter& p = net_.parameters[size_t(i)];
        expect_here(p.rows == rows && p.columns == columns,
                    name + " must have shape (" + std::to_string(rows) + ", " + std::to_string(columns) +
                        "), got (" + std::to_string(p.rows) + ", " + std::to_string(p.columns) + ")");
    }

    void check_loss() const {
        const char* const settings = net_.loss ? loss_traits[int(*net_.loss)].setting : "";
        if (net_.loss_settings.size() != names_in(settings).size() ||
            (*settings != 0 && net_.loss_settings.count(settings) == 0))
            fail("the loss needs the settings (" + std::string(settings) + "), got others");
        for (const auto& [name, value] : net_.loss_settings)
            if (!std::isfinite(value)) fail(name + " is not finite");
        expect(!net_.loss || net_.canonical || loss_traits[int(*net_.loss)].pairs == Pairs::any,
               "this loss needs its canonical output activation");
        expect(!net_.rule || net_.loss, "an update rule without a loss");
    }

    const Description& net_;
    size_t index_ = 0;
    std::vector<bool> written_, read_, used_;
};

}  // namespace

void check(const Description& network) { Checker(network).check(); }

double only_setting(const std::map<std::string, double>& settings) {
    return settings.empty() ? 0 : settings.begin()->second;
}

}  // namespace deltarule
