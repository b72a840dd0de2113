// The optimizers: what one step does to a vector of parameters. w: parameters; g: gradient (data plus
// penalty, clipped); s: state. The scalars are the columns of the optimizer's row, computed in Python;
// factor: the parameter's own on the learning rate; keep: 1 - factor * decay.
#pragma once

#include "losses.hpp"
#include "program.hpp"
#include "simd.hpp"

namespace deltarule::DR_TARGET {

// w = w - rate g
template <class T>
struct SgdRule {
    static constexpr int states = 0;
    T rate;
    SgdRule(const double* s, double factor, bool) : rate(T(factor * s[0])) {}
    DR_INLINE void apply(vec<T>& w, vec<T> g, vec<T>*) const { w = fnma(broadcast(rate), g, w); }
};

// v = momentum v + g;  w = w - rate v, or w - rate (g + momentum v)
template <class T, bool nesterov>
struct MomentumRule {
    static constexpr int states = 1;
    T rate, momentum;
    MomentumRule(const double* s, double factor, bool) : rate(T(factor * s[0])), momentum(T(s[1])) {}
    DR_INLINE void apply(vec<T>& w, vec<T> g, vec<T>* s) const {
        const vec<T> m = broadcast(momentum);
        s[0] = fma(m, s[0], g);
        w = fnma(broadcast(rate), nesterov ? fma(m, s[0], g) : s[0], w);
    }
};

// s = rho s + (1 - rho) g^2;  u = g / (sqrt(s) + epsilon);  v = momentum v + u;  w = w - rate v
template <class T, bool centered, bool momentum>
struct RmspropRule {
    static constexpr int states = 1 + centered + momentum;
    T rate, rho, one_rho, epsilon, mu;
    RmspropRule(const double* s, double factor, bool)
        : rate(T(factor * s[0])), rho(T(s[1])), one_rho(T(1 - s[1])), epsilon(T(s[2])), mu(T(s[3])) {}
    DR_INLINE void apply(vec<T>& w, vec<T> g, vec<T>* s) const {
        s[0] = rho * s[0] + one_rho * g * g;
        vec<T> spread = s[0];
        if constexpr (centered) {
            s[1] = rho * s[1] + one_rho * g;
            spread = max(vec<T>{}, s[0] - s[1] * s[1]);
        }
        vec<T> u = g / (sqrt(spread) + epsilon);
        if constexpr (momentum) u = s[states - 1] = fma(broadcast(mu), s[states - 1], u);
        w = fnma(broadcast(rate), u, w);
    }
};

// s = s + g^2;  w = w - rate g / (sqrt(s) + epsilon)
template <class T>
struct AdagradRule {
    static constexpr int states = 1;
    T rate, epsilon;
    AdagradRule(const double* s, double factor, bool) : rate(T(factor * s[0])), epsilon(T(s[1])) {}
    DR_INLINE void apply(vec<T>& w, vec<T> g, vec<T>* s) const {
        s[0] = fma(g, g, s[0]);
        w = w - rate * g / (sqrt(s[0]) + epsilon);
    }
};

// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
// w = keep w - step_size m / (root_correction sqrt(v) + epsilon); amsgrad: the largest v so far
template <class T, bool amsgrad>
struct AdamRule {
    static constexpr int states = 2 + amsgrad;
    T step_size, beta1, one_beta1, beta2, one_beta2, root_correction, epsilon, keep;
    AdamRule(const double* s, double factor, bool decays)
        : step_size(T(factor * s[0])), beta1(T(s[1])), one_beta1(T(1 - s[1])), beta2(T(s[2])),
          one_beta2(T(1 - s[2])), root_correction(T(s[3])), epsilon(T(s[4])),
          keep(T(decays ? 1 - factor * s[5] : 1)) {}
    DR_INLINE void apply(vec<T>& w, vec<T> g, vec<T>* s) const {
        s[0] = fma(broadcast(beta1), s[0], one_beta1 * g);
        s[1] = fma(broadcast(beta2), s[1], one_beta2 * g * g);
        vec<T> v = s[1];
        if constexpr (amsgrad) v = s[2] = max(s[2], v);
        w = keep * w - step_size * s[0] / fma(sqrt(v), broadcast(root_correction), broadcast(epsilon));
    }
};

// m, v as Adam;  w = w - (gradient_size g + moment_size m) / (root_correction sqrt(v) + epsilon)
template <class T>
struct NadamRule {
    static constexpr int states = 2;
    T factor, gradient_size, moment_size, beta1, one_beta1, beta2, one_beta2, root_correction, epsilon;
    NadamRule(const double* s, double f, bool)
        : factor(T(f)), gradient_size(T(s[0])), moment_size(T(s[1])), beta1(T(s[2])), one_beta1(T(1 - s[2])),
          beta2(T(s[3])), one_beta2(T(1 - s[3])), root_correction(T(s[4])), epsilon(T(s[5])) {}
    DR_INLINE void apply(vec<T>& w, vec<T> g, vec<T>* s) const {
        s[0] = fma(broadcast(beta1), s[0], one_beta1 * g);
        s[1] = fma(broadcast(beta2), s[1], one_beta2 * g * g);
        const vec<T> ahead = gradient_size * g + moment_size * s[0];
        w = w - factor * ahead / fma(sqrt(s[1]), broadcast(root_correction), broadcast(epsilon));
    }
};

// w = keep w - rate sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g
template <class T>
struct LionRule {
    static constexpr int states = 1;
    T rate, beta1, one_beta1, beta2, one_beta2, keep;
    LionRule(const double* s, double factor, bool decays)
        : rate(T(factor * s[0])), beta1(T(s[1])), one_beta1(T(1 - s[1])), beta2(T(s[2])),
          one_beta2(T(1 - s[2])), keep(T(decays ? 1 - factor * s[3] : 1)) {}
    DR_INLINE void apply(vec<T>& w, vec<T> g, vec<T>* s) const {
        const vec<T> direction = sign<T>(beta1 * s[0] + one_beta1 * g);
        w = keep * w - rate * direction;
        s[0] = beta2 * s[0] + one_beta2 * g;
    }
};

// size = clip(size * (increase | decrease | 1));  g = 0 where the sign turned;  w = w - size sign(g)
template <class T>
struct RpropRule {
    static constexpr int states = 2;
    T factor, decrease, increase, smallest, largest;
    RpropRule(const double* s, double f, bool)
        : factor(T(f)), decrease(T(s[0])), increase(T(s[1])), smallest(T(s[2])), largest(T(s[3])) {}
    DR_INLINE void apply(vec<T>& w, vec<T> g, vec<T>* s) const {
        const vec<T> zero{}, agreement = g * s[0];
        const vec<T> change = select(agreement > zero, broadcast(increase),
                                     select(agreement < zero, broadcast(decrease), broadcast(T(1))));
        s[1] = min(broadcast(largest), max(broadcast(smallest), s[1] * change));
        g = select(agreement < zero, zero, g);
        w = w - factor * s[1] * sign<T>(g);
        s[0] = g;
    }
};

// use(rule) with a step's rule for a parameter with that factor.
//   in  s  the step's scalars
template <class T, class Use>
DR_INLINE void with_rule(Rule rule, const double* s, double factor, bool decays, Use use) {
    switch (rule) {
        case Rule::sgd: return use(SgdRule<T>(s, factor, decays));
        case Rule::momentum: return use(MomentumRule<T, false>(s, factor, decays));
        case Rule::nesterov: return use(MomentumRule<T, true>(s, factor, decays));
        case Rule::rmsprop: return use(RmspropRule<T, false, false>(s, factor, decays));
        case Rule::rmsprop_centered: return use(RmspropRule<T, true, false>(s, factor, decays));
        case Rule::rmsprop_momentum: return use(RmspropRule<T, false, true>(s, factor, decays));
        case Rule::rmsprop_centered_momentum: return use(RmspropRule<T, true, true>(s, factor, decays));
        case Rule::adagrad: return use(AdagradRule<T>(s, factor, decays));
        case Rule::adam: return use(AdamRule<T, false>(s, factor, decays));
        case Rule::amsgrad: return use(AdamRule<T, true>(s, factor, decays));
        case Rule::nadam: return use(NadamRule<T>(s, factor, decays));
        case Rule::lion: return use(LionRule<T>(s, factor, decays));
        case Rule::rprop: return use(RpropRule<T>(s, factor, decays));
    }
}

}  // namespace deltarule::DR_TARGET
