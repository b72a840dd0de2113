// An executor: a network bound to memory, that trains and predicts.
#pragma once

#include <memory>
#include <vector>

#include "compile.hpp"
#include "elastic.hpp"
#include "kernels.hpp"
#include "reach.hpp"

namespace deltarule {

// Aligned, zeroed memory for elements of either dtype; grows, never shrinks.
class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer();
    // At least `bytes`, zeroed if it had to grow. Throws std::bad_alloc.
    void* need(size_t bytes);
    void* data() const { return data_; }

private:
    void* data_ = nullptr;
    size_t bytes_ = 0;
};

// Steps from a position within an epoch on. Batch i of an epoch is rows [i * batch_size, min((i + 1) * batch_size,
// visited)) of its order; after `steps_per_epoch` batches the next epoch begins, with batch 0.
struct TrainingRun {
    // in: the data
    Table input, targets,
        weights;  // targets with 0 columns: int64 labels; weights: float64 (rows,), (rows, outputs) or none
    // in: which rows
    long visited = 0;                // rows of an epoch
    const int64_t* order = nullptr;  // (orders, visited) rows of the data; null: 0, 1, 2, ...
    bool order_each = false;         // one for each epoch that is touched; otherwise one for all
    long batch_size = 0, steps_per_epoch = 0;
    long wanted_batch_size = 0;  // as the caller gave it: perhaps more than there are rows; 0: batch_size
    // in: from where, and how far
    long first_batch = 0, steps = 0;
    uint64_t first_step = 0, seed = 0;  // of the random words
    // (steps, groups * scalars of the update rule); the group of each parameter, null: all are in the first
    const double* scalars = nullptr;
    const int64_t* group = nullptr;
    long groups = 1;
    // in/out: the network, flat
    void* parameters = nullptr;
    void* running = nullptr;
    // out: each row's output in training: (rows of the data, outputs), or else (rows of these steps, outputs); or null
    void* outputs = nullptr;
    bool outputs_by_row = true;
    // in/out: added to, for each epoch that is touched
    double *loss_sum = nullptr, *weight_sum = nullptr, *penalty_sum = nullptr;
    double* gradient_squares = nullptr;  // (epochs, parameters)
    int64_t* updates = nullptr;
    double* step_losses = nullptr;  // (steps, 2): data loss and penalty; a step of weight 0 leaves them
    // out
    long steps_done = 0;
    bool interrupted = false;
    // A parameter whose gradient, new value or state is not finite; or in_statistics - i: value i of the running
    // statistics; or another of these.
    long diverged = none;
    static constexpr long in_loss = -1, none = -2, in_statistics = -3;
    // Called about every 30 ms on the calling thread; true: stop.
    bool (*poll)(void*) = nullptr;
    void* poll_context = nullptr;
};

class Executor {
public:
    // bits: 32 or 64. threads: at most so many. Throws std::invalid_argument (description.hpp).
    Executor(Description network, int bits, int threads, const Target& target);
    // Throws std::bad_alloc; the network is then as after the last whole step.
    void train(TrainingRun& run);
    // The optimizer's state (states, parameters), which the executor keeps in panels.
    void set_optimizer_state(const void* flat);
    void get_optimizer_state(void* flat) const;
    // x: (rows, inputs) -> out: (rows, outputs) in the network's dtype, or null.
    void predict(const void* parameters, const void* running, const Table& x, long rows, void* out) {
        forward(parameters, running, {x, {}, {}}, rows, out, nullptr, nullptr);
    }
    // Also the sums of w_i l_i and of w_i, without dropout and batch statistics.
    struct Sums {
        double loss = 0, weight = 0;
    };
    struct Data {
        Table input, targets, weights;
    };
    // poll: as in a TrainingRun, its context null. False: it said stop, and the results are not whole.
    bool forward(const void* parameters, const void* running, const Data& data, long rows, void* out,
                 Sums* sums, bool (*poll)(void*));
    const Description& network() const { return network_; }
    // Threads that the last call used.
    int threads_used() const { return threads_used_; }

private:
    struct Training;
    struct Prediction;
    // visit(parameter, panels, packed state, offset in bytes of that state in the flat array)
    template <class Visit>
    void for_states(Visit visit) const;
    // The optimizer's state is kept as that program lays out the parameters; what it holds stays.
    void arrange_states(const Compiled& program);
    void* state(int i) const { return static_cast<char*>(states_.data()) + size_t(i) * packed_; }

    const Description network_;
    const size_t size_;  // of an element
    const int threads_;
    const Kernels& kernels_;
    const bool pairs_in_hardware_;
    int threads_used_ = 1;
    std::vector<PackedParameter> layout_;     // where each parameter lies in the packed vectors
    size_t packed_ = 0;                       // bytes of one of them
    bool columnar_ = false;                   // they belong to a columnar program
    std::shared_ptr<Prediction> prediction_;  // of the last call, for the next of the same shape
    Compiled trained_;                        // the program of the last training, not laid out yet, and its
    long trained_rows_ = 0, trained_batch_size_ = 0;  // rows of a batch, and of those asked for
    Worth worth_;                                     // of threads, to its steps
    Buffer parameters_, transposed_, states_, gradient_, group_gradients_, running_, statistics_, tiles_,
        before_;
    Reach reach_;
    std::vector<Tile> tile_table_;
    std::vector<double> losses_, weights_;
    std::vector<TaskSums> sums_;
    std::vector<Extent> extents_;
};

}  // namespace deltarule
