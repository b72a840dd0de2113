// How far a step can move a network at most: whether its weights and the optimizer's state surely stay finite. The
// bounds are coarse. Where they prove nothing, which is hardly ever, the engine looks at the new values themselves.
#pragma once

#include <algorithm>
#include <cmath>

#include "program.hpp"

namespace deltarule {

// What an update rule makes of gradients up to size g, once per step. Linear state stays below `memory` * g, with the
// largest memory of all steps so far; no weight moves by more than `change` * that memory * max(g, 1), after having been
// multiplied by at most `growth`.
struct Leverage {
    double change = 0, growth = 1, memory = 1;
};

//   in  step    the rule's scalars, by name
//   in  factor  the largest of all on the learning rate
template <class Scalars>
Leverage leverage_of(const Scalars& step, double factor) {
    Leverage found;
    double size = 0;  // of the step, for a gradient (or moment) of size 1
    if constexpr (requires { step.rate; }) size += std::abs(step.rate);
    if constexpr (requires { step.step_size; }) size += std::abs(step.step_size);
    if constexpr (requires { step.difference_size; }) size += 2 * std::abs(step.difference_size);
    if constexpr (requires { step.gradient_size; }) size += std::abs(step.gradient_size);
    if constexpr (requires { step.moment_size; }) size += std::abs(step.moment_size);
    if constexpr (requires { step.largest; }) size += step.largest;
    if constexpr (requires { step.momentum; }) found.memory = 2 / (1 - step.momentum);
    if constexpr (requires { step.inflow; }) found.memory *= std::max(1.0, std::abs(step.inflow));
    if constexpr (requires { step.epsilon; }) found.memory /= std::min(step.epsilon, 1.0);
    if constexpr (requires { step.decay; }) found.growth = std::max(1.0, std::abs(1 - factor * step.decay));
    found.change = 2 * factor * size;
    return found;
}

// The sizes reached so far, of all parameters together.
class Reach {
public:
    void weights_are(double size) { weight_ = size; }
    void state_is(double size) { gradient_ = square_ = size; }
    // Counts a step in; whether all stays below `most`.
    bool stays_below(double most, const Leverage& by, double gradient) {
        gradient_ = larger(gradient_, gradient);
        square_ += 9 * gradient * gradient;  // (of g + d, the difference d of two gradients)
        memory_ = larger(memory_, by.memory);
        weight_ = by.growth * weight_ + by.change * memory_ * larger(1, gradient_);
        return weight_ < most && square_ < most && memory_ * gradient_ < most;
    }

private:
    double weight_ = 0, gradient_ = 0, square_ = 0, memory_ = 1;
};

}  // namespace deltarule
