// Prediction and evaluation: tiles of rows forward, each on whichever thread is free.
#include <climits>
#include <cstring>

#include "by_threads.hpp"
#include "engine.hpp"
#include "sums.hpp"
#include "vector_lock.hpp"

namespace deltarule {

namespace {

constexpr long few_rows_most = 4;  // rows that read the network's own vector: nothing is packed for them

}  // namespace

struct Executor::Prediction {
    Executor& self;
    const Mode mode;
    Compiled compiled;
    Program program;
    char* out = nullptr;
    long capacity = 0, threads = 1, tile_count = 0;
    size_t tile_bytes = 0;
    char* memory = nullptr;
    std::atomic<bool> stop{false};

    Prediction(Executor& executor, Mode wanted, long tile_capacity)
        : self(executor), mode(wanted),
          compiled(compile(executor.network_, wanted, executor.kernels_.panel_width, LONG_MAX)),
          capacity(tile_capacity) {
        lay_out(compiled, capacity);
        program.instructions = compiled.instructions.data();
        program.layout = compiled.parameters.data();
        program.lookups = compiled.lookups.data();
        program.lookup_count = int(compiled.lookups.size());
        program.passed = compiled.passed.data();
        program.passed_count = int(compiled.passed.size());
        program.capacity = capacity;
        program.tile_size = compiled.row_size * capacity;
        tile_bytes = size_t(program.tile_size) * self.size_;
    }

    // One tile of rows, in the thread's own memory.
    void item(long i, int thread) {
        Tile tile;
        tile.base = memory + size_t(thread) * tile_bytes;
        tile.first = i * program.capacity;
        tile.rows = std::min(program.capacity, program.batch - tile.first);
        self.kernels_.forward(program, 0, int(compiled.instructions.size()), tile);
        if (out != nullptr)
            self.kernels_.read_value(program, tile, compiled.output, compiled.output_columns,
                                     out + size_t(tile.first * compiled.output_columns) * self.size_);
    }
};

bool Executor::forward(const void* parameters, const void* running, const Data& data, long rows, void* out,
                       Sums* sums, bool (*poll)(void*)) {
    const Mode mode = sums != nullptr ? Mode::evaluate : Mode::predict;
    double multiplications = 0;
    for (const Parameter& p : network_.parameters) multiplications += double(p.rows) * double(p.columns);
    long threads = threads_for(multiplications * double(rows), network_.work_per_thread, threads_);
    if (rows < threads || rows <= few_rows_most) threads = 1;
    Team team;
    threads = team.gather(int(threads));
    const long capacity = tile_capacity(rows, threads);
    if (!prediction_ || prediction_->mode != mode || prediction_->capacity != capacity)
        prediction_ = std::make_shared<Prediction>(*this, mode, capacity);
    Prediction& now = *prediction_;
    Program& program = now.program;
    program.batch = rows;
    program.input = data.input;
    program.targets = data.targets;
    program.weights = data.weights;
    program.row_weights = nullptr;
    if (sums != nullptr) {
        losses_.resize(size_t(rows));
        program.losses = losses_.data();
        if (data.weights.data != nullptr) {
            weights_.resize(size_t(rows));
            program.row_weights = weights_.data();
        }
    }
    now.out = static_cast<char*>(out);
    now.stop.store(false);
    now.tile_count = (rows + capacity - 1) / capacity;
    now.memory = static_cast<char*>(tiles_.need(now.tile_bytes * size_t(threads)));
    std::shared_lock<FairLock> reading(lock_of(parameters));
    program.flat = rows <= few_rows_most && now.compiled.only_dense ? parameters : nullptr;
    if (program.flat == nullptr) {
        program.parameters = parameters_.need(size_t(now.compiled.packed) * size_);
        std::memset(static_cast<char*>(program.parameters) + size_t(now.compiled.zeros) * size_, 0,
                    size_t(now.compiled.packed - now.compiled.zeros) * size_);
        program.statistics = statistics_.need(size_t(now.compiled.statistics) * size_);
        program.running = running_.need(size_t(network_.state_count) * size_);
        if (network_.state_count > 0)
            std::memcpy(program.running, running, size_t(network_.state_count) * size_);
        for (const PackedParameter& p : now.compiled.parameters)
            kernels_.pack(p, 0, (p.outputs + kernels_.panel_width - 1) / kernels_.panel_width, parameters,
                          program.parameters, nullptr);
        for (const Instruction& op : now.compiled.instructions)
            if (op.kind == Kind::batch_norm) kernels_.use_running(program, op);
        reading.unlock();
    }
    threads_used_ = int(threads);
    Poll asked(now.tile_count > 1 ? poll : nullptr, nullptr);  // one tile is soon done
    const auto tile = [&](long i, int thread) {
        if (thread == 0 && asked.stop()) now.stop.store(true, std::memory_order_relaxed);
        if (!now.stop.load(std::memory_order_relaxed)) now.item(i, thread);
    };
    team.run(int(threads), now.tile_count, tile, [] { return 0L; });
    if (now.stop.load()) return false;
    if (sums == nullptr) return true;
    const double* const w = program.row_weights;
    sums->weight = w ? sum_in_strips(rows, [&](long i) { return w[i]; }) : double(rows);
    const bool weigh = w && data.weights.columns == 0;
    sums->loss = weigh ? sum_in_strips(rows, [&](long i) { return w[i] * losses_[size_t(i)]; })
                       : sum_in_strips(rows, [&](long i) { return losses_[size_t(i)]; });
    return true;
}

}  // namespace deltarule
