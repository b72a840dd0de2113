#include "compile.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "purpose.hpp"

namespace deltarule {

namespace {

constexpr long direct_rows_most = 4;  // batches whose backward products read the weights themselves
constexpr double copied_weights_most = 1 << 20;  // weights whose transposed copy is worth its memory
constexpr long panel_rows_most = 16;             // batches whose large layers are cut by panels
constexpr double panel_work_least = 16384;       // multiplications per row of such a layer

// Columnar programs. A tile's values should stay in the second-level cache, its sums across lanes be rare; every group
// has a gradient of its own, and there are enough groups to share out among any number of threads.
constexpr long columnar_tile_most = 256, columnar_tile_elements = 1 << 16;
constexpr long columnar_groups_most = 64;
constexpr long columnar_weights_most =
    8192;  // they are read for each tile: they should stay in the first-level cache

class Compiler {
public:
    Compiler(const Description& network, Mode mode, int panel, long rows, long batch_size)
        : net_(network), training_(mode == Mode::train), has_loss_(mode != Mode::predict),
          rounds_(training_ && network.bfloat16), panel_(panel), rows_(rows), batch_size_(batch_size),
          columnar_(training_ && fits_columns()), value_(network.widths.size(), -1),
          delta_(network.widths.size(), -1), written_(network.widths.size(), false),
          consumers_(network.widths.size(), 0), learns_(network.widths.size(), false) {}

    Compiled compile() {
        for (const Operation& op : net_.operations) {
            bool learns = !op.parameters.empty();
            for (const int slot : op.sources) {
                ++consumers_[size_t(slot)];
                learns = learns || learns_[size_t(slot)];
            }
            learns_[size_t(op.target)] = learns;
        }
        pack_parameters();
        make_forward();
        cut_by_panels();
        out_.output = value_[size_t(net_.operations.back().target)];
        out_.output_columns = net_.widths[size_t(net_.operations.back().target)];
        if (has_loss_) make_loss();
        if (training_) {
            make_backward();
            update_from_single_rows();
            make_tasks();
        }
        make_stages();
        out_.columnar = columnar_;
        if (columnar_) cut_columns();
        return out_;
    }

private:
    long round_up(long columns) const { return (columns + panel_ - 1) / panel_ * panel_; }
    // A place for one value; in elements per row for now, times the capacity when the tiles are laid out.
    long place(long columns) {
        const long at = out_.row_size;
        out_.row_size += columnar_ ? columns : round_up(columns);
        return at;
    }

    // Whether rows should fill the lanes: where that leaves fewer lanes idle than panels do. Decided by shapes alone,
    // and for the whole network.
    bool fits_columns() const {
        const long lanes = panel_ / 2;
        const auto whole = [&](long n) { return double((n + lanes - 1) / lanes * lanes); };
        double in_columns = 0, in_panels = 0;  // products, each lane that works or idles counted
        for (const Operation& op : net_.operations) {
            if (op.kind != Kind::dense && op.kind != Kind::activation) return false;
            if (op.kind != Kind::dense) continue;
            const long inputs = width(op.source()), outputs = width(op.target);
            in_columns += whole(batch_size_) * double(inputs) * double(outputs);
            in_panels += double(batch_size_) * double(inputs) * whole(outputs);
        }
        for (const Parameter& p : net_.parameters)
            if (p.max_norm > 0) return false;
        return !net_.bfloat16 && batch_size_ >= lanes / 2 && net_.parameter_count <= columnar_weights_most &&
               in_columns < in_panels;
    }

    // Rows of a tile and of a group, cut as evenly as the lanes allow.
    void cut_columns() {
        const long lanes = panel_ / 2;
        const auto whole = [&](long n) { return (n + lanes - 1) / lanes * lanes; };
        const auto parts = [](long n, long most) { return (n + most - 1) / most; };
        out_.ones = place(1);
        long most = columnar_tile_elements / out_.row_size / lanes * lanes;
        most = std::clamp(most, lanes, columnar_tile_most);
        const long tiles = parts(batch_size_, most);
        out_.capacity = whole(parts(batch_size_, tiles));
        out_.group_rows = out_.capacity * parts(parts(batch_size_, out_.capacity), columnar_groups_most);
    }
    // The same for words of two rows each, which take half as many.
    long place_for_row_pairs(long columns) {
        const long at = out_.row_size;
        out_.row_size += round_up(columns) / 2;
        return at;
    }
    long copies(long elements) {
        const long at = out_.transposed;
        out_.transposed += elements;
        return at;
    }
    long statistics(long columns) {
        const long at = out_.statistics;
        out_.statistics += round_up(columns);
        return at;
    }
    long width(int slot) const { return net_.widths[size_t(slot)]; }

    void pack_parameters() {
        for (const Parameter& p : net_.parameters) {
            PackedParameter s;
            s.inputs = columnar_ ? 1 : p.rows;
            s.outputs = columnar_ ? p.rows * p.columns : p.columns;
            if (columnar_) s.form = PackedParameter::Form::by_groups;
            s.at = out_.packed;
            s.canonical = p.offset;
            s.factor = p.factor;
            s.l1 = p.l1;
            s.l2 = p.l2;
            s.over_batch = p.over_batch;
            s.decays = p.decays;
            s.max_norm = p.max_norm;
            out_.packed += s.inputs * round_up(s.outputs);
            out_.parameters.push_back(s);
        }
        // Zeros that a layer without bias starts from.
        zeros_ = out_.zeros = out_.packed;
        long widest = 0;
        for (const long w : net_.widths) widest = w > widest ? w : widest;
        out_.packed += round_up(widest);
    }

    // The operation after `i` where it is an activation that can be fused behind it.
    const Operation* fused_activation(size_t i) const {
        if (i + 1 >= net_.operations.size()) return nullptr;
        const Operation& op = net_.operations[i];
        const Operation& next = net_.operations[i + 1];
        const bool fuses = op.kind == Kind::dense && next.kind == Kind::activation &&
                           next.source() == op.target && consumers_[size_t(op.target)] == 1;
        return fuses ? &next : nullptr;
    }

    void make_forward() {
        Instruction gather;
        gather.outputs = width(0);
        gather.out = value_[0] = place(width(0));
        out_.instructions.push_back(gather);
        for (size_t i = 0; i < net_.operations.size(); ++i) {
            const Operation& op = net_.operations[i];
            Instruction now;
            now.kind = op.kind;
            now.inputs = width(op.source());
            now.outputs = width(op.target);
            now.in = value_[size_t(op.source())];
            switch (op.kind) {
                case Kind::dense: i += make_dense(i, now) ? 1 : 0; break;
                case Kind::activation:
                    now.activation = op.activation;
                    now.setting = only_setting(op.settings);
                    now.pre = now.in;
                    now.out = value_[size_t(op.target)] = place(now.outputs);
                    break;
                case Kind::embedding: make_embedding(op, now); break;
                case Kind::dropout: make_dropout(op, now); break;
                case Kind::batch_norm:
                    now.use_running = op.frozen || !training_;
                    now.momentum = op.settings.at("momentum");
                    now.running_mean = op.state.at("running_mean");
                    now.running_var = op.state.at("running_variance");
                    for (long* s : {&now.mean, &now.variance, &now.rstd, &now.sum_d, &now.sum_dx})
                        *s = statistics(now.outputs);
                    out_.cut = out_.cut || !now.use_running;
                    [[fallthrough]];
                case Kind::layer_norm:
                    out_.only_dense = false;
                    now.epsilon = op.settings.at("epsilon");
                    now.weight = packed(op, "scale").at;
                    now.bias = packed(op, "shift").at;
                    now.aux = place(now.outputs);
                    if (op.kind == Kind::layer_norm) now.row_aux = place(1);
                    now.out = value_[size_t(op.target)] = place(now.outputs);
                    break;
                case Kind::scale:
                    out_.only_dense = false;
                    now.weight = packed(op, "scale").at;
                    now.out = value_[size_t(op.target)] = place(now.outputs);
                    break;
                case Kind::add:
                    now.in2 = value_[size_t(op.sources[1])];
                    now.out = value_[size_t(op.target)] = place(now.outputs);
                    break;
                case Kind::gather:
                case Kind::loss: break;
            }
            operation_.push_back(&op);
            out_.instructions.push_back(now);
        }
    }

    PackedParameter& packed(const Operation& op, const char* name) {
        return out_.parameters[size_t(op.parameter(name))];
    }

    void make_embedding(const Operation& op, Instruction& now) {
        out_.only_dense = false;
        const PackedParameter& table = packed(op, "table");
        const std::vector<long>&columns = op.lists.at("columns"), &categories = op.lists.at("categories");
        const auto expect = [](bool holds, const char* what) {
            if (!holds) throw std::invalid_argument(std::string("native core: embedding: ") + what);
        };
        expect(&op == net_.operations.data() && op.source() == 0, "must read the network's own inputs");
        expect(!columns.empty() && columns.size() == categories.size(),
               "needs as many columns as categories");
        for (long column = 0; column < now.inputs; ++column)
            if (std::find(columns.begin(), columns.end(), column) == columns.end())
                out_.passed.push_back(column);
        expect(long(out_.passed.size() + columns.size()) == now.inputs,
               "columns must differ and be columns of the input");
        long first = 0, to = long(out_.passed.size());
        for (size_t i = 0; i < columns.size(); ++i) {
            expect(categories[i] >= 1 && categories[i] <= table.inputs - first,
                   "the table must have a row for each category");
            out_.lookups.push_back({columns[i], first, categories[i], to});
            first += categories[i];
            to += table.outputs;
        }
        expect(first == table.inputs && to == now.outputs,
               "table and output must have the shapes of its columns");
        now.weight = table.at;
        now.table_rows = table.inputs;
        now.table_columns = table.outputs;
        now.out = value_[size_t(op.target)] = place(now.outputs);
    }

    void make_dropout(const Operation& op, Instruction& now) {
        const double rate = op.settings.at("rate");
        if (!training_ || rate == 0) {  // passes through
            now.out = value_[size_t(op.target)] = now.in;
            return;
        }
        now.layer = uint32_t(op.position);
        now.threshold = dropout_threshold(rate);
        now.keep_scale = 1 / (1 - rate);
        now.aux = place(now.outputs);
        now.out = value_[size_t(op.target)] = place(now.outputs);
    }

    // Returns whether the next operation was fused.
    bool make_dense(size_t i, Instruction& now) {
        const Operation& op = net_.operations[i];
        const bool has_bias = op.parameter("bias") >= 0;
        now.parameter = op.parameter("weight");
        now.weight = packed(op, "weight").at;
        now.bias = has_bias ? packed(op, "bias").at : zeros_;
        now.flat_weight = packed(op, "weight").canonical;
        now.flat_bias = has_bias ? packed(op, "bias").canonical : -1;
        out_.multiplications += double(now.inputs) * double(now.outputs);
        if (rounds_) {
            PackedParameter& weight = packed(op, "weight");
            now.in_by_columns = place((now.inputs + 1) / 2);
            weight.x_by_rows = now.in_by_rows = place_for_row_pairs(now.inputs);
            now.rounded = weight.rounded = copies((now.inputs + 1) / 2 * round_up(now.outputs));
        }
        const Operation* next = fused_activation(i);
        now.pre = now.out = value_[size_t(op.target)] = place(now.outputs);
        if (next == nullptr) return false;
        const bool last = i + 2 == net_.operations.size();
        now.activation = next->activation;
        now.setting = only_setting(next->settings);
        out_.applied += double(now.outputs);
        const bool keep =
            (training_ && activation_traits[int(next->activation)].reads == Reads::z) ||
            (has_loss_ && last && net_.canonical && loss_traits[int(*net_.loss)].canonical_reads == Reads::z);
        if (keep) now.out = place(now.outputs);
        value_[size_t(next->target)] = now.out;
        return true;
    }

    void make_loss() {
        Instruction loss;
        loss.kind = Kind::loss;
        loss.loss = *net_.loss;
        loss.loss_setting = only_setting(net_.loss_settings);
        loss.from_z = net_.canonical;
        const Instruction& last = out_.instructions.back();
        const Operation& end = net_.operations.back();
        loss.outputs = width(end.target);
        loss.in = value_[size_t(end.target)];
        loss.in2 = end.kind == Kind::activation ? last.pre : loss.in;
        loss.aux = place(loss.outputs);
        // With a canonical activation the loss gives dL/dz, and the activation's backward is left out.
        const int slot = net_.canonical && end.kind == Kind::activation ? end.source() : end.target;
        loss.d_in = delta_[size_t(slot)] = place(loss.outputs);
        written_[size_t(slot)] = true;
        delta_[size_t(end.target)] = loss.d_in;
        out_.instructions.push_back(loss);
    }

    // Where dL/d(slot) of an input goes; `in_place`: it may take d_out's place where nobody else adds.
    long input_delta(int slot, long d_out, bool in_place, bool& add) {
        const size_t s = size_t(slot);
        if (!learns_[s]) return -1;
        if (delta_[s] < 0) delta_[s] = in_place && consumers_[s] == 1 ? d_out : place(width(slot));
        add = written_[s];
        written_[s] = true;
        return delta_[s];
    }

    void make_backward() {
        const int end = int(out_.instructions.size()) - 1;  // the loss
        for (int i = end - 1; i > 0; --i) {
            Instruction& now = out_.instructions[size_t(i)];
            const Operation& op = *operation_[size_t(i - 1)];
            const bool fused = op.kind == Kind::dense && fused_by(op) != nullptr;
            const int target = fused ? fused_by(op)->target : op.target;
            now.d_out = delta_[size_t(target)];
            const bool by_loss = net_.canonical && i == end - 1;
            switch (op.kind) {
                case Kind::dense: {
                    PackedParameter& weight = packed(op, "weight");
                    weight.x = now.in;
                    weight.d = now.d_out;
                    if (op.parameter("bias") >= 0 && !columnar_) {
                        packed(op, "bias").form = PackedParameter::Form::column_sum;
                        packed(op, "bias").d = now.d_out;
                    }
                    now.derive =
                        now.activation != Activation::identity && !by_loss && !derived_above_[size_t(target)];
                    now.d_in = input_delta(op.source(), -1, false, now.add_d_in);
                    if (rounds_) weight.d_by_rows = now.d_by_rows = place_for_row_pairs(now.outputs);
                    if (rounds_ && now.d_in >= 0) now.d_by_columns = place((now.outputs + 1) / 2);
                    if (now.d_in >= 0 && !columnar_) {
                        // (Narrow layers gain nothing from dot products: their copy is small.)
                        const double size = double(now.inputs) * double(now.outputs);
                        now.direct = !rounds_ && rows_ <= direct_rows_most && now.outputs > 4;
                        if (rounds_)
                            now.transposed = copies(round_up(now.inputs) * ((now.outputs + 1) / 2));
                        else if (!now.direct && size < copied_weights_most)
                            now.transposed = copies(round_up(now.inputs) * now.outputs);
                        weight.transposed = now.transposed;
                    }
                    if (now.d_in >= 0) fuse_source(op, now);
                    break;
                }
                case Kind::activation:
                    if (by_loss) {  // d_out is dL/dz already
                        if (learns_[size_t(op.source())]) delta_[size_t(op.source())] = now.d_out;
                        break;
                    }
                    now.d_in = input_delta(op.source(), now.d_out, true, now.add_d_in);
                    break;
                case Kind::embedding: {  // (of its inputs no delta is wanted)
                    PackedParameter& table = packed(op, "table");
                    table.form = PackedParameter::Form::looked_up;
                    table.x = now.in;
                    table.d = now.d_out;
                    table.d_columns = now.outputs;
                    break;
                }
                case Kind::dropout: now.d_in = input_delta(op.source(), now.d_out, true, now.add_d_in); break;
                case Kind::batch_norm:
                case Kind::layer_norm: {
                    PackedParameter &scale = packed(op, "scale"), &shift = packed(op, "shift");
                    scale.form = PackedParameter::Form::column_dot;
                    shift.form = PackedParameter::Form::column_sum;
                    scale.x = now.aux;
                    scale.d = shift.d = now.d_out;
                    now.d_in = input_delta(op.source(), -1, false, now.add_d_in);
                    break;
                }
                case Kind::scale: {
                    PackedParameter& scale = packed(op, "scale");
                    scale.form = PackedParameter::Form::column_dot;
                    scale.x = now.in;
                    scale.d = now.d_out;
                    now.d_in = input_delta(op.source(), -1, false, now.add_d_in);
                    break;
                }
                case Kind::add:
                    now.d_in = input_delta(op.source(), -1, false, now.add_d_in);
                    now.d_in2 = input_delta(op.sources[1], now.d_out, true, now.add_d_in2);
                    break;
                case Kind::gather:
                case Kind::loss: break;
            }
        }
    }

    // Few rows cannot be shared out, large layers can. (Where batch statistics cut the step, they do not.)
    void cut_by_panels() {
        if (out_.cut || rounds_ || rows_ > panel_rows_most) return;
        for (Instruction& op : out_.instructions) {
            const double work = double(op.inputs) * double(op.outputs);
            if (op.kind != Kind::dense || work < panel_work_least) continue;
            op.by_panels = true;
            out_.by_panels += work;
        }
    }

    // A batch of one row updates weights straight from x and d, and the update of a large layer waits for the next
    // step. What needs the gradient itself does neither. (It is the batch that counts, not a tile: with as many
    // threads as rows every tile has one row.)
    void update_from_single_rows() {
        if (rows_ != 1 || rounds_ || net_.clip_value > 0) return;
        for (PackedParameter& s : out_.parameters)
            s.single_row = s.form == PackedParameter::Form::product && s.l1 == 0 && s.l2 == 0 &&
                           s.factor != 0 && s.transposed < 0;
        if (net_.clip_norm > 0) return;
        for (Instruction& op : out_.instructions) {
            if (!op.by_panels) continue;
            PackedParameter& s = out_.parameters[size_t(op.parameter)];
            op.deferred = s.deferred = s.single_row && s.max_norm == 0;
        }
    }

    const Operation* fused_by(const Operation& op) const {
        return fused_activation(size_t(&op - net_.operations.data()));
    }

    // The activation that made a dense layer's input, if only this layer reads it.
    void fuse_source(const Operation& op, Instruction& now) {
        if (consumers_[size_t(op.source())] != 1) return;
        for (size_t j = 0; j < operation_.size(); ++j) {
            const Operation& below = *operation_[j];
            const Operation* activation = below.kind == Kind::dense ? fused_by(below) : nullptr;
            if (activation == nullptr || activation->target != op.source()) continue;
            if (acts_on_rows(activation->activation)) return;
            const Instruction& made = out_.instructions[j + 1];
            now.source = made.activation;
            now.source_setting = made.setting;
            now.source_pre = made.pre;
            derived_above_[size_t(op.source())] = true;
        }
    }

    // Up to four panels wide, so that a panel of x is read once for four of d; as many blocks deep as
    // leaves enough tasks to share out.
    void make_tasks() {
        constexpr int panels_at_once = 4, enough_tasks = 64;
        long blocks = 0;
        for (const PackedParameter& s : out_.parameters)
            blocks += round_up(s.outputs) / panel_ * (round_up(s.inputs) / panel_);
        const long wanted = blocks / enough_tasks;
        const int depth = int(wanted < 1 ? 1 : wanted > most_task_blocks ? most_task_blocks : wanted);
        for (size_t i = 0; i < out_.parameters.size(); ++i) {
            const PackedParameter& s = out_.parameters[i];
            if (s.deferred) {  // nothing but the sum of squares is left to do
                out_.tasks.push_back(
                    {int(i), 0, int(round_up(s.outputs) / panel_), 0, int(round_up(s.inputs) / panel_)});
                continue;
            }
            const int np = int(round_up(s.outputs) / panel_);
            const bool product = s.form == PackedParameter::Form::product;
            const bool matrix = product || s.form == PackedParameter::Form::looked_up;
            const int nq = matrix ? int(round_up(s.inputs) / panel_) : 1;
            const int width = product ? panels_at_once : np;
            for (int p = 0; p < np; p += width)
                for (int q = 0; q < nq; q += depth)
                    out_.tasks.push_back(
                        {int(i), p, p + width < np ? p + width : np, q, q + depth < nq ? q + depth : nq});
        }
    }

    // Batch statistics need all rows of their input, and of their output's delta: they cut the phase into stages. So do
    // the layers that are shared out by panels. What follows a cut upwards goes on downwards in the same stage.
    void make_stages() {
        const int count = int(out_.instructions.size());
        const auto cuts = [&](int i) {
            const Instruction& op = out_.instructions[size_t(i)];
            return op.by_panels || (op.kind == Kind::batch_norm && !op.use_running);
        };
        const auto by_rows = [&](int f0, int f1, int b0, int b1) {
            if (f0 >= f1 && b0 >= b1) return;
            Stage stage;
            stage.forward_first = f0;
            stage.forward_last = f1;
            stage.backward_first = b0;
            stage.backward_last = b1;
            out_.stages.push_back(stage);
        };
        const auto by_columns = [&](Stage::Over over, int i) {
            Stage stage;
            stage.over = over;
            stage.instruction = i;
            out_.stages.push_back(stage);
        };
        int start = 0;  // instructions from here on have not run forward
        for (int i = 0; i < count; ++i) {
            if (!cuts(i)) continue;
            by_rows(start, i, 0, 0);
            by_columns(
                out_.instructions[size_t(i)].by_panels ? Stage::Over::outputs : Stage::Over::statistics, i);
            start = i;  // a softmax, or the normalisation itself
        }
        int end = training_ ? count : 0;  // instructions from here on have run backward
        for (int i = count - 1; training_ && i >= 0; --i) {
            const Instruction& op = out_.instructions[size_t(i)];
            if (!cuts(i) || (op.by_panels && op.d_in < 0)) continue;
            // (The first half of a dense layer's way back goes by rows, and so comes before its products.)
            by_rows(start, count, op.by_panels ? i : i + 1, end);
            start = count;
            by_columns(op.by_panels ? Stage::Over::inputs : Stage::Over::sums, i);
            end = op.by_panels ? i : i + 1;
        }
        by_rows(start, count, 0, end);
    }

    const Description& net_;
    const bool training_, has_loss_, rounds_;  // rounds_: operands of products, to bfloat16
    const int panel_;
    const long rows_, batch_size_;
    const bool columnar_;
    std::vector<long> value_, delta_;
    std::vector<bool> written_;
    std::vector<int> consumers_;
    std::vector<bool> learns_;
    std::vector<bool> derived_above_ = std::vector<bool>(net_.widths.size(), false);
    std::vector<const Operation*> operation_;  // of instruction i + 1
    long zeros_ = 0;
    Compiled out_;
};

}  // namespace

Compiled compile(const Description& network, Mode mode, int panel, long rows, long batch_size) {
    return Compiler(network, mode, panel, rows, batch_size).compile();
}

void lay_out(Compiled& program, long capacity) {
    const auto scale = [&](long& place) {
        if (place > 0) place *= capacity;
    };
    for (Instruction& op : program.instructions)
        for (long* place :
             {&op.in, &op.in2, &op.pre, &op.out, &op.d_out, &op.d_in, &op.d_in2, &op.aux, &op.row_aux,
              &op.source_pre, &op.in_by_columns, &op.in_by_rows, &op.d_by_columns, &op.d_by_rows})
            scale(*place);
    for (PackedParameter& p : program.parameters) {
        for (long* place : {&p.x, &p.d, &p.x_by_rows, &p.d_by_rows}) scale(*place);
    }
    scale(program.output);
    scale(program.ones);
}

}  // namespace deltarule
