// Training: one call is a sequence of stages. In each stage all threads share out `count` items; the last to
// finish does what only one thread can do, and goes on to the next stage.
//
//     a step:  phases of the rows  ->  loss; is the gradient finite?  ->  tasks of the parameters  ->  constraints
#include <chrono>
#include <cmath>
#include <cstring>
#include <new>

#include "engine.hpp"
#include "floating.hpp"
#include "sharing.hpp"
#include "shuffle.hpp"

namespace deltarule {

namespace {

constexpr size_t chunk_bytes = size_t(32) << 20;  // row tiles of one chunk
constexpr long chunk_rows_least = 2048;
constexpr double panel_work = 0.1;             // of work_per_thread, where a layer is cut by panels
constexpr double inline_work = 5e4;            // multiplications that are done while the others wait
constexpr int inline_stages = 64;              // of them one after the other, at most
constexpr double poll_work = 1e5;              // multiplications of a step that is not asked about every time

// Calls poll about every 30 ms, however often it is asked.
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
    static constexpr std::chrono::milliseconds pause{30};
    bool (*poll_)(void*);
    void* context_;
    Clock::time_point next_;
};

}  // namespace

struct Executor::Training {
    enum class Stage { phase, tasks, update, constrain, done };

    Executor& self;
    TrainingRun& run;
    Compiled compiled;
    Program program;
    int threads = 1;
    long batch_rows = 0, chunk_rows = 0;
    long steps_each_epoch = 0;

    Stage stage = Stage::done;
    long count = 0;
    // Each thread has a share of the items, the same in every step, so that what they work on stays in its
    // caches; who has done its own helps the others.
    struct alignas(64) Share {
        std::atomic<long> next{0};
        long last = 0;
    };
    std::vector<Share> shares;
    alignas(64) std::atomic<bool> stop{false};

    size_t phase = 0;
    long step_in_epoch = 0;
    long chunk_first = 0, chunk_count = 0;
    Consume consume = Consume::update;
    double step_loss = 0, step_weight = 0, step_penalty = 0;
    bool out_of_memory = false;
    std::vector<Extent> step_extents;    // of each segment, over the chunks of this step
    std::vector<double> largest_weight;  // of each segment that a penalty reads
    double task_work = 0;                // multiplications of all tasks
    // Instructions whose updates are deferred; the first `updated` of them have had this step's.
    std::vector<int> deferred;
    size_t updated = 0;
    void* other_tile = nullptr;
    std::vector<int> constrained;  // segments, and their first item
    std::vector<long> constrained_first;

    Training(Executor& executor, TrainingRun& r) : self(executor), run(r) {
        batch_rows = std::min(run.batch_size, run.rows);
        steps_each_epoch =
            run.drop_last ? run.rows / run.batch_size : (run.rows + run.batch_size - 1) / run.batch_size;
        compiled = compile(self.network_, Purpose::train, self.kernels_.panel_width, batch_rows);
        cut_rows();
        lay_out_memory();
        collect_constraints();
    }

    long panels(long columns) const {
        return (columns + self.kernels_.panel_width - 1) / self.kernels_.panel_width;
    }

    // How many threads, how many rows each chunk and each tile.
    void cut_rows() {
        const size_t row_bytes = size_t(compiled.row_size) * self.size_;
        chunk_rows = batch_rows;
        if (!compiled.cut)
            chunk_rows = std::min(batch_rows, std::max(chunk_rows_least, long(chunk_bytes / row_bytes)));
        long capacity = batch_rows;
        if (compiled.by_panels > 0) {
            threads = threads_for(compiled.by_panels * double(batch_rows),
                                  panel_work * self.network_.work_per_thread, self.threads_);
        } else {
            threads = threads_for(3 * compiled.multiplications * double(chunk_rows),
                                  self.network_.work_per_thread, std::min(chunk_rows, long(self.threads_)));
            capacity = tile_capacity(chunk_rows, threads);
        }
        lay_out(compiled, capacity);
        program.capacity = capacity;
        program.tile_size = compiled.row_size * capacity;
        for (Instruction& op : compiled.instructions) {
            const long each = panels(op.outputs) / (2 * threads);
            op.panel_group = each >= 4 ? 4 : each >= 2 ? 2 : 1;
        }
        for (const Segment& s : compiled.segments)
            if (!s.deferred) task_work += double(s.inputs) * double(s.outputs) * double(batch_rows);
    }

    void lay_out_memory() {
        const size_t tiles = size_t((chunk_rows + program.capacity - 1) / program.capacity);
        const size_t tile_bytes = size_t(program.tile_size) * self.size_;
        for (size_t i = 0; i < compiled.instructions.size(); ++i)
            if (compiled.instructions[i].deferred) deferred.push_back(int(i));
        char* const memory =
            static_cast<char*>(self.tiles_.need((tiles + (deferred.empty() ? 0 : 1)) * tile_bytes));
        self.tile_table_.resize(tiles);
        for (size_t i = 0; i < tiles; ++i) self.tile_table_[i].base = memory + i * tile_bytes;
        other_tile = memory + tiles * tile_bytes;

        program.instructions = compiled.instructions.data();
        program.segments = compiled.segments.data();
        program.tiles = self.tile_table_.data();
        program.parameters = self.parameters_.need(self.packed_);
        program.transposed = self.transposed_.need(size_t(compiled.transposed) * self.size_);
        for (int i = 0; i < self.network_.states; ++i) program.states[i] = self.state(i);
        if (self.network_.clip_norm > 0 || chunk_rows < batch_rows)
            program.gradient = self.gradient_.need(self.packed_);
        program.statistics = self.statistics_.need(size_t(compiled.statistics) * self.size_);
        program.running = self.running_.need(size_t(self.network_.state_count) * self.size_);
        self.losses_.resize(size_t(batch_rows));
        program.losses = self.losses_.data();
        if (run.weights.data != nullptr) {
            self.weights_.resize(size_t(batch_rows));
            program.row_weights = self.weights_.data();
        }
        self.sums_.resize(compiled.tasks.size());
        self.extents_.resize(tiles * compiled.segments.size());
        step_extents.resize(compiled.segments.size());
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
            first += panels(s.outputs);
        }
        constrained_first.push_back(first);
    }

    // Flat vector to panels, and back: a few panels of one segment at a time.
    template <class Visit>
    void for_pieces(Visit visit) {
        struct Piece {
            const Segment* segment;
            long p0, p1;
        };
        constexpr long panels_each = 8;
        std::vector<Piece> pieces;
        for (const Segment& s : compiled.segments)
            for (long p = 0; p < panels(s.outputs); p += panels_each)
                pieces.push_back({&s, p, std::min(p + panels_each, panels(s.outputs))});
        share_out(long(pieces.size()), double(compiled.packed), threads, [&](long i) {
            const Piece& piece = pieces[size_t(i)];
            visit(*piece.segment, piece.p0, piece.p1);
        });
    }
    void load() {
        for_pieces([&](const Segment& s, long p0, long p1) {
            self.kernels_.pack(s, p0, p1, run.parameters, program.parameters, program.transposed);
        });
        largest_weight.assign(compiled.segments.size(), 0.0);
        for (size_t i = 0; i < compiled.segments.size(); ++i) {
            const Segment& s = compiled.segments[i];
            if (s.l1 == 0 && s.l2 == 0) continue;
            const long n = s.inputs * s.outputs;
            largest_weight[i] = self.size_ == 8
                                    ? largest(static_cast<const double*>(run.parameters) + s.canonical, n)
                                    : largest(static_cast<const float*>(run.parameters) + s.canonical, n);
        }
        if (self.network_.state_count > 0)
            std::memcpy(program.running, run.running, size_t(self.network_.state_count) * self.size_);
        for (const Instruction& op : compiled.instructions)
            if (op.kind == Kind::batch_norm && op.use_running) self.kernels_.use_running(program, op);
    }
    void save() {
        for_pieces([&](const Segment& s, long p0, long p1) {
            self.kernels_.unpack(s, p0, p1, program.parameters, run.parameters);
        });
        if (self.network_.state_count > 0)
            std::memcpy(run.running, program.running, size_t(self.network_.state_count) * self.size_);
    }
    template <class T>
    static double largest(const T* w, long count) {
        T result = 0;
        for (long i = 0; i < count; ++i)
            if (!(std::abs(w[i]) <= result)) result = std::abs(w[i]);
        return double(result);
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
        run.interrupted = false;
        if (run.epochs > 0 && steps_each_epoch > 0) {
            begin_epoch();
            begin_step();
        } else {
            run.epochs_done = run.epochs;
        }
        shares = std::vector<Share>(static_cast<size_t>(threads));
        cut_shares();
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
        flush_deferred();
        save();
    }

    void work(Barrier& barrier, int thread) {
        Poll poll(run.poll, run.poll_context);
        const unsigned rarely = is_short() ? 63 : 0;
        unsigned asked = 0;
        const auto look = [&] {
            if (thread == 0 && (asked++ & rarely) == 0 && poll.stop())
                stop.store(true, std::memory_order_relaxed);
        };
        if (threads == 1) {
            while (stage != Stage::done) {
                for (long i = 0; i < count; ++i) {
                    look();
                    item(i, look);
                }
                advance();
            }
            return;
        }
        while (stage != Stage::done) {
            for (int other = 0; other < threads; ++other) {
                Share& share = shares[size_t((thread + other) % threads)];
                for (long i; (i = share.next.fetch_add(1, std::memory_order_relaxed)) < share.last;) {
                    look();
                    item(i, look);
                }
            }
            barrier.meet([&] {
                advance();
                // What is too small to share out is done at once.
                for (int i = 0; i < inline_stages && stage != Stage::done && is_small(); ++i) {
                    for (long j = 0; j < count; ++j) item(j, [] {});
                    advance();
                }
                cut_shares();
            });
        }
    }

    void cut_shares() {
        for (long t = 0; t < threads; ++t) {
            shares[size_t(t)].next.store(count * t / threads, std::memory_order_relaxed);
            shares[size_t(t)].last = count * (t + 1) / threads;
        }
    }

    bool is_short() const { return compiled.multiplications * double(batch_rows) < poll_work; }

    bool is_small() const { return count == 1 || (stage != Stage::phase && task_work < inline_work); }

    // `look`: to be called now and then during long items.
    template <class Look>
    void item(long i, Look look) {
        const Kernels& k = self.kernels_;
        switch (stage) {
            case Stage::phase: {
                const Phase& now = compiled.phases[phase];
                const Instruction* op =
                    now.instruction < 0 ? nullptr : &compiled.instructions[size_t(now.instruction)];
                switch (now.over) {
                    case Phase::Over::rows: rows(now, i, look); break;
                    case Phase::Over::outputs: k.outputs(program, *op, i); break;
                    case Phase::Over::inputs: k.inputs(program, *op, i); break;
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

    // One tile through a phase; given up between instructions where the step will be dropped.
    template <class Look>
    void rows(const Phase& now, long i, Look look) {
        const Tile& tile = program.tiles[i];
        const auto stopped = [&] {
            look();
            return stop.load(std::memory_order_relaxed);
        };
        if (is_short()) {
            if (stop.load(std::memory_order_relaxed)) return;
            self.kernels_.forward(program, now.forward_first, now.forward_last, tile);
            self.kernels_.backward(program, now.backward_first, now.backward_last, tile);
        } else {
            for (int op = now.forward_first; op < now.forward_last && !stopped(); ++op)
                self.kernels_.forward(program, op, op + 1, tile);
            for (int op = now.backward_last; op > now.backward_first && !stopped(); --op)
                self.kernels_.backward(program, op - 1, op, tile);
        }
        if (phase + 1 == compiled.phases.size())
            self.kernels_.extents(program, int(compiled.segments.size()), tile,
                                  self.extents_.data() + size_t(i) * compiled.segments.size());
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
        std::fill(step_extents.begin(), step_extents.end(), Extent{});
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
            return;
        }
        const Instruction& op = compiled.instructions[size_t(now.instruction)];
        count = panels(now.over == Phase::Over::inputs ? op.inputs : op.outputs);
        if (now.over == Phase::Over::outputs) count = (count + op.panel_group - 1) / op.panel_group;
    }

    void begin_tasks(Consume how) {
        consume = how;
        stage = Stage::tasks;
        count = long(compiled.tasks.size());
    }

    void advance() {
        switch (stage) {
            case Stage::phase:
                if (compiled.phases[phase].over == Phase::Over::outputs &&
                    compiled.instructions[size_t(compiled.phases[phase].instruction)].deferred)
                    ++updated;
                if (stop.load(std::memory_order_relaxed)) {
                    run.interrupted = true;
                    stage = Stage::done;
                } else if (++phase < compiled.phases.size()) {
                    begin_phase();
                } else {
                    chunk_done();
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

    void chunk_done() {
        const auto larger = [](double a, double b) { return a != a || b <= a ? a : b; };  // NaN stays
        const Extent* from = self.extents_.data();
        for (int i = 0; i < program.tile_count; ++i)
            for (Extent& e : step_extents) {
                e.x = larger(e.x, from->x);
                e.d = larger(e.d, from->d);
                ++from;
            }
        if (chunk_first + chunk_count < program.batch)
            begin_tasks(Consume::accumulate);
        else
            rows_done();
    }

    // Every delta stands: the loss decides whether the parameters move.
    void rows_done() {
        program.previous = nullptr;  // all deferred updates have been done
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
        const bool whole = self.network_.clip_norm > 0 || !surely_finite();
        if (whole && program.gradient == nullptr) {
            try {
                program.gradient = self.gradient_.need(self.packed_);
            } catch (const std::bad_alloc&) {
                out_of_memory = true;
                stage = Stage::done;
                return;
            }
        }
        begin_tasks(whole ? Consume::keep : Consume::update);
    }

    // Whether the numbers that the gradient is made of bound it, and the sum of its squares, within the dtype.
    bool surely_finite() const {
        const double limit = self.size_ == 8 ? 1e150 : 1e18;
        for (size_t i = 0; i < compiled.segments.size(); ++i) {
            const Segment& s = compiled.segments[i];
            const Extent& e = step_extents[i];
            const double sum = double(program.batch) * e.x * e.d;
            const double bound =
                std::max(sum, sum * program.gradient_scale) + s.l1 + s.l2 * largest_weight[i];
            if (!(bound * std::sqrt(double(s.inputs) * double(s.outputs)) < limit)) return false;
        }
        return true;
    }

    void tasks_done() {
        double* const squares =
            run.gradient_squares + size_t(run.epochs_done) * self.network_.parameters.size();
        double trained = 0;
        step_penalty = 0;
        for (size_t i = 0; i < compiled.tasks.size();) {
            const int segment = compiled.tasks[i].segment;
            double sum = 0, largest = 0;
            for (; i < compiled.tasks.size() && compiled.tasks[i].segment == segment; ++i) {
                sum += self.sums_[i].squares;
                step_penalty += self.sums_[i].penalty;
                largest = std::max(largest, self.sums_[i].largest);
            }
            if (!std::isfinite(sum) || !std::isfinite(step_penalty)) {
                run.diverged = segment;
                stage = Stage::done;
                return;
            }
            // (Who computes the whole gradient once for its size, does so from then on.)
            largest_weight[size_t(segment)] = consume == Consume::update ? largest : HUGE_VAL;
            squares[segment] += sum;
            if (compiled.segments[size_t(segment)].factor != 0) trained += sum;
        }
        if (consume == Consume::update) {
            begin_constraints();
            return;
        }
        const double norm = std::sqrt(trained), most = self.network_.clip_norm;
        program.clip_factor = most > 0 && norm > most ? most / norm : 1;
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

    void end_step(bool moved) {
        if (moved) {
            for (const Instruction& op : compiled.instructions)
                if (op.kind == Kind::batch_norm && !op.use_running)
                    self.kernels_.move_statistics(program, op);
            const size_t epoch = size_t(run.epochs_done);
            run.loss_sum[epoch] += step_loss;
            run.weight_sum[epoch] += step_weight;
            run.penalty_sum[epoch] += step_penalty;
            ++run.updates[epoch];
            if (!deferred.empty()) defer();
        }
        ++run.steps_done;
        stage = Stage::done;
        if (++step_in_epoch == steps_each_epoch) {
            if (++run.epochs_done == run.epochs) return;
            begin_epoch();
        }
        begin_step();
    }

    // This step's tile and scalars stay until the next one's forward products have read them.
    void defer() {
        updated = 0;
        program.previous = self.tile_table_[0].base;
        program.previous_scale = program.gradient_scale;
        std::memcpy(program.previous_scalars, program.scalars, sizeof program.scalars);
        std::swap(self.tile_table_[0].base, other_tile);
    }

    void flush_deferred() {
        if (program.previous == nullptr) return;
        for (; updated < deferred.size(); ++updated) {
            const Instruction& op = compiled.instructions[size_t(deferred[updated])];
            const long items = (panels(op.outputs) + op.panel_group - 1) / op.panel_group;
            share_out(items, double(op.inputs) * double(op.outputs), threads, [&](long i) {
                const FlushDenormals flush;
                self.kernels_.flush(program, op, i);
            });
        }
    }
};

void Executor::train(TrainingRun& run) {
    Training training(*this, run);
    threads_used_ = training.threads;
    training.execute();
    if (training.out_of_memory) throw std::bad_alloc();
}

}  // namespace deltarule
