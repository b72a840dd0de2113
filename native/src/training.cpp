// Training: one call is a sequence of parts. In each part all threads share out `count` items; the last to finish does
// what only one thread can do, and goes on to the next part.
//
//     a step:  stages of the rows  ->  loss; is the gradient finite?  ->  tasks of the parameters  ->  constraints
#include <array>
#include <cmath>
#include <cstring>
#include <new>

#include "by_threads.hpp"
#include "engine.hpp"
#include "sums.hpp"
#include "vector_lock.hpp"

namespace deltarule {

namespace {

constexpr size_t chunk_bytes = size_t(32) << 20;  // row tiles of one chunk
constexpr long chunk_rows_least = 2048;
constexpr double applied_work = 20;  // an activation and its derivative, in multiplications
constexpr double poll_work = 1e6;    // multiplications of a step that is not asked about every time

}  // namespace

struct Executor::Training {
    enum class Part { stage, tasks, update, constrain, done };  // of a step

    Executor& self;
    TrainingRun& run;
    Team& team;
    Compiled compiled;
    Program program;
    int threads = 1;
    long batch_rows = 0, chunk_rows = 0;
    long item_rows = 0;  // of an item of the rows phase: a tile, or a group of tiles

    Part part = Part::done;
    long count = 0;
    alignas(64) std::atomic<bool> stop{false};

    size_t stage = 0;
    long epoch = 0, batch = 0;  // of those touched; within that epoch
    long chunk_first = 0, chunk_count = 0;
    Consume consume = Consume::update;
    double step_loss = 0, step_weight = 0, step_penalty = 0;
    bool out_of_memory = false;
    std::vector<Extent> step_extents;    // of each parameter, over the chunks of this step
    std::vector<double> largest_weight;  // of each parameter that a penalty reads
    std::vector<double> step_squares;    // of each parameter's gradient
    std::vector<double> root_of_size;    // of each parameter: square root of its number of values
    std::array<double, most_scalars> leverage_row{HUGE_VAL};  // the last row of scalars,
    Leverage leverage_known;                                  // and what it gave
    double largest_factor = 0;                                // on the learning rate
    bool watched = false;  // new values may not be finite: the old ones have been kept
    double task_work = 0;  // multiplications of all tasks
    // Instructions whose updates are deferred; the first `updated` of them have had this step's.
    std::vector<int> deferred;
    size_t updated = 0;
    void* other_tile = nullptr;
    std::vector<int> constrained;  // parameters, and their first item
    std::vector<long> constrained_first;

    Training(Executor& executor, TrainingRun& r, Team& t) : self(executor), run(r), team(t) {
        batch_rows = std::min(run.batch_size, run.visited);
        const long wanted = std::max(run.wanted_batch_size, batch_rows);
        if (self.trained_rows_ != batch_rows || self.trained_batch_size_ != wanted)
            self.trained_ =
                compile(self.network_, Mode::train, self.kernels_.panel_width, batch_rows, wanted);
        self.trained_rows_ = batch_rows;
        self.trained_batch_size_ = wanted;
        compiled = self.trained_;
        self.arrange_states(compiled);
        for (size_t i = 0; i < compiled.parameters.size(); ++i) {
            PackedParameter& p = compiled.parameters[i];
            if (run.group != nullptr) p.scalars = long(run.group[i]) * self.network_.scalars();
            largest_factor = std::max(largest_factor, std::abs(p.factor));
        }
        step_squares.resize(compiled.parameters.size());
        for (const PackedParameter& p : compiled.parameters)
            root_of_size.push_back(std::sqrt(double(p.inputs) * double(p.outputs)));
        cut_rows();
        if (threads > 1) self.worth_.of(threads, batch_rows);
        lay_out_memory();
        collect_constraints();
    }

    long panels(long columns) const {
        return (columns + self.kernels_.panel_width - 1) / self.kernels_.panel_width;
    }

    // How many threads, how many rows each chunk and each tile.
    void cut_rows() {
        if (compiled.columnar) {
            cut_columns();
            return;
        }
        const size_t row_bytes = size_t(compiled.row_size) * self.size_;
        chunk_rows = batch_rows;
        if (!compiled.cut)
            chunk_rows = std::min(batch_rows, std::max(chunk_rows_least, long(chunk_bytes / row_bytes)));
        long capacity = batch_rows;
        if (compiled.by_panels > 0) {
            threads = team.gather(threads_for(compiled.by_panels * double(batch_rows),
                                              panel_work * self.network_.work_per_thread, self.threads_));
        } else {
            threads = team.gather(threads_for(3 * compiled.multiplications * double(chunk_rows),
                                              self.network_.work_per_thread,
                                              std::min(chunk_rows, long(self.threads_))));
            capacity = tile_capacity(chunk_rows, threads);
        }
        if (self.network_.bfloat16) capacity += capacity % 2;  // rows are read in pairs
        item_rows = capacity;
        lay_out(compiled, capacity);
        program.capacity = capacity;
        program.tile_size = compiled.row_size * capacity;
        for (Instruction& op : compiled.instructions)
            op.panel_group = panel_group(panels(op.outputs), threads);
        for (const PackedParameter& p : compiled.parameters)
            if (!p.deferred) task_work += double(p.inputs) * double(p.outputs) * double(batch_rows);
    }

    // Groups of tiles are cut by shapes alone; threads share them out.
    void cut_columns() {
        chunk_rows = batch_rows;
        item_rows = compiled.group_rows;
        const double work = 3 * compiled.multiplications + applied_work * compiled.applied;
        const long groups = (batch_rows + item_rows - 1) / item_rows;
        threads = team.gather(threads_for(work * double(batch_rows), self.network_.work_per_thread,
                                          std::min(groups, long(self.threads_))));
        lay_out(compiled, compiled.capacity);
        program.capacity = compiled.capacity;
        program.tile_size = compiled.row_size * compiled.capacity;
        program.instruction_count = int(compiled.instructions.size());
        program.ones = compiled.ones;
        program.packed = compiled.packed;
        program.group_gradients = self.group_gradients_.need(size_t(groups) * self.packed_);
        task_work = double(compiled.packed) * double(groups);
    }

    void lay_out_memory() {
        const size_t items = size_t((chunk_rows + item_rows - 1) / item_rows);
        const size_t tiles = compiled.columnar ? size_t(threads) : items;  // in memory at once
        const size_t tile_bytes = size_t(program.tile_size) * self.size_;
        for (size_t i = 0; i < compiled.instructions.size(); ++i)
            if (compiled.instructions[i].deferred) deferred.push_back(int(i));
        char* const memory =
            static_cast<char*>(self.tiles_.need((tiles + (deferred.empty() ? 0 : 1)) * tile_bytes));
        self.tile_table_.resize(items);
        for (size_t i = 0; i < items; ++i) self.tile_table_[i].base = memory + i % tiles * tile_bytes;
        other_tile = memory + tiles * tile_bytes;

        program.instructions = compiled.instructions.data();
        program.layout = compiled.parameters.data();
        program.lookups = compiled.lookups.data();
        program.lookup_count = int(compiled.lookups.size());
        program.passed = compiled.passed.data();
        program.passed_count = int(compiled.passed.size());
        program.tiles = self.tile_table_.data();
        program.parameters = self.parameters_.need(self.packed_);
        program.transposed = self.transposed_.need(size_t(compiled.transposed) * self.size_);
        for (int i = 0; i < self.network_.states(); ++i) program.states[i] = self.state(i);
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
        self.extents_.resize(items * compiled.parameters.size());
        step_extents.resize(compiled.parameters.size());
        program.input = run.input;
        program.targets = run.targets;
        program.weights = run.weights;
        program.outputs = run.outputs;
        program.outputs_by_row = run.outputs_by_row;
        program.seed = run.seed;
        program.rule = *self.network_.rule;
        program.clip_value = self.network_.clip_value;
        program.pairs_in_hardware = self.pairs_in_hardware_;
    }

    void collect_constraints() {
        long first = 0;
        for (size_t i = 0; i < compiled.parameters.size(); ++i) {
            const PackedParameter& p = compiled.parameters[i];
            if (p.max_norm <= 0 || p.factor == 0) continue;
            constrained.push_back(int(i));
            constrained_first.push_back(first);
            first += panels(p.outputs);
        }
        constrained_first.push_back(first);
    }

    // Flat vector to panels, and back: a few panels of one parameter at a time.
    struct Piece {
        const PackedParameter* parameter;
        long p0, p1;
        double largest;
    };
    template <class Visit>
    std::vector<Piece> for_pieces(Visit visit) {
        constexpr long panels_each = 8;
        std::vector<Piece> pieces;
        for (const PackedParameter& p : compiled.parameters)
            for (long p0 = 0; p0 < panels(p.outputs); p0 += panels_each)
                pieces.push_back({&p, p0, std::min(p0 + panels_each, panels(p.outputs)), 0});
        share_out(team, threads, long(pieces.size()), double(compiled.packed),
                  [&](long i) { visit(pieces[size_t(i)]); });
        return pieces;
    }
    void load() {
        std::memset(static_cast<char*>(program.parameters) + size_t(compiled.zeros) * self.size_, 0,
                    size_t(compiled.packed - compiled.zeros) * self.size_);
        const std::shared_lock<FairLock> reading(lock_of(run.parameters));
        const std::vector<Piece> pieces = for_pieces([&](Piece& piece) {
            piece.largest = self.kernels_.pack(*piece.parameter, piece.p0, piece.p1, run.parameters,
                                               program.parameters, program.transposed);
        });
        largest_weight.assign(compiled.parameters.size(), 0.0);
        double all = 0;
        for (const Piece& piece : pieces) {
            double& own = largest_weight[size_t(piece.parameter - compiled.parameters.data())];
            own = larger(own, piece.largest);
            all = larger(all, piece.largest);
        }
        self.reach_.weights_are(all);
        if (self.network_.state_count > 0)
            std::memcpy(program.running, run.running, size_t(self.network_.state_count) * self.size_);
        for (const Instruction& op : compiled.instructions)
            if (op.kind == Kind::batch_norm && op.use_running) self.kernels_.use_running(program, op);
    }
    void save() {
        const std::unique_lock<FairLock> writing(lock_of(run.parameters));
        for_pieces([&](const Piece& piece) {
            self.kernels_.unpack(*piece.parameter, piece.p0, piece.p1, program.parameters, run.parameters);
        });
        if (self.network_.state_count > 0)
            std::memcpy(run.running, program.running, size_t(self.network_.state_count) * self.size_);
    }

    void execute() {
        load();
        run.interrupted = false;
        run.diverged = TrainingRun::none;
        run.steps_done = 0;
        batch = run.first_batch;
        if (run.steps > 0) begin_step();
        Poll poll(run.poll, run.poll_context);
        const unsigned rarely = is_short() ? 63 : 0;
        unsigned asked = 0;
        const auto look = [&] {  // on the calling thread
            if ((asked++ & rarely) == 0 && poll.stop()) stop.store(true, std::memory_order_relaxed);
        };
        const auto do_item = [&](long i, int thread) {
            if (thread != 0) return item(i, thread, [] {});
            look();
            item(i, thread, look);
        };
        const auto next = [&] {
            advance();
            // What is too small to share out is done at once.
            for (int i = 0; threads > 1 && i < inline_parts && part != Part::done && is_small(); ++i) {
                for (long j = 0; j < count; ++j) item(j, 0, [] {});
                advance();
            }
            return part == Part::done ? 0 : count;
        };
        team.run(threads, part == Part::done ? 0 : count, do_item, next, &self.worth_);
        flush_deferred();
        save();
    }

    bool is_short() const { return compiled.multiplications * double(batch_rows) < poll_work; }

    bool is_small() const { return count == 1 || (part != Part::stage && task_work < inline_work); }

    // `look`: to be called now and then during long items.
    template <class Look>
    void item(long i, int thread, Look look) {
        const Kernels& k = self.kernels_;
        switch (part) {
            case Part::stage: {
                const Stage& now = compiled.stages[stage];
                const Instruction* op =
                    now.instruction < 0 ? nullptr : &compiled.instructions[size_t(now.instruction)];
                switch (now.over) {
                    case Stage::Over::rows:
                        if (compiled.columnar)
                            group(i, thread);
                        else
                            rows(now, i, look);
                        break;
                    case Stage::Over::outputs: k.outputs(program, *op, i); break;
                    case Stage::Over::inputs: k.inputs(program, *op, i); break;
                    case Stage::Over::statistics: k.column_statistics(program, *op, i); break;
                    case Stage::Over::sums: k.column_sums(program, *op, i); break;
                }
                break;
            }
            case Part::tasks:
                self.sums_[size_t(i)] = TaskSums{};
                k.task(program, compiled.tasks[size_t(i)], consume, self.sums_[size_t(i)]);
                break;
            case Part::update: k.update(program, compiled.tasks[size_t(i)]); break;
            case Part::constrain: {
                size_t s = 0;
                while (constrained_first[s + 1] <= i) ++s;
                k.constrain(program, compiled.parameters[size_t(constrained[s])], i - constrained_first[s]);
                break;
            }
            case Part::done: break;
        }
    }

    // A group of tiles of a columnar program, in the memory of that thread.
    void group(long i, int thread) {
        if (stop.load(std::memory_order_relaxed)) return;
        Tile tile = program.tiles[i];
        tile.base =
            static_cast<char*>(self.tiles_.data()) + size_t(thread) * size_t(program.tile_size) * self.size_;
        const size_t parameters = compiled.parameters.size();
        self.kernels_.columnar(program, tile,
                               static_cast<char*>(program.group_gradients) + size_t(i) * self.packed_,
                               int(parameters), self.extents_.data() + size_t(i) * parameters);
    }

    // One tile through a stage; given up between instructions where the step will be dropped.
    template <class Look>
    void rows(const Stage& now, long i, Look look) {
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
        if (stage + 1 == compiled.stages.size())
            self.kernels_.extents(program, int(compiled.parameters.size()), tile,
                                  self.extents_.data() + size_t(i) * compiled.parameters.size());
    }

    // ------------------------------------------------------------- what only one thread does

    void begin_step() {
        const long first = batch * run.batch_size;
        program.batch = std::min(run.batch_size, run.visited - first);
        const int64_t* const order = run.order_each ? run.order + epoch * run.visited : run.order;
        program.order = order == nullptr ? nullptr : order + first;
        program.first_row = first;
        program.step = run.first_step + uint64_t(run.steps_done);
        program.scalars = run.scalars + run.steps_done * run.groups * self.network_.scalars();
        chunk_first = 0;
        program.gradient_started = false;
        std::fill(step_extents.begin(), step_extents.end(), Extent{});
        begin_chunk();
    }

    void begin_chunk() {
        chunk_count = std::min(chunk_rows, program.batch - chunk_first);
        int tiles = 0;
        for (long row = 0; row < chunk_count; row += item_rows, ++tiles) {
            Tile& tile = self.tile_table_[size_t(tiles)];
            tile.first = chunk_first + row;
            tile.rows = std::min(item_rows, chunk_count - row);
        }
        program.tile_count = tiles;
        stage = 0;
        begin_stage();
    }

    void begin_stage() {
        part = Part::stage;
        const Stage& now = compiled.stages[stage];
        if (now.over == Stage::Over::rows) {
            count = program.tile_count;
            return;
        }
        const Instruction& op = compiled.instructions[size_t(now.instruction)];
        count = panels(now.over == Stage::Over::inputs ? op.inputs : op.outputs);
        if (now.over == Stage::Over::outputs) count = (count + op.panel_group - 1) / op.panel_group;
    }

    void begin_tasks(Consume how) {
        consume = how;
        part = Part::tasks;
        count = long(compiled.tasks.size());
    }

    void advance() {
        switch (part) {
            case Part::stage:
                if (compiled.stages[stage].over == Stage::Over::outputs &&
                    compiled.instructions[size_t(compiled.stages[stage].instruction)].deferred)
                    ++updated;
                if (stop.load(std::memory_order_relaxed)) {
                    run.interrupted = true;
                    part = Part::done;
                } else if (++stage < compiled.stages.size()) {
                    begin_stage();
                } else {
                    chunk_done();
                }
                break;
            case Part::tasks:
                if (consume == Consume::accumulate) {
                    program.gradient_started = true;
                    chunk_first += chunk_count;
                    begin_chunk();
                } else {
                    tasks_done();
                }
                break;
            case Part::update: begin_constraints(); break;
            case Part::constrain: end_step(true); break;
            case Part::done: break;
        }
    }

    void chunk_done() {
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
        const bool weigh = w && program.weights.columns == 0;
        step_loss = weigh ? sum_in_strips(program.batch, [&](long i) { return w[i] * loss[i]; })
                          : sum_in_strips(program.batch, [&](long i) { return loss[i]; });
        if (step_weight == 0) {
            end_step(false);
            return;
        }
        if (!std::isfinite(step_loss)) {
            run.diverged = TrainingRun::in_loss;
            part = Part::done;
            return;
        }
        if (!statistics_are_finite()) return;
        program.batch_share = 1 / step_weight;
        program.gradient_scale = self.network_.mean ? program.batch_share : 1;
        bool surely_finite = true;
        const double gradient = largest_gradient(surely_finite);
        const bool whole = self.network_.clip_norm > 0 || !surely_finite;
        watched = !stays_finite(gradient);
        try {
            if (whole && program.gradient == nullptr) program.gradient = self.gradient_.need(self.packed_);
            if (watched) keep_values();
        } catch (const std::bad_alloc&) {
            out_of_memory = true;
            part = Part::done;
            return;
        }
        begin_tasks(whole ? Consume::keep : Consume::update);
    }

    bool statistics_are_finite() {
        for (const Instruction& op : compiled.instructions) {
            if (op.kind != Kind::batch_norm || op.use_running) continue;
            const int endless = self.kernels_.endless_statistics(program, op);
            if (endless == 0) continue;
            run.diverged = TrainingRun::in_statistics - (endless == 1 ? op.running_mean : op.running_var);
            part = Part::done;
            return false;
        }
        return true;
    }

    // A bound of what reaches the optimizer, from the numbers that the gradient is made of; and whether these bound the
    // gradient, and the sum of its squares, within the dtype.
    double largest_gradient(bool& surely_finite) const {
        const double limit = self.size_ == 8 ? 1e150 : 1e18;
        double result = 0;
        for (size_t i = 0; i < compiled.parameters.size(); ++i) {
            const PackedParameter& p = compiled.parameters[i];
            const Extent& e = step_extents[i];
            const double sum = double(program.batch) * e.x * e.d;
            const double share = p.over_batch ? program.batch_share : 1;
            double bound = std::max(sum, sum * program.gradient_scale) + p.l1 * share;
            if (p.l2 != 0) bound += p.l2 * share * largest_weight[i];
            if (!(bound * root_of_size[i] < limit)) surely_finite = false;
            if (p.factor != 0) result = larger(result, bound);
        }
        for (const double clip : {self.network_.clip_value, self.network_.clip_norm})
            if (clip > 0 && !(result <= clip)) result = clip;
        return result;
    }

    // Whether this step surely leaves weights and state finite.
    bool stays_finite(double gradient) {
        Leverage all;
        for (long group = 0; group < run.groups; ++group) {
            const Leverage own = leverage(program.scalars + group * self.network_.scalars());
            all.change = larger(all.change, own.change);
            all.growth = larger(all.growth, own.growth);
            all.memory = larger(all.memory, own.memory);
        }
        return self.reach_.stays_below(self.size_ == 8 ? 1e307 : 1e37, all, gradient);
    }
    Leverage leverage(const double* row) {
        const size_t bytes = size_t(self.network_.scalars()) * sizeof(double);
        if (std::memcmp(row, leverage_row.data(), bytes) != 0) {
            leverage_known = leverage_of_row(row);
            std::memcpy(leverage_row.data(), row, bytes);
        }
        return leverage_known;
    }
    Leverage leverage_of_row(const double* row) const {
        switch (program.rule) {
#define DR_CASE(name, ...)                        \
    case Rule::name: {                            \
        scalars::name step;                       \
        std::memcpy(&step, row, sizeof step);     \
        return leverage_of(step, largest_factor); \
    }
            DR_RULES(DR_CASE)
#undef DR_CASE
        }
        return {};
    }

    // The values that this step may move out of the finite numbers; and back to them.
    void keep_values() {
        char* const to =
            static_cast<char*>(self.before_.need(self.packed_ * size_t(1 + self.network_.states())));
        std::memcpy(to, program.parameters, self.packed_);
        for (int i = 0; i < self.network_.states(); ++i)
            std::memcpy(to + size_t(i + 1) * self.packed_, program.states[i], self.packed_);
    }
    void restore_values() {
        const char* const from = static_cast<const char*>(self.before_.data());
        std::memcpy(program.parameters, from, self.packed_);
        for (int i = 0; i < self.network_.states(); ++i)
            std::memcpy(program.states[i], from + size_t(i + 1) * self.packed_, self.packed_);
    }

    // Whether all new values are finite; otherwise the old ones are restored.
    bool moved_to_finite() {
        double weights = 0, states = 0;
        for (size_t i = 0; i < compiled.parameters.size(); ++i) {
            const PackedParameter& p = compiled.parameters[i];
            const double own = self.kernels_.largest(p, program.parameters);
            if (p.factor == 0) continue;
            largest_weight[i] = own;
            weights = larger(weights, own);
            for (int s = 0; s < self.network_.states(); ++s)
                states = larger(states, self.kernels_.largest(p, program.states[s]));
            if (std::isfinite(weights) && std::isfinite(states)) continue;
            restore_values();
            run.diverged = long(i);
            return false;
        }
        self.reach_.weights_are(weights);
        self.reach_.state_is(states);
        return true;
    }

    void tasks_done() {
        Squares trained;
        step_penalty = 0;
        for (size_t i = 0; i < compiled.tasks.size();) {
            const int parameter = compiled.tasks[i].parameter;
            Squares sum;
            double largest = 0;
            for (; i < compiled.tasks.size() && compiled.tasks[i].parameter == parameter; ++i) {
                sum.add(self.sums_[i].squares);
                step_penalty += self.sums_[i].penalty;
                largest = std::max(largest, self.sums_[i].largest);
            }
            if (!std::isfinite(sum.unit == 1 ? sum.value : sum.norm()) || !std::isfinite(step_penalty)) {
                run.diverged = parameter;
                part = Part::done;
                return;
            }
            // (Who computes the whole gradient once for its size, does so from then on.)
            largest_weight[size_t(parameter)] = consume == Consume::update ? largest : HUGE_VAL;
            step_squares[size_t(parameter)] = sum.total();
            if (consume == Consume::keep && compiled.parameters[size_t(parameter)].factor != 0)
                trained.add(sum);
        }
        if (consume == Consume::update) {
            begin_constraints();
            return;
        }
        const double norm = trained.norm(), most = self.network_.clip_norm;
        program.clip_factor = most > 0 && norm > most ? most / norm : 1;
        part = Part::update;
        count = long(compiled.tasks.size());
    }

    void begin_constraints() {
        if (constrained.empty()) {
            end_step(true);
            return;
        }
        part = Part::constrain;
        count = constrained_first.back();
    }

    void end_step(bool moved) {
        if (moved) {
            if (watched) {
                if (!deferred.empty()) update_deferred();
                if (!moved_to_finite()) {
                    part = Part::done;
                    return;
                }
            }
            for (const Instruction& op : compiled.instructions)
                if (op.kind == Kind::batch_norm && !op.use_running)
                    self.kernels_.move_statistics(program, op);
            run.loss_sum[epoch] += step_loss;
            run.weight_sum[epoch] += step_weight;
            run.penalty_sum[epoch] += step_penalty;
            double* const losses = run.step_losses + 2 * run.steps_done;
            losses[0] = self.network_.mean ? step_loss / step_weight : step_loss;
            losses[1] = step_penalty;
            double* const squares = run.gradient_squares + size_t(epoch) * step_squares.size();
            for (size_t i = 0; i < step_squares.size(); ++i) squares[i] += step_squares[i];
            ++run.updates[epoch];
            if (!deferred.empty() && !watched) defer();
        }
        team.lap(program.batch == batch_rows);
        program.outputs_first += program.batch;
        part = Part::done;
        if (++run.steps_done == run.steps) return;
        if (++batch == run.steps_per_epoch) {
            batch = 0;
            ++epoch;
        }
        begin_step();
    }

    // This step's tile and scalars stay until the next one's forward products have read them.
    void defer() {
        becomes_previous();
        std::swap(self.tile_table_[0].base, other_tile);
    }

    void becomes_previous() {
        updated = 0;
        program.previous = self.tile_table_[0].base;
        program.previous_scale = program.gradient_scale;
        program.previous_scalars = program.scalars;
    }
    // ... or the updates are done at once, by this thread alone.
    void update_deferred() {
        becomes_previous();
        for (const int i : deferred) {
            const Instruction& op = compiled.instructions[size_t(i)];
            for (long item = 0; item * op.panel_group < panels(op.outputs); ++item)
                self.kernels_.flush(program, op, item);
        }
        program.previous = nullptr;
    }

    void flush_deferred() {
        if (program.previous == nullptr) return;
        for (; updated < deferred.size(); ++updated) {
            const Instruction& op = compiled.instructions[size_t(deferred[updated])];
            const long items = (panels(op.outputs) + op.panel_group - 1) / op.panel_group;
            share_out(team, threads, items, double(op.inputs) * double(op.outputs),
                      [&](long i) { self.kernels_.flush(program, op, i); });
        }
    }
};

void Executor::train(TrainingRun& run) {
    Team team;
    Training training(*this, run, team);
    threads_used_ = training.threads;
    training.execute();
    if (training.out_of_memory) throw std::bad_alloc();
}

}  // namespace deltarule
