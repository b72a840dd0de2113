// The optimizers: what one step does to a vector of parameters. w: parameters; g: gradient (data plus penalty,
// clipped); s: the state arrays. A rule is made of the step's scalars, which Python computes and kinds.hpp names;
// factor: the parameter's own on the learning rate; keep: 1 - factor * decay.
#pragma once

#include "elementwise.hpp"
#include "program.hpp"
#include "simd.hpp"

namespace deltarule::DR_TARGET {

// w = w - rate g
template <class T>
struct Sgd {
    T rate;
    template <class Scalars>
    Sgd(const Scalars& step, double factor, bool) : rate(T(factor * step.rate)) {}
    template <class States>
    DR_INLINE void apply(vec<T>& w, vec<T> g, States&) const {
        w = fnma(broadcast(rate), g, w);
    }
};

// v = momentum v + inflow g;  w = w - rate v, or w - rate (inflow g + momentum v)
template <class T, bool nesterov>
struct MomentumRule {
    T rate, momentum, inflow;
    template <class Scalars>
    MomentumRule(const Scalars& step, double factor, bool)
        : rate(T(factor * step.rate)), momentum(T(step.momentum)), inflow(T(step.inflow)) {}
    template <class States>
    DR_INLINE void apply(vec<T>& w, vec<T> g, States& s) const {
        auto& [v] = s;
        const vec<T> m = broadcast(momentum);
        g = inflow * g;
        v = fma(m, v, g);
        w = fnma(broadcast(rate), nesterov ? fma(m, v, g) : v, w);
    }
};
template <class T>
using Momentum = MomentumRule<T, false>;
template <class T>
using Nesterov = MomentumRule<T, true>;

// s = rho s + (1 - rho) g^2;  u = g / (sqrt(s) + epsilon);  v = momentum v + u;  w = w - rate v
template <class T, bool centered, bool with_momentum>
struct RmspropRule {
    T rate, rho, one_rho, epsilon, momentum;
    template <class Scalars>
    RmspropRule(const Scalars& step, double factor, bool)
        : rate(T(factor * step.rate)), rho(T(step.rho)), one_rho(T(1 - step.rho)), epsilon(T(step.epsilon)),
          momentum(T(step.momentum)) {}
    template <class States>
    DR_INLINE void apply(vec<T>& w, vec<T> g, States& s) const {
        vec<T>& square = s[0];
        square = rho * square + one_rho * g * g;
        vec<T> spread = square;
        if constexpr (centered) {
            vec<T>& mean = s[1];
            mean = rho * mean + one_rho * g;
            spread = max(vec<T>{}, square - mean * mean);
        }
        vec<T> u = g / (sqrt(spread) + epsilon);
        if constexpr (with_momentum) {
            vec<T>& v = s[1 + centered];
            u = v = fma(broadcast(momentum), v, u);
        }
        w = fnma(broadcast(rate), u, w);
    }
};
template <class T>
using Rmsprop = RmspropRule<T, false, false>;
template <class T>
using RmspropCentered = RmspropRule<T, true, false>;
template <class T>
using RmspropMomentum = RmspropRule<T, false, true>;
template <class T>
using RmspropCenteredMomentum = RmspropRule<T, true, true>;

// s = s + g^2;  w = w - rate g / (sqrt(s) + epsilon)
template <class T>
struct Adagrad {
    T rate, epsilon;
    template <class Scalars>
    Adagrad(const Scalars& step, double factor, bool)
        : rate(T(factor * step.rate)), epsilon(T(step.epsilon)) {}
    template <class States>
    DR_INLINE void apply(vec<T>& w, vec<T> g, States& s) const {
        auto& [sum] = s;
        sum = fma(g, g, sum);
        w = w - rate * g / (sqrt(sum) + epsilon);
    }
};

// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
// w = keep w - step_size m / (root_correction sqrt(v) + epsilon); amsgrad: the largest v so far
template <class T, bool amsgrad>
struct AdamRule {
    T step_size, beta1, one_beta1, beta2, one_beta2, root_correction, epsilon, keep;
    template <class Scalars>
    AdamRule(const Scalars& step, double factor, bool decays)
        : step_size(T(factor * step.step_size)), beta1(T(step.beta1)), one_beta1(T(1 - step.beta1)),
          beta2(T(step.beta2)), one_beta2(T(1 - step.beta2)), root_correction(T(step.root_correction)),
          epsilon(T(step.epsilon)), keep(T(decays ? 1 - factor * step.decay : 1)) {}
    template <class States>
    DR_INLINE void apply(vec<T>& w, vec<T> g, States& s) const {
        vec<T>&m = s[0], &v = s[1];
        m = fma(broadcast(beta1), m, one_beta1 * g);
        v = fma(broadcast(beta2), v, one_beta2 * g * g);
        vec<T> spread = v;
        if constexpr (amsgrad) spread = s[2] = max(s[2], v);
        w = keep * w - step_size * m / fma(sqrt(spread), broadcast(root_correction), broadcast(epsilon));
    }
};
template <class T>
using Adam = AdamRule<T, false>;
template <class T>
using AdamAmsgrad = AdamRule<T, true>;

// m, v as Adam;  w = w - (gradient_size g + moment_size m) / (root_correction sqrt(v) + epsilon)
template <class T>
struct Nadam {
    T factor, gradient_size, moment_size, beta1, one_beta1, beta2, one_beta2, root_correction, epsilon;
    template <class Scalars>
    Nadam(const Scalars& step, double f, bool)
        : factor(T(f)), gradient_size(T(step.gradient_size)), moment_size(T(step.moment_size)),
          beta1(T(step.beta1)), one_beta1(T(1 - step.beta1)), beta2(T(step.beta2)),
          one_beta2(T(1 - step.beta2)), root_correction(T(step.root_correction)), epsilon(T(step.epsilon)) {}
    template <class States>
    DR_INLINE void apply(vec<T>& w, vec<T> g, States& s) const {
        auto& [m, v] = s;
        m = fma(broadcast(beta1), m, one_beta1 * g);
        v = fma(broadcast(beta2), v, one_beta2 * g * g);
        const vec<T> ahead = gradient_size * g + moment_size * m;
        w = w - factor * ahead / fma(sqrt(v), broadcast(root_correction), broadcast(epsilon));
    }
};

// d = g - previous, 0 in the first step;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) d;
// n = beta3 n + (1 - beta3) (g + beta2 d)^2;
// w = (w - (step_size m + difference_size v) / (root_correction sqrt(n) + epsilon)) / (1 + factor * decay)
template <class T>
struct Adan {
    T factor, step_size, difference_size, beta1, one_beta1, beta2, one_beta2, beta3, one_beta3,
        root_correction, epsilon, shrink;
    bool first;
    template <class Scalars>
    Adan(const Scalars& step, double f, bool decays)
        : factor(T(f)), step_size(T(step.step_size)), difference_size(T(step.difference_size)),
          beta1(T(step.beta1)), one_beta1(T(1 - step.beta1)), beta2(T(step.beta2)),
          one_beta2(T(1 - step.beta2)), beta3(T(step.beta3)), one_beta3(T(1 - step.beta3)),
          root_correction(T(step.root_correction)), epsilon(T(step.epsilon)),
          shrink(T(decays ? 1 / (1 + f * step.decay) : 1)), first(step.first != 0) {}
    template <class States>
    DR_INLINE void apply(vec<T>& w, vec<T> g, States& s) const {
        auto& [m, v, n, previous] = s;
        const vec<T> difference = first ? vec<T>{} : g - previous;
        const vec<T> sum = fma(broadcast(beta2), difference, g);
        m = fma(broadcast(beta1), m, one_beta1 * g);
        v = fma(broadcast(beta2), v, one_beta2 * difference);
        n = fma(broadcast(beta3), n, one_beta3 * sum * sum);
        const vec<T> ahead = step_size * m + difference_size * v;
        w = shrink * (w - factor * ahead / fma(sqrt(n), broadcast(root_correction), broadcast(epsilon)));
        previous = g;
    }
};

// w = keep w - rate sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g
template <class T>
struct Lion {
    T rate, beta1, one_beta1, beta2, one_beta2, keep;
    template <class Scalars>
    Lion(const Scalars& step, double factor, bool decays)
        : rate(T(factor * step.rate)), beta1(T(step.beta1)), one_beta1(T(1 - step.beta1)),
          beta2(T(step.beta2)), one_beta2(T(1 - step.beta2)), keep(T(decays ? 1 - factor * step.decay : 1)) {}
    template <class States>
    DR_INLINE void apply(vec<T>& w, vec<T> g, States& s) const {
        auto& [m] = s;
        const vec<T> direction = sign<T>(beta1 * m + one_beta1 * g);
        w = keep * w - rate * direction;
        m = beta2 * m + one_beta2 * g;
    }
};

// size = clip(size * (increase | decrease | 1));  g = 0 where the sign turned;  w = w - size sign(g)
template <class T>
struct Rprop {
    T factor, decrease, increase, smallest, largest;
    template <class Scalars>
    Rprop(const Scalars& step, double f, bool)
        : factor(T(f)), decrease(T(step.decrease)), increase(T(step.increase)), smallest(T(step.smallest)),
          largest(T(step.largest)) {}
    template <class States>
    DR_INLINE void apply(vec<T>& w, vec<T> g, States& s) const {
        auto& [previous, size] = s;
        const vec<T> zero{}, agreement = sign<T>(g) * previous;  // (the product itself may underflow)
        const vec<T> change = select(agreement > zero, broadcast(increase),
                                     select(agreement < zero, broadcast(decrease), broadcast(T(1))));
        size = min(broadcast(largest), max(broadcast(smallest), size * change));
        g = select(agreement < zero, zero, g);
        w = w - factor * size * sign<T>(g);
        previous = g;
    }
};

// A rule with its number of state arrays.
template <class Formula, int count>
struct WithStates : Formula {
    using Formula::Formula;
    static constexpr int states = count;
};

// use(rule) with a step's rule for a parameter with that factor.
//   in  row  the step's scalars
template <class T, class Use>
DR_INLINE void with_rule(Rule rule, const double* row, double factor, bool decays, Use use) {
    switch (rule) {
#define DR_CASE(name, formula, states, ...)                               \
    case Rule::name: {                                                    \
        scalars::name step;                                               \
        __builtin_memcpy(&step, row, sizeof step);                        \
        return use(WithStates<formula<T>, states>(step, factor, decays)); \
    }
        DR_RULES(DR_CASE)
#undef DR_CASE
    }
}

// The state arrays of a rule, each from the block on that begins at `at`.
template <class T, class OneRule>
struct StatesAt {
    static constexpr int count = OneRule::states;
    T* array[count > 0 ? count : 1];
    DR_INLINE StatesAt(const Program& program, long at) {
        for (int j = 0; j < count; ++j) array[j] = static_cast<T*>(program.states[j]) + at;
    }
};

// One vector of parameters at w + i and its state, by the gradient g. Returns the new parameters.
template <class T, class OneRule>
DR_INLINE vec<T> update_vector(const OneRule& rule, const StatesAt<T, OneRule>& states, T* w, long i,
                               vec<T> g) {
    vec<T> wi = load(w + i), s[OneRule::states > 0 ? OneRule::states : 1] = {};
    for (int j = 0; j < OneRule::states; ++j) s[j] = load(states.array[j] + i);
    rule.apply(wi, g, s);
    store(w + i, wi);
    for (int j = 0; j < OneRule::states; ++j) store(states.array[j] + i, s[j]);
    return wi;
}

}  // namespace deltarule::DR_TARGET
