// From a network's operations (as Python lists them) to a program: places in the row tile, fused
// activations, phases, segments and tasks.
#pragma once

#include <vector>

#include "program.hpp"

namespace deltarule {

// One operation; slots as in the plan: slot 0 is the input.
struct Operation {
    Kind kind = Kind::dense;
    int source = 0, other = -1, target = 0;
    int weight = -1, bias = -1;  // parameters; for a normalisation scale and shift
    Activation activation = Activation::identity;
    double setting = 0;  // of the activation; rate of dropout; epsilon of a normalisation
    double momentum = 0;
    long running_mean = -1, running_var = -1;  // offsets in the flat state vector
    bool frozen = false;                       // batch_norm: running statistics in training too
    int position = 0;                          // dropout: layer, in the counter of random words
};

struct Parameter {
    long offset = 0, rows = 1, columns = 0;  // a vector has one row
    double factor = 1, l1 = 0, l2 = 0, max_norm = 0;
    bool decays = false;
};

struct Description {
    std::vector<Operation> operations;
    std::vector<long> widths;  // of each slot
    std::vector<Parameter> parameters;
    Loss loss = Loss::none;
    double loss_setting = 0;
    bool canonical = false, mean = true;
    Rule rule = Rule::sgd;
    int states = 0;
    double clip_value = 0, clip_norm = 0;
    long parameter_count = 0, state_count = 0;  // of the flat vectors
    double work_per_thread = 4e5;               // multiplications that repay another thread's barriers
};

struct Compiled {
    std::vector<Instruction> instructions;
    std::vector<Phase> phases;
    std::vector<Segment> segments;  // one per parameter, in the plan's order
    std::vector<Task> tasks;
    long packed = 0, transposed = 0;  // elements
    long row_size = 0;                // elements of one row of a tile
    long statistics = 0;
    long output = -1;  // place of the network's output
    long output_columns = 0;
    double multiplications = 0;  // per row, forward
    double by_panels = 0;        // of them, those of layers that are cut by panels
    bool only_dense = true;      // no other parameters than those of dense layers
    bool cut = false;            // batch statistics: a step needs all its rows at once
};

enum class Purpose : int { train, evaluate, predict };

// panel: NR of the target; rows: of a batch, at most. Few rows have large layers cut by panels, and up to four
// let backward products read the weights themselves.
Compiled compile(const Description& network, Purpose purpose, int panel, long rows);

}  // namespace deltarule
