#include "engine.hpp"

#include <algorithm>
#include <climits>
#include <stdexcept>

namespace deltarule {

Executor::Executor(Description network, int bits, int threads, const Target& target)
    : network_((check(network), std::move(network))), size_(bits == 64 ? 8 : 4),
      threads_(std::max(threads, 1)), kernels_(bits == 64 ? *target.float64 : *target.float32),
      pairs_in_hardware_(target.pairs_in_hardware) {
    if (network_.bfloat16 && bits != 32)
        throw std::invalid_argument("native core: bfloat16 products need a float32 network");
    const Compiled layout = compile(network_, Mode::predict, kernels_.panel_width, LONG_MAX);
    layout_ = layout.parameters;
    packed_ = size_t(layout.packed) * size_;
    states_.need(packed_ * size_t(network_.states()));
}

void Executor::arrange_states(const Compiled& program) {
    if (program.columnar == columnar_) return;
    std::vector<char> flat(size_t(network_.states()) * size_t(network_.parameter_count) * size_);
    get_optimizer_state(flat.data());
    states_.need(size_t(program.packed) * size_ * size_t(network_.states()));
    layout_ = program.parameters;
    packed_ = size_t(program.packed) * size_;
    columnar_ = program.columnar;
    set_optimizer_state(flat.data());
}

template <class Visit>
void Executor::for_states(Visit visit) const {
    for (int i = 0; i < network_.states(); ++i)
        for (const PackedParameter& p : layout_)
            visit(p, (p.outputs + kernels_.panel_width - 1) / kernels_.panel_width, state(i),
                  size_t(i) * size_t(network_.parameter_count) * size_);
}

void Executor::set_optimizer_state(const void* flat) {
    double size = 0;
    for_states([&](const PackedParameter& p, long panels, void* packed, size_t offset) {
        size = larger(size,
                      kernels_.pack(p, 0, panels, static_cast<const char*>(flat) + offset, packed, nullptr));
    });
    reach_.state_is(size);
}

void Executor::get_optimizer_state(void* flat) const {
    for_states([&](const PackedParameter& p, long panels, void* packed, size_t offset) {
        kernels_.unpack(p, 0, panels, packed, static_cast<char*>(flat) + offset);
    });
}

}  // namespace deltarule
