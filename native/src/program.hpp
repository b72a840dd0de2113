// What the engine runs: a flat program over tiles of rows and tiles of parameters. Plain data, shared
// by all targets; built by compile.cpp, executed by rows.hpp and parameters.hpp.
//
// A row tile holds up to `capacity` examples. Each value of the network (an activation, a delta, a
// mask) has a place in the tile, given as an offset in elements; there it lies in column panels of NR
// (see gemm.hpp), panels capacity * NR apart. The tiles of a batch follow each other, tile_size
// elements apart, and stay until the parameters phase has read them.
//
// In a columnar program rows fill the lanes instead (columnar_products.hpp): tiles come in groups, a thread's tiles
// have the same memory one after the other, and what stays of a group is its gradient. A parameter then lies as in
// the network's flat vector: as one row, in panels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kinds.hpp"

namespace deltarule {

struct Instruction {
    Kind kind = Kind::gather;
    Activation activation = Activation::identity;  // fused behind dense; or the activation itself
    double setting = 0;                            // of the activation
    long inputs = 0, outputs = 0;                  // columns
    bool by_panels = false;  // dense with few rows: its products are stages of their own, cut by panels
    long panel_group = 1;    // so many panels of outputs an item
    bool deferred = false;   // and the update of its weights is part of the next step's forward product
    int parameter = -1;      // its weights
    // Places in the row tile; -1: there is none.
    long in = -1, in2 = -1;                    // what it reads
    long pre = -1, out = -1;                   // z and a = f(z); one place where f' reads a alone
    long d_out = -1;                           // delta of `out`; once the activation is passed, that of z
    long d_in = -1, d_in2 = -1;                // where dL/d(in) goes
    bool add_d_in = false, add_d_in2 = false;  // something stands there already: add to it
    bool derive = false;  // dense: d_out arrives as dL/da, its own backward makes it dL/dz
    long aux = -1;        // dropout: the scaled mask; normalisation: the normalised values
    long row_aux = -1;    // layer_norm: 1/deviation of each row
    // dense in bfloat16: words of `in` and of its delta, for the sums over columns and over rows (bfloat16.hpp)
    long in_by_columns = -1, in_by_rows = -1, d_by_columns = -1, d_by_rows = -1;
    // The activation that made `in`, where the backward product multiplies by its derivative at once.
    Activation source = Activation::identity;
    double source_setting = 0;
    long source_pre = -1;
    // Offsets in the packed parameters.
    long weight = -1, bias = -1;  // normalisation: scale and shift
    // Copies of the weights for the products, in Program::transposed; -1: none is kept.
    long transposed = -1;                    // what the backward product reads
    long rounded = -1;                       // bfloat16: what the forward product reads
    bool direct = false;                     // it takes dot products from the weights themselves
    long table_rows = 0, table_columns = 0;  // embedding: of the table, whose place is `weight`
    long flat_weight = -1, flat_bias = -1;   // the same in the network's flat vector; -1: no bias
    // Dropout.
    uint32_t layer = 0, threshold = 0;
    double keep_scale = 1;
    double epsilon = 0;  // of a normalisation
    // Batch normalisation: NR-padded columns of statistics, offsets in Program::statistics.
    long mean = -1, variance = -1, rstd = -1, sum_d = -1, sum_dx = -1;
    long running_mean = -1, running_var = -1;  // offsets in Program::running
    double momentum = 0;
    bool use_running = false;
    // Loss.
    Loss loss = Loss::squared_error;
    bool from_z = false;  // with its canonical activation: in2 is z, d_in is dL/dz
    double loss_setting = 0;
};

// One stage of the rows phase. Over row tiles: instructions [forward_first, forward_last) upwards, then
// [backward_first, backward_last) downwards. Over column panels: statistics of one batch normalisation, or
// the products of one dense layer with few rows, forward by panels of its outputs, backward of its inputs.
struct Stage {
    enum class Over : int { rows, statistics, sums, outputs, inputs };
    Over over = Over::rows;
    int forward_first = 0, forward_last = 0;
    int backward_first = 0, backward_last = 0;
    int instruction = -1;
};

// A parameter as it lies in the packed vectors, and what its gradient is made of.
struct PackedParameter {
    enum class Form : int {
        product,     // dW[k, n] = sum_r x[r, k] d[r, n]
        column_sum,  // db[n]    = sum_r d[r, n]
        column_dot,  // ds[n]    = sum_r x[r, n] d[r, n]
        looked_up,   // dt[k, n] = sum of d[r, n] over the rows and columns whose code is k
        by_groups,   // columnar: the sum of what the groups of row tiles give
    };
    Form form = Form::product;
    long inputs = 0, outputs = 0;
    long x = -1, d = -1;                  // places in the row tile
    long x_by_rows = -1, d_by_rows = -1;  // bfloat16: of their words
    long d_columns = 0;                   // looked_up: all columns of d
    long at = 0;                          // in the packed parameters
    long transposed = -1, rounded = -1;   // copies for the products, as in Instruction
    long canonical = 0;                   // in the network's flat vector
    double factor = 1;                    // on the learning rate; 0: frozen
    double l1 = 0, l2 = 0;                // penalty
    bool over_batch = false;              // ... which is divided by the batch's total weight
    bool decays = false;                  // decoupled weight decay applies
    double max_norm = 0;                  // of each unit's incoming weights; 0: none
    long scalars = 0;                     // where its own begin among a step's scalars
    bool deferred = false;                // updated by the next step's forward product
    bool single_row = false;  // a batch of one row: x and d alone make its gradient on the way to the update
};

// A tile of parameters: column panels [p0, p1) and row blocks of NR [q0, q1) of one parameter. The cut
// depends on shapes alone, since the sums below are taken task by task.
inline constexpr int most_task_blocks = 8;  // q1 - q0 at most
struct Task {
    int parameter = 0;
    int p0 = 0, p1 = 0, q0 = 0, q1 = 0;
};

// The larger of both; NaN counts as the largest of all, and stays.
__attribute__((always_inline)) inline double larger(double a, double b) { return a != a || b <= a ? a : b; }

// A sum of squares as value * unit^2, with a unit that keeps it from overflow and underflow. Ordinary sums have unit 1.
struct Squares {
    double value = 0, unit = 1;
    void add(double v, double u = 1) {
        if (u == unit) {
            value += v;
        } else if (v == 0) {
            return;
        } else if (value == 0) {
            value = v;
            unit = u;
        } else if (u < unit) {
            value += v * (u / unit) * (u / unit);
        } else {
            value = value * (unit / u) * (unit / u) + v;
            unit = u;
        }
    }
    void add(const Squares& other) { add(other.value, other.unit); }
    double total() const { return value * unit * unit; }
    double norm() const { return __builtin_sqrt(value) * unit; }
};

// What a task reports of the parameters it has seen.
struct TaskSums {
    Squares squares;  // of the gradient, data plus penalty, before clipping
    double penalty = 0;
    double largest = 0;  // |w| after the update, where a penalty reads it
};

// The largest absolute values that a parameter's gradient is made of; NaN counts as the largest of all.
struct Extent {
    double x = 0, d = 0;
};

// What the parameters phase does with the gradient of a tile.
enum class Consume : int {
    update,      // add the penalty, clip by value, let the optimizer update the weights
    keep,        // add the penalty and store it in Program::gradient
    accumulate,  // store the sum over the rows so far in Program::gradient: more rows follow
};

enum class Number : int { float32, float64, int64, uint8, int32 };

// The examples of one call, as the user has them; rows are C-contiguous, `stride` elements apart.
struct Table {
    const void* data = nullptr;
    Number number = Number::float32;
    long columns = 0, stride = 0;
};

struct Tile {
    long first = 0, rows = 0;  // rows of the batch
    void* base = nullptr;
};

// A column of category codes: code c takes row `first` + c of the table into output columns from `to` on.
struct Lookup {
    long column = 0, first = 0, categories = 0, to = 0;
};

// Everything a kernel needs to know. Pointers of type void* hold float or double.
struct Program {
    const Instruction* instructions = nullptr;
    const PackedParameter* layout = nullptr;
    const Tile* tiles = nullptr;
    int tile_count = 0;
    long capacity = 0, tile_size = 0;  // rows; elements
    // Columnar: the instructions' number, the place of a column of ones, and the gradients of `tile_count` groups,
    // each of `packed` elements.
    int instruction_count = 0;
    long ones = -1, packed = 0;
    void* group_gradients = nullptr;
    // The parameters' values, in panels; the optimizer's state and the gradient in the same layout.
    void* parameters = nullptr;
    const void* flat = nullptr;      // few rows to predict: the network's own vector is read instead
    void* transposed = nullptr;      // copies of the weights
    bool pairs_in_hardware = false;  // bfloat16: whether the processor adds products of pairs
    void* states[most_states] = {};
    void* gradient = nullptr;  // whole gradient, where something needs it
    // Of the embedding, if the network begins with one; and the input columns that pass it, in their order.
    const Lookup* lookups = nullptr;
    int lookup_count = 0;
    const long* passed = nullptr;
    int passed_count = 0;
    void* statistics = nullptr;
    void* running = nullptr;
    // This step.
    Table input, targets, weights;
    const int64_t* order = nullptr;  // rows of the batch; null: first_row, first_row + 1, ...
    int64_t first_row = 0;
    long batch = 0;
    // Per row of the batch: its loss, not weighted, unless every output has a weight of its own; and what the row
    // weighs (null: all 1).
    double* losses = nullptr;
    double* row_weights = nullptr;
    void* outputs = nullptr;     // (n, outputs); null: not wanted
    bool outputs_by_row = true;  // by source row; otherwise the batch's rows from outputs_first on
    int64_t outputs_first = 0;
    uint64_t seed = 0, step = 0;
    // A batch of one row whose updates are deferred: the tile, scale and scalars of the step before; null
    // where nothing is due.
    const void* previous = nullptr;
    double previous_scale = 1;
    const double* previous_scalars = nullptr;
    // Consuming the gradient.
    bool gradient_started = false;  // Program::gradient holds the sum over earlier rows of this batch
    double gradient_scale = 1;      // 1 / sum of weights, or 1
    double batch_share = 1;         // 1 / sum of weights
    double clip_value = 0;          // 0: none
    double clip_factor = 1;         // of clipping by norm
    Rule rule = Rule::sgd;
    const double* scalars = nullptr;  // of each group of parameters, one behind the other
};

}  // namespace deltarule
