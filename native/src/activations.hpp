// Activations a = f(z) and their derivatives f'(z), for one target.
//
// Each is a small struct over the lane type T with
//
//   V value(V z)              f(z)
//   V derivative(V z, V a)    f'(z), given z and a = f(z)
//
// and V = vec<T>. A setting is its one member. The list in kinds.hpp says where the derivative reads a alone. NaN in z
// is NaN in f. No finite z gives NaN in f or f', however large: where a product could be 0 * inf its growing factor is
// bounded beyond the point where the other one vanishes.
#pragma once

#include "erf.hpp"
#include "kinds.hpp"
#include "math.hpp"

namespace deltarule::DR_TARGET {

// Every activation here has reached its asymptotes at |z| = 1000 in double precision, since
// exp(-1000) underflows.
template <class V>
DR_INLINE V not_below_asymptote(V z) {
    return max(broadcast(lane_of<V>(-1000)), z);
}

// w = exp(-|z|) and 1 / (1 + w): the logistic function is 1 / (1 + w) where z >= 0, w / (1 + w) where
// z < 0, and its derivative w / (1 + w)^2 for both, none with cancellation or overflow.
template <class V>
struct logistic_parts {
    V w, inverse;
    DR_INLINE V value(V z) const { return select(z < V{}, w, broadcast(lane_of<V>(1))) * inverse; }
    DR_INLINE V derivative() const { return (w * inverse) * inverse; }
};
template <class V>
DR_INLINE logistic_parts<V> logistic(V z) {
    const V w = exp(-abs(z));
    return {w, lane_of<V>(1) / (lane_of<V>(1) + w)};
}

template <class T>
struct Identity {
    using V = vec<T>;
    DR_INLINE V value(V z) const { return z; }
    DR_INLINE V derivative(V, V) const { return broadcast(T(1)); }
};

// 1 / (1 + exp(-z)); f' = a (1 - a).
template <class T>
struct Sigmoid {
    using V = vec<T>;
    DR_INLINE V value(V z) const {
        const V w = exp(-abs(z));
        return select(z < V{}, w, broadcast(T(1))) / (T(1) + w);
    }
    DR_INLINE V derivative(V, V a) const { return a * (T(1) - a); }
};

// f' = 1 - a^2.
template <class T>
struct Tanh {
    using V = vec<T>;
    DR_INLINE V value(V z) const { return tanh(z); }
    DR_INLINE V derivative(V, V a) const { return (T(1) - a) * (T(1) + a); }
};

// max(0, z), NaN carried through; the derivative at 0 is 0. (Here and below a > 0 where z > 0.)
template <class T>
struct Relu {
    using V = vec<T>;
    DR_INLINE V value(V z) const { return select(z < V{}, V{}, z); }
    DR_INLINE V derivative(V, V a) const { return select(a > V{}, broadcast(T(1)), V{}); }
};

// z where z >= 0, negative_slope z (negative_slope >= 0) where z < 0; the derivative at 0 is negative_slope.
template <class T>
struct LeakyRelu {
    using V = vec<T>;
    T negative_slope;
    DR_INLINE V value(V z) const { return select(z < V{}, negative_slope * z, z); }
    DR_INLINE V derivative(V, V a) const {
        return select(a > V{}, broadcast(T(1)), broadcast(negative_slope));
    }
};

// z where z >= 0, alpha expm1(z) where z < 0; f' = 1 or alpha exp(z) = a + alpha. (Clevert, 2015.)
template <class T>
struct Elu {
    using V = vec<T>;
    T alpha;
    DR_INLINE V value(V z) const { return select(z < V{}, alpha * expm1(z), z); }
    DR_INLINE V derivative(V, V a) const { return select(a > V{}, broadcast(T(1)), a + alpha); }
};

// scale * ELU(z; alpha) with the fixed point of mean 0 and variance 1. (Klambauer et al., 2017.)
template <class T>
struct Selu {
    using V = vec<T>;
    static constexpr T scale = T(1.0507009873554804934193349852946);
    static constexpr T scale_alpha = T(1.7580993408473768599402175208123);
    DR_INLINE V value(V z) const { return select(z < V{}, scale_alpha * expm1(z), scale * z); }
    DR_INLINE V derivative(V, V a) const { return select(a > V{}, broadcast(scale), a + scale_alpha); }
};

// z Phi(z), Phi the standard normal distribution; f' = Phi(z) + z phi(z). (Hendrycks and Gimpel, 2016.)
template <class T>
struct Gelu {
    using V = vec<T>;
    DR_INLINE V value(V z) const { return not_below_asymptote(z) * normal_distribution(z).cumulative; }
    DR_INLINE V derivative(V z, V) const {
        const auto normal = normal_distribution(z);
        const V bounded = min(broadcast(T(1000)), not_below_asymptote(z));
        return fma(bounded, normal.density, normal.cumulative);
    }
};

// The tanh form: z/2 (1 + tanh u) = z sigma(2u), u = sqrt(2/pi) (z + 0.044715 z^3);
// f' = sigma(2u) + z sigma'(2u) 2u'.
template <class T>
struct GeluTanh {
    using V = vec<T>;
    static constexpr T slope = T(1.59576912160573071176);  // 2 sqrt(2/pi)
    static constexpr T cubic = T(0.044715);
    DR_INLINE V twice_u(V z) const { return slope * fma(cubic * z, z * z, z); }
    // sigma(2u) underflows well before |z| = 30, where |2u| = 1974; beyond, z^3 might overflow.
    DR_INLINE V bounded(V z) const { return min(broadcast(T(30)), max(broadcast(T(-30)), z)); }
    DR_INLINE V value(V z) const {
        const V u = twice_u(bounded(z));
        return not_below_asymptote(z) * logistic(u).value(u);
    }
    DR_INLINE V derivative(V z, V) const {
        const V b = bounded(z);
        const V u = twice_u(b);
        const auto sigma = logistic(u);
        const V u_slope = slope * fma(T(3) * cubic * b, b, broadcast(T(1)));
        return fma(b * u_slope, sigma.derivative(), sigma.value(u));
    }
};

// z sigma(z); f' = sigma(z) + z sigma'(z). (Elfwing et al., 2017.)
template <class T>
struct Silu {
    using V = vec<T>;
    DR_INLINE V value(V z) const { return not_below_asymptote(z) * logistic(z).value(z); }
    DR_INLINE V derivative(V z, V) const {
        const auto sigma = logistic(z);
        const V bounded = min(broadcast(T(1000)), not_below_asymptote(z));
        return fma(bounded, sigma.derivative(), sigma.value(z));
    }
};

// z tanh(softplus(z)) (Misra, 2019). With w = exp(-|z|), tanh(log(1 + exp z)) = n / d where
//
//   z < 0:  n = w (w + 2)    d = n + 2          z >= 0:  n = 1 + 2 w    d = n + 2 w^2
//
// and f' = n / d + z 4 w (1 + w) v / d^2, v = 1 where z < 0, w where z >= 0.
template <class T>
struct Mish {
    using V = vec<T>;
    struct Parts {
        V w, v, n, inverse_d;
    };
    DR_INLINE Parts parts(V z) const {
        const V w = exp(-abs(z));
        const auto negative = z < V{};
        const V n = select(negative, w * (w + T(2)), T(1) + T(2) * w);
        const V rest = select(negative, broadcast(T(2)), T(2) * (w * w));
        return {w, select(negative, broadcast(T(1)), w), n, T(1) / (n + rest)};
    }
    DR_INLINE V value(V z) const {
        const Parts p = parts(z);
        return not_below_asymptote(z) * (p.n * p.inverse_d);
    }
    DR_INLINE V derivative(V z, V) const {
        const Parts p = parts(z);
        const V bounded = min(broadcast(T(1000)), not_below_asymptote(z));
        const V bend = T(4) * p.w * (T(1) + p.w) * p.v * (p.inverse_d * p.inverse_d);
        return fma(bounded, bend, p.n * p.inverse_d);
    }
};

// z min(max(z + 3, 0), 6) / 6; f' = 0, z / 3 + 1/2 and 1. (Howard et al., 2019.)
template <class T>
struct HardSwish {
    using V = vec<T>;
    DR_INLINE V value(V z) const {
        const V gate = min(broadcast(T(6)), max(V{}, z + T(3))) * (T(1) / T(6));
        return max(broadcast(T(-3)), z) * gate;
    }
    DR_INLINE V derivative(V z, V) const {
        const V inner = fma(z, broadcast(T(1) / T(3)), broadcast(T(0.5)));
        return select(z <= broadcast(T(-3)), V{}, select(z >= broadcast(T(3)), broadcast(T(1)), inner));
    }
};

// min(max(z + 3, 0), 6) / 6; f' = 1/6 where 0 < a < 1. (Courbariaux et al., 2015; slope and ends as in PyTorch.)
template <class T>
struct HardSigmoid {
    using V = vec<T>;
    DR_INLINE V value(V z) const { return min(broadcast(T(6)), max(V{}, z + T(3))) / T(6); }
    DR_INLINE V derivative(V, V a) const {
        const auto between = (a > V{}) & (a < broadcast(T(1)));
        return select(between, broadcast(T(1) / T(6)), V{});
    }
};

// log(1 + exp z) = max(z, 0) + log1p(exp(-|z|)), without overflow.
// f' = sigma(z) = 1 - exp(-a).
template <class V>
DR_INLINE V softplus(V z) {
    return max(V{}, z) + log1p_finite(exp(-abs(z)));
}
template <class T>
struct Softplus {
    using V = vec<T>;
    // Far below 0 it stops above 0, so that log a and f' / a stay what they should be (Poisson loss).
    static constexpr T least = format<T>::least_normal / format<T>::epsilon;
    DR_INLINE V value(V z) const { return max(broadcast(least), softplus(z)); }
    DR_INLINE V derivative(V, V a) const { return -expm1(-a); }
};

// z / (1 + |z|); f' = 1 / (1 + |z|)^2. (Bergstra et al., 2009; Glorot and Bengio, 2010.)
template <class T>
struct Softsign {
    using V = vec<T>;
    DR_INLINE V value(V z) const {
        // f is +-1 at 1e30; infinity would be divided by itself.
        const V bounded = min(broadcast(T(1e30)), max(broadcast(T(-1e30)), z));
        return bounded / (T(1) + abs(bounded));
    }
    DR_INLINE V derivative(V z, V) const {
        const V r = T(1) / (T(1) + abs(z));
        return r * r;
    }
};

template <class T>
struct Exp {
    using V = vec<T>;
    DR_INLINE V value(V z) const { return exp(z); }
    DR_INLINE V derivative(V, V a) const { return a; }
};

template <class Formula, class T>
DR_INLINE Formula with_setting(T setting) {
    if constexpr (requires { Formula{setting}; })
        return Formula{setting};
    else
        return Formula{};
}

// Calls use(f) with an activation of elements, so that the choice is made once per panel and not per element.
//   in  setting  its one setting, where it has one
template <class T, class Use>
DR_INLINE void with_activation(Activation activation, T setting, Use use) {
    switch (activation) {
#define DR_OF_ELEMENT(name, formula, ...) \
    case Activation::name: return use(with_setting<formula<T>>(setting));
#define DR_OF_ROW(name, ...) \
    case Activation::name: return;
        DR_ACTIVATIONS(DR_OF_ELEMENT, DR_OF_ROW)
#undef DR_OF_ELEMENT
#undef DR_OF_ROW
    }
}

}  // namespace deltarule::DR_TARGET
