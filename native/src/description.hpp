// A network as Python describes it: operations, parameters, loss and update rule, all by name.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kinds.hpp"

namespace deltarule {

// One operation; slots as in the plan: slot 0 is the input. What each kind needs is in kinds.hpp.
struct Operation {
    Kind kind = Kind::dense;
    std::vector<int> sources;  // slots
    int target = 0;
    std::map<std::string, int> parameters;  // indices into Description::parameters
    std::map<std::string, long> state;      // offsets in the flat vector of running statistics
    std::map<std::string, double> settings;
    std::map<std::string, std::vector<long>> lists;
    Activation activation = Activation::identity;  // of Kind::activation
    int position = 0;                              // dropout: layer, in the counter of random words
    bool frozen = false;                           // batch_norm: running statistics in training too

    int source() const { return sources[0]; }
    // -1: there is none of that name.
    int parameter(const char* name) const {
        const auto found = parameters.find(name);
        return found == parameters.end() ? -1 : found->second;
    }
};

struct Parameter {
    long offset = 0, rows = 1, columns = 0;  // in the flat vector; a vector has one row
    double factor = 1;                       // on the learning rate; 0: frozen
    double l1 = 0, l2 = 0, max_norm = 0;     // penalty, constraint; 0: none
    bool decays = false;                     // decoupled weight decay applies
    bool over_batch = false;                 // the penalty is divided by the batch's total weight
};

struct Description {
    std::vector<Operation> operations;
    std::vector<long> widths;  // of each slot
    std::vector<Parameter> parameters;
    std::optional<Loss> loss;  // without one it only predicts
    std::map<std::string, double> loss_settings;
    bool canonical = false;  // the loss is paired with its canonical output activation
    bool mean = true;        // the loss of a batch is divided by the sum of its weights
    std::optional<Rule> rule;
    double clip_value = 0, clip_norm = 0;  // 0: none
    bool bfloat16 = false;  // in training, products of dense layers read numbers rounded to bfloat16
    long parameter_count = 0, state_count = 0;  // of the flat vectors
    double work_per_thread = 4e5;               // multiplications that repay another thread

    int states() const { return rule ? rule_traits[int(*rule)].states : 0; }
    int scalars() const { return rule ? rule_traits[int(*rule)].scalars : 0; }
};

// Throws std::invalid_argument unless all that the compiler and the kernels take for granted holds: names complete,
// slots written before they are read, shapes that fit, everything within the flat vectors.
void check(const Description& network);

// The one setting of an activation or loss; 0 where it has none.
double only_setting(const std::map<std::string, double>& settings);

}  // namespace deltarule
