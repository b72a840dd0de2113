#include "engine.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "floating.hpp"
#include "memory.hpp"
#include "pool.hpp"
#include "shuffle.hpp"

namespace deltarule {

namespace {

constexpr long tile_rows_wanted = 208;          // many, since wide layers are read again for each tile
constexpr size_t chunk_bytes = size_t(32) << 20;  // row tiles of one chunk
constexpr long chunk_rows_least = 2048;
constexpr double work_per_thread = 4e5;  // multiplications that repay another thread's barriers
constexpr long few_rows_most = 4;        // batches whose backward products read the weights themselves

// A sum whose order depends on the count alone: eight strips.
template <class Term>
double sum_in_strips(long count, Term term) {
    double strips[8] = {};
    long i = 0;
    for (; i + 8 <= count; i += 8)
        for (long j = 0; j < 8; ++j) strips[j] += term(i + j);
    for (long j = 0; i + j < count; ++j) strips[j] += term(i + j);
    return ((strips[0] + strips[1]) + (strips[2] + strips[3])) +
           ((strips[4] + strips[5]) + (strips[6] + strips[7]));
}

// Calls visit(i) for each i below count, on several threads where there is much to do.
template <class Visit>
void share_out(long count, double work, int threads, Visit visit) {
    struct Share {
        std::atomic<long> next{0};
        long count;
        Visit& visit;
    } share{{0}, count, visit};
    run_on_threads(
        work < 1e6 ? 1 : threads,
        [](void* context, int) {
            Share& s = *static_cast<Share*>(context);
            for (long i; (i = s.next.fetch_add(1)) < s.count;) s.visit(i);
        },
        &share);
}

// Places are per row until the capacity of a tile is known.
void lay_out(Compiled& program, long capacity) {
    const auto scale = [&](long& place) {
        if (place > 0) place *= capacity;
    };
    for (Instruction& op : program.instructions)
        for (long* place : {&op.in, &op.in2, &op.pre, &op.out, &op.d_out, &op.d_in, &op.d_in2, &op.aux,
                            &op.row_aux, &op.source_pre})
            scale(*place);
    for (Segment& s : program.segments) {
        scale(s.x);
        scale(s.d);
    }
    scale(program.output);
}

// Calls poll about every 50 ms, however often it is asked.
class Poll {
public:
    Poll(bool (*poll)(void*), void* context) : poll_(poll), context_(context), next_(Clock::now() + pause) {}
    bool stop() {
        if (poll_ == nullptr || Clock::now() < next_) return false;
        const bool result = poll_(context_);
        next_ = Clock::now() + pause;
        return result;
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::milliseconds pause{50};
    bool (*poll_)(void*);
    void* context_;
    Clock::time_point next_;
};

}  // namespace

Executor::Executor(Description network, int bits, int threads, const Target& target)
    : network_(std::move(network)), bits_(bits), size_(bits == 64 ? 8 : 4),
      threads_(threads > 0 ? threads : available_processors()),
      kernels_(bits == 64 ? *target.float64 : *target.float32) {}

Executor::~Executor() = default;

// ---------------------------------------------------------------------------------------- training

// One call of train(): the steps as a sequence of stages. In each stage all threads share out `count`
// items; the last to finish goes on to the next stage.
struct Executor::Training {
    enum class Stage { phase, tasks, update, constrain, done };

    Executor& self;
    TrainingRun& run;
    Compiled compiled;
    Program program;
    int threads = 1;
    long batch_rows = 0, chunk_rows = 0;
    long steps_wanted = -1;  // stop there; -1: all
    long steps_each_epoch = 0;

    Stage stage = Stage::done;
    long count = 0;
    alignas(64) std::atomic<long> next{0};
    alignas(64) std::atomic<bool> stop{false};

    size_t phase = 0;
    long step_in_epoch = 0;
    long chunk_first = 0, chunk_count = 0;
    Consume consume = Consume::update;
    double step_loss = 0, step_weight = 0, step_penalty = 0;
    bool torn = false;  // diverged after some parameters were updated
    std::vector<int> constrained;  // segments, and their first item
    std::vector<long> constrained_first;

    Training(Executor& executor, TrainingRun& r) : self(executor), run(r) {
        batch_rows = std::min(run.batch_size, run.rows);
        steps_each_epoch = run.drop_last ? run.rows / run.batch_size
                                         : (run.rows + run.batch_size - 1) / run.batch_size;
        compiled = compile(self.network_, Purpose::train, self.kernels_.panel_width, batch_rows <= few_rows_most);
        lay_out_memory();
        collect_constraints();
    }

    void lay_out_memory() {
        const size_t row_bytes = size_t(compiled.row_size) * self.size_;
        chunk_rows = batch_rows;
        if (!compiled.cut)
            chunk_rows = std::min(batch_rows, std::max(chunk_rows_least, long(chunk_bytes / row_bytes)));
        const double work = 3 * compiled.multiplications * double(chunk_rows);
        threads = int(std::clamp(work / work_per_thread, 1.0, double(self.threads_)));
        if (chunk_rows < threads) threads = int(chunk_rows);
        const long rounds = (chunk_rows + threads * tile_rows_wanted - 1) / (threads * tile_rows_wanted);
        const long capacity = (chunk_rows + threads * rounds - 1) / (threads * rounds);
        lay_out(compiled, capacity);
        program.capacity = capacity;
        program.tile_size = compiled.row_size * capacity;
        const long tiles = (chunk_rows + capacity - 1) / capacity;
        char* const memory = static_cast<char*>(self.tiles_.need(size_t(tiles * program.tile_size) * self.size_));
        self.tile_table_.resize(size_t(tiles));
        for (long i = 0; i < tiles; ++i)
            self.tile_table_[size_t(i)].base = memory + size_t(i * program.tile_size) * self.size_;

        const size_t packed = size_t(compiled.packed) * self.size_;
        program.instructions = compiled.instructions.data();
        program.segments = compiled.segments.data();
        program.tiles = self.tile_table_.data();
        program.parameters = self.parameters_.need(packed);
        program.transposed = self.transposed_.need(size_t(compiled.transposed) * self.size_);
        char* const states = static_cast<char*>(self.states_.need(packed * size_t(self.network_.states)));
        for (int i = 0; i < self.network_.states; ++i) program.states[i] = states + size_t(i) * packed;
        if (self.network_.clip_norm > 0 || chunk_rows < batch_rows)
            program.gradient = self.gradient_.need(packed);
        program.statistics = self.statistics_.need(size_t(compiled.statistics) * self.size_);
        program.running = self.running_.need(size_t(self.network_.state_count) * self.size_);
        self.losses_.resize(size_t(batch_rows));
        program.losses = self.losses_.data();
        if (run.weights.data != nullptr) {
            self.weights_.resize(size_t(batch_rows));
            program.row_weights = self.weights_.data();
        }
        self.sums_.resize(compiled.tasks.size());
        program.inputs[0] = run.inputs;
        program.targets = run.targets;
        program.weights = run.weights;
        program.outputs = run.outputs;
        program.seed = run.seed;
        program.rule = self.network_.rule;
        program.clip_value = self.network_.clip_value;
    }

    void collect_constraints() {
        long first = 0;
        for (size_t i = 0; i < compiled.segments.size(); ++i) {
            const Segment& s = compiled.segments[i];
            if (s.max_norm <= 0 || s.factor == 0) continue;
            constrained.push_back(int(i));
            constrained_first.push_back(first);
            first += (s.outputs + self.kernels_.panel_width - 1) / self.kernels_.panel_width;
        }
        constrained_first.push_back(first);
    }

    // Flat vectors to panels, and back: a few panels of one segment of one vector at a time.
    template <class Visit>
    void for_pieces(Visit visit) {
        struct Piece {
            const Segment* segment;
            int state;  // -1: the parameters
            long p0, p1;
        };
        constexpr long panels_each = 8;
        std::vector<Piece> pieces;
        for (const Segment& s : compiled.segments)
            for (int i = -1; i < self.network_.states; ++i) {
                const long panels = (s.outputs + self.kernels_.panel_width - 1) / self.kernels_.panel_width;
                for (long p = 0; p < panels; p += panels_each)
                    pieces.push_back({&s, i, p, std::min(p + panels_each, panels)});
            }
        share_out(long(pieces.size()), double(compiled.packed), threads, [&](long i) {
            const Piece& piece = pieces[size_t(i)];
            visit(*piece.segment, piece.state, piece.p0, piece.p1);
        });
    }
    void load() {
        for_pieces([&](const Segment& s, int state, long p0, long p1) {
            if (state < 0)
                self.kernels_.pack(s, p0, p1, run.parameters, program.parameters, program.transposed);
            else
                self.kernels_.pack(s, p0, p1, moment(state), program.states[state], nullptr);
        });
        if (self.network_.state_count > 0)
            std::memcpy(program.running, run.running, size_t(self.network_.state_count) * self.size_);
        for (const Instruction& op : compiled.instructions)
            if (op.kind == Kind::batch_norm && op.use_running) self.kernels_.use_running(program, op);
    }
    void save() {
        for_pieces([&](const Segment& s, int state, long p0, long p1) {
            if (state < 0)
                self.kernels_.unpack(s, p0, p1, program.parameters, run.parameters);
            else
                self.kernels_.unpack(s, p0, p1, program.states[state], moment(state));
        });
        if (self.network_.state_count > 0)
            std::memcpy(run.running, program.running, size_t(self.network_.state_count) * self.size_);
    }
    void* moment(int i) const {
        return static_cast<char*>(run.moments) + size_t(i) * size_t(self.network_.parameter_count) * self.size_;
    }

    void clear_record() {
        const size_t epochs = size_t(run.epochs), parameters = self.network_.parameters.size();
        std::fill_n(run.loss_sum, epochs, 0.0);
        std::fill_n(run.weight_sum, epochs, 0.0);
        std::fill_n(run.penalty_sum, epochs, 0.0);
        std::fill_n(run.gradient_squares, epochs * parameters, 0.0);
        std::fill_n(run.updates, epochs, int64_t(0));
        run.epochs_done = run.steps_done = 0;
        run.diverged = TrainingRun::none;
    }

    void execute() {
        clear_record();
        load();
        stop.store(false);
        torn = false;
        stage = Stage::done;
        if (run.epochs > 0 && steps_each_epoch > 0 && steps_wanted != 0) {
            begin_epoch();
            begin_step();
        } else {
            run.epochs_done = steps_wanted == 0 ? 0 : run.epochs;
        }
        Barrier barrier(threads);
        struct Team {
            Training& training;
            Barrier& barrier;
        } team{*this, barrier};
        run_on_threads(
            threads,
            [](void* context, int thread) {
                Team& t = *static_cast<Team*>(context);
                const FlushDenormals flush;
                t.training.work(t.barrier, thread);
            },
            &team);
    }

    void work(Barrier& barrier, int thread) {
        Poll poll(run.poll, run.poll_context);
        if (threads == 1) {
            unsigned asked = 0;
            const unsigned rarely = compiled.multiplications * double(batch_rows) < 1e5 ? 63 : 0;
            while (stage != Stage::done) {
                for (long i = 0; i < count; ++i) {
                    if ((asked++ & rarely) == 0 && poll.stop()) stop.store(true, std::memory_order_relaxed);
                    item(i);
                }
                advance();
            }
            return;
        }
        while (stage != Stage::done) {
            for (;;) {
                const long i = next.fetch_add(1, std::memory_order_relaxed);
                if (i >= count) break;
                if (thread == 0 && poll.stop()) stop.store(true, std::memory_order_relaxed);
                item(i);
            }
            barrier.meet([&] {
                next.store(0, std::memory_order_relaxed);
                advance();
            });
        }
    }

    void item(long i) {
        const Kernels& k = self.kernels_;
        switch (stage) {
            case Stage::phase: {
                if (stop.load(std::memory_order_relaxed)) return;
                const Phase& now = compiled.phases[phase];
                const Instruction* op = now.instruction < 0 ? nullptr : &compiled.instructions[size_t(now.instruction)];
                switch (now.over) {
                    case Phase::Over::rows:
                        k.forward(program, now.forward_first, now.forward_last, program.tiles[i]);
                        k.backward(program, now.backward_first, now.backward_last, program.tiles[i]);
                        break;
                    case Phase::Over::statistics: k.column_statistics(program, *op, i); break;
                    case Phase::Over::sums: k.column_sums(program, *op, i); break;
                }
                break;
            }
            case Stage::tasks:
                self.sums_[size_t(i)] = TaskSums{};
                k.task(program, compiled.tasks[size_t(i)], consume, self.sums_[size_t(i)]);
                break;
            case Stage::update: k.update(program, compiled.tasks[size_t(i)]); break;
            case Stage::constrain: {
                size_t s = 0;
                while (constrained_first[s + 1] <= i) ++s;
                k.constrain(program, compiled.segments[size_t(constrained[s])], i - constrained_first[s]);
                break;
            }
            case Stage::done: break;
        }
    }

    // ------------------------------------------------------------- what only one thread does

    void begin_epoch() {
        if (run.shuffle) {
            self.order_.resize(size_t(run.rows));
            self.words_.resize(size_t(run.rows) * 3);
            self.kernels_.random_words(run.seed, purpose_shuffle, uint64_t(run.first_epoch + run.epochs_done),
                                       run.rows, self.words_.data());
            stable_argsort(self.words_.data(), run.rows, self.words_.data() + run.rows, self.order_.data());
        }
        step_in_epoch = 0;
    }

    void begin_step() {
        const long first = step_in_epoch * run.batch_size;
        program.batch = std::min(run.batch_size, run.rows - first);
        const int64_t* const order = run.shuffle ? self.order_.data() : run.order;
        program.order = order == nullptr ? nullptr : order + first;
        program.first_row = first;
        program.step = uint64_t(run.first_step + run.steps_done);
        std::memcpy(program.scalars, run.scalars + run.steps_done * run.scalars_per_row,
                    size_t(run.scalars_per_row) * sizeof(double));
        chunk_first = 0;
        program.gradient_started = false;
        begin_chunk();
    }

    void begin_chunk() {
        chunk_count = std::min(chunk_rows, program.batch - chunk_first);
        int tiles = 0;
        for (long row = 0; row < chunk_count; row += program.capacity, ++tiles) {
            Tile& tile = self.tile_table_[size_t(tiles)];
            tile.first = chunk_first + row;
            tile.rows = std::min(program.capacity, chunk_count - row);
        }
        program.tile_count = tiles;
        phase = 0;
        begin_phase();
    }

    void begin_phase() {
        stage = Stage::phase;
        const Phase& now = compiled.phases[phase];
        if (now.over == Phase::Over::rows) {
            count = program.tile_count;
        } else {
            const long columns = compiled.instructions[size_t(now.instruction)].outputs;
            count = (columns + self.kernels_.panel_width - 1) / self.kernels_.panel_width;
        }
    }

    void begin_tasks(Consume how) {
        consume = how;
        stage = Stage::tasks;
        count = long(compiled.tasks.size());
    }

    void advance() {
        switch (stage) {
            case Stage::phase:
                if (stop.load(std::memory_order_relaxed)) {
                    run.interrupted = true;
                    stage = Stage::done;
                } else if (++phase < compiled.phases.size()) {
                    begin_phase();
                } else if (chunk_first + chunk_count < program.batch) {
                    begin_tasks(Consume::accumulate);
                } else {
                    rows_done();
                }
                break;
            case Stage::tasks:
                if (consume == Consume::accumulate) {
                    program.gradient_started = true;
                    chunk_first += chunk_count;
                    begin_chunk();
                } else {
                    tasks_done();
                }
                break;
            case Stage::update: begin_constraints(); break;
            case Stage::constrain: end_step(true); break;
            case Stage::done: break;
        }
    }

    // Every delta stands: the loss decides whether the parameters move.
    void rows_done() {
        const double* const loss = program.losses;
        const double* const w = program.row_weights;
        step_weight = w ? sum_in_strips(program.batch, [&](long i) { return w[i]; }) : double(program.batch);
        step_loss = w ? sum_in_strips(program.batch, [&](long i) { return w[i] * loss[i]; })
                      : sum_in_strips(program.batch, [&](long i) { return loss[i]; });
        if (step_weight == 0) {
            end_step(false);
            return;
        }
        if (!std::isfinite(step_loss)) {
            run.diverged = TrainingRun::in_loss;
            stage = Stage::done;
            return;
        }
        program.gradient_scale = self.network_.mean ? 1 / step_weight : 1;
        begin_tasks(self.network_.clip_norm > 0 ? Consume::keep : Consume::update);
    }

    void tasks_done() {
        double* const squares =
            run.gradient_squares + size_t(run.epochs_done) * self.network_.parameters.size();
        double trained = 0;
        step_penalty = 0;
        for (size_t i = 0; i < compiled.tasks.size();) {
            const int segment = compiled.tasks[i].segment;
            double sum = 0;
            for (; i < compiled.tasks.size() && compiled.tasks[i].segment == segment; ++i) {
                sum += self.sums_[i].squares;
                step_penalty += self.sums_[i].penalty;
            }
            if (!std::isfinite(sum) || !std::isfinite(step_penalty)) {
                run.diverged = segment;
                torn = consume == Consume::update;
                stage = Stage::done;
                return;
            }
            squares[segment] += sum;
            if (compiled.segments[size_t(segment)].factor != 0) trained += sum;
        }
        if (consume == Consume::update) {
            begin_constraints();
            return;
        }
        const double norm = std::sqrt(trained);
        program.clip_factor = norm > self.network_.clip_norm ? self.network_.clip_norm / norm : 1;
        stage = Stage::update;
        count = long(compiled.tasks.size());
    }

    void begin_constraints() {
        if (constrained.empty()) {
            end_step(true);
            return;
        }
        stage = Stage::constrain;
        count = constrained_first.back();
    }

    void end_step(bool updated) {
        if (updated) {
            for (const Instruction& op : compiled.instructions)
                if (op.kind == Kind::batch_norm && !op.use_running)
                    self.kernels_.move_statistics(program, op);
            const size_t epoch = size_t(run.epochs_done);
            run.loss_sum[epoch] += step_loss;
            run.weight_sum[epoch] += step_weight;
            run.penalty_sum[epoch] += step_penalty;
            ++run.updates[epoch];
        }
        ++run.steps_done;
        stage = Stage::done;
        if (run.steps_done == steps_wanted) return;
        if (++step_in_epoch == steps_each_epoch) {
            if (++run.epochs_done == run.epochs) return;
            begin_epoch();
        }
        begin_step();
    }
};

void Executor::train(TrainingRun& run) {
    Training training(*this, run);
    threads_used_ = training.threads;
    training.execute();
    if (training.torn) {
        // A gradient was not finite and other parameters had moved by then. The flat vectors still hold
        // what this call began with, and the same steps give the same bits: repeat those before it.
        const int where = run.diverged;
        training.steps_wanted = run.steps_done;
        training.execute();
        if (!run.interrupted) run.diverged = where;
    }
    training.save();
}

// -------------------------------------------------------------------------------------- prediction

struct Executor::Prediction {
    Executor& self;
    const Purpose purpose;
    Compiled compiled;
    Program program;
    char* out = nullptr;
    long capacity = 0, threads = 1, tile_count = 0;
    size_t tile_bytes = 0;
    char* memory = nullptr;
    std::atomic<long> next{0};

    Prediction(Executor& executor, Purpose wanted, long tile_capacity)
        : self(executor), purpose(wanted),
          compiled(compile(executor.network_, wanted, executor.kernels_.panel_width, false)),
          capacity(tile_capacity) {
        lay_out(compiled, capacity);
        program.instructions = compiled.instructions.data();
        program.segments = compiled.segments.data();
        program.capacity = capacity;
        program.tile_size = compiled.row_size * capacity;
        tile_bytes = size_t(program.tile_size) * self.size_;
    }

    void work(int thread) {
        Tile tile;
        tile.base = memory + size_t(thread) * tile_bytes;
        for (;;) {
            const long i = next.fetch_add(1, std::memory_order_relaxed);
            if (i >= tile_count) return;
            tile.first = i * program.capacity;
            tile.rows = std::min(program.capacity, program.batch - tile.first);
            self.kernels_.forward(program, 0, int(compiled.instructions.size()), tile);
            if (out != nullptr)
                self.kernels_.read_value(program, tile, compiled.output, compiled.output_columns,
                                         out + size_t(tile.first * compiled.output_columns) * self.size_);
        }
    }
};

void Executor::forward(const void* parameters, const void* running, const Data& data, long rows, void* out,
                       Sums* sums) {
    const Purpose purpose = sums != nullptr ? Purpose::evaluate : Purpose::predict;
    double multiplications = 0;
    for (const Parameter& p : network_.parameters) multiplications += double(p.rows) * double(p.columns);
    long threads = long(std::clamp(multiplications * double(rows) / work_per_thread, 1.0, double(threads_)));
    if (rows < threads || rows <= few_rows_most) threads = 1;
    const long rounds = (rows + threads * tile_rows_wanted - 1) / (threads * tile_rows_wanted);
    const long capacity = (rows + threads * rounds - 1) / (threads * rounds);
    if (!prediction_ || prediction_->purpose != purpose || prediction_->capacity != capacity)
        prediction_ = std::make_unique<Prediction>(*this, purpose, capacity);
    Prediction& now = *prediction_;
    Program& program = now.program;
    program.batch = rows;
    program.inputs[0] = data.inputs;
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
    now.next.store(0);
    now.tile_count = (rows + capacity - 1) / capacity;
    now.memory = static_cast<char*>(tiles_.need(now.tile_bytes * size_t(threads)));
    program.flat = rows <= few_rows_most && now.compiled.only_dense ? parameters : nullptr;
    if (program.flat == nullptr) {
        program.parameters = parameters_.need(size_t(now.compiled.packed) * size_);
        program.statistics = statistics_.need(size_t(now.compiled.statistics) * size_);
        program.running = running_.need(size_t(network_.state_count) * size_);
        if (network_.state_count > 0)
            std::memcpy(program.running, running, size_t(network_.state_count) * size_);
        for (const Segment& s : now.compiled.segments)
            kernels_.pack(s, 0, (s.outputs + kernels_.panel_width - 1) / kernels_.panel_width, parameters,
                          program.parameters, nullptr);
        for (const Instruction& op : now.compiled.instructions)
            if (op.kind == Kind::batch_norm) kernels_.use_running(program, op);
    }
    threads_used_ = int(threads);
    run_on_threads(
        int(threads),
        [](void* context, int thread) {
            const FlushDenormals flush;
            static_cast<Prediction*>(context)->work(thread);
        },
        &now);
    if (sums == nullptr) return;
    const double* const w = program.row_weights;
    sums->weight = w ? sum_in_strips(rows, [&](long i) { return w[i]; }) : double(rows);
    sums->loss = w ? sum_in_strips(rows, [&](long i) { return w[i] * losses_[size_t(i)]; })
                   : sum_in_strips(rows, [&](long i) { return losses_[size_t(i)]; });
}

}  // namespace deltarule
