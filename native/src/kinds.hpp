// What the core knows: activations, losses, update rules and operations, one list each. Enums, dispatch and names are
// expanded from these lists, and so is what Python is told of each (names.hpp). The numbers of the enums mean nothing
// outside the core: Python sends names.
#pragma once

namespace deltarule {

// clang-format off

// name; struct in activations.hpp; name of its setting or ""; what f' is computed from: a = f(z) alone, which may
// then take the place of z, or z as well. Those of a whole row have functions of their own (softmax.hpp).
#define DR_ACTIVATIONS(OF_ELEMENT, OF_ROW)                       \
    OF_ELEMENT(identity,     Identity,    "",               a)   \
    OF_ELEMENT(sigmoid,      Sigmoid,     "",               a)   \
    OF_ELEMENT(tanh,         Tanh,        "",               a)   \
    OF_ELEMENT(relu,         Relu,        "",               a)   \
    OF_ELEMENT(leaky_relu,   LeakyRelu,   "negative_slope", a)   \
    OF_ELEMENT(elu,          Elu,         "alpha",          a)   \
    OF_ELEMENT(selu,         Selu,        "",               a)   \
    OF_ELEMENT(gelu,         Gelu,        "",               z)   \
    OF_ELEMENT(gelu_tanh,    GeluTanh,    "",               z)   \
    OF_ELEMENT(silu,         Silu,        "",               z)   \
    OF_ELEMENT(mish,         Mish,        "",               z)   \
    OF_ELEMENT(hard_swish,   HardSwish,   "",               z)   \
    OF_ELEMENT(hard_sigmoid, HardSigmoid, "",               a)   \
    OF_ELEMENT(softplus,     Softplus,    "",               a)   \
    OF_ELEMENT(softsign,     Softsign,    "",               z)   \
    OF_ELEMENT(exp,          Exp,         "",               a)   \
    OF_ROW    (softmax,                   "",               a)

// name; struct in losses.hpp; name of its setting or ""; whether a row's loss is the sum or the mean over its outputs;
// what the canonical pair computes it from; whether it takes any output activation or the canonical one alone.
#define DR_LOSSES(OF_ELEMENT, OF_ROW)                                                      \
    OF_ELEMENT(squared_error,        SquaredError,       "",                sum,  a, any)  \
    OF_ELEMENT(mean_squared_error,   MeanSquaredError,   "",                mean, a, any)  \
    OF_ELEMENT(mean_absolute_error,  MeanAbsoluteError,  "",                mean, a, any)  \
    OF_ELEMENT(huber,                Huber,              "threshold",       mean, a, any)  \
    OF_ELEMENT(quantile,             Quantile,           "q",               mean, a, any)  \
    OF_ELEMENT(poisson,              Poisson,            "",                mean, z, any)  \
    OF_ELEMENT(binary_cross_entropy, BinaryCrossEntropy, "",                sum,  z, canonical) \
    OF_ROW    (cross_entropy,                            "label_smoothing",       z, canonical)

// name; struct in update.hpp; number of state arrays; the scalars that a step receives, in their order.
#define DR_RULES(RULE)                                                                             \
    RULE(sgd,                        Sgd,                     0, rate, momentum, inflow)           \
    RULE(sgd_momentum,               Momentum,                1, rate, momentum, inflow)           \
    RULE(sgd_nesterov,               Nesterov,                1, rate, momentum, inflow)           \
    RULE(rmsprop,                    Rmsprop,                 1, rate, rho, epsilon, momentum)     \
    RULE(rmsprop_centered,           RmspropCentered,         2, rate, rho, epsilon, momentum)     \
    RULE(rmsprop_momentum,           RmspropMomentum,         2, rate, rho, epsilon, momentum)     \
    RULE(rmsprop_centered_momentum,  RmspropCenteredMomentum, 3, rate, rho, epsilon, momentum)     \
    RULE(adagrad,                    Adagrad,                 1, rate, epsilon)                    \
    RULE(adam,                       Adam,                    2, step_size, beta1, beta2, root_correction, epsilon, decay) \
    RULE(adam_amsgrad,               AdamAmsgrad,             3, step_size, beta1, beta2, root_correction, epsilon, decay) \
    RULE(nadam,                      Nadam,                   2, gradient_size, moment_size, beta1, beta2, root_correction, epsilon) \
    RULE(adan,                       Adan,                    4, step_size, difference_size, beta1, beta2, beta3, root_correction, epsilon, decay, first) \
    RULE(lion,                       Lion,                    1, rate, beta1, beta2, decay)        \
    RULE(rprop,                      Rprop,                   2, decrease, increase, smallest, largest)

// name; number of sources; names of its parameters ("bias?": may be missing), of its running statistics, of its
// settings and of its lists of whole numbers; whether its output is as wide as its sources, or its compiler checks all
// shapes. Forward and backward are name_forward and name_backward (rows.hpp, normalization.hpp).
#define DR_OPERATIONS(OPERATION)                                                                                       \
    OPERATION(dense,      1, "weight bias?", "",                              "",                 "",                   same) \
    OPERATION(activation, 1, "",             "",                              "",                 "",                   same) \
    OPERATION(embedding,  1, "table",        "",                              "",                 "categories columns", own)  \
    OPERATION(dropout,    1, "",             "",                              "rate",             "",                   same) \
    OPERATION(layer_norm, 1, "scale shift",  "",                              "epsilon",          "",                   same) \
    OPERATION(batch_norm, 1, "scale shift",  "running_mean running_variance", "epsilon momentum", "",                   same) \
    OPERATION(scale,      1, "scale",        "",                              "",                 "",                   same) \
    OPERATION(add,        2, "",             "",                              "",                 "",                   same)

// clang-format on

#define DR_NAME(name, ...) name,
enum class Activation : int { DR_ACTIVATIONS(DR_NAME, DR_NAME) };
enum class Loss : int { DR_LOSSES(DR_NAME, DR_NAME) };
enum class Rule : int { DR_RULES(DR_NAME) };
enum class Kind : int { DR_OPERATIONS(DR_NAME) gather, loss };  // the last two are the compiler's own
#undef DR_NAME

// The lists as tables: row i is the enumerator i's.
enum class Reads { a, z };
struct ActivationTraits {
    const char *name, *setting;
    Reads reads;
    bool of_rows;
};
inline constexpr ActivationTraits activation_traits[] = {
#define DR_OF_ELEMENT(name, formula, setting, reads) {#name, setting, Reads::reads, false},
#define DR_OF_ROW(name, setting, reads) {#name, setting, Reads::reads, true},
    DR_ACTIVATIONS(DR_OF_ELEMENT, DR_OF_ROW)
#undef DR_OF_ELEMENT
#undef DR_OF_ROW
};

enum class Pairs { any, canonical };
struct LossTraits {
    const char *name, *setting;
    Reads canonical_reads;
    Pairs pairs;
    bool of_rows;  // not made of one number for each output
};
inline constexpr LossTraits loss_traits[] = {
#define DR_OF_ELEMENT(name, formula, setting, over, reads, pairs) \
    {#name, setting, Reads::reads, Pairs::pairs, false},
#define DR_OF_ROW(name, setting, reads, pairs) {#name, setting, Reads::reads, Pairs::pairs, true},
    DR_LOSSES(DR_OF_ELEMENT, DR_OF_ROW)
#undef DR_OF_ELEMENT
#undef DR_OF_ROW
};

// The scalars of each rule as a structure of its name: what a step receives is one of them.
namespace scalars {
#define DR_SCALARS(name, formula, states, ...) \
    struct name {                              \
        double __VA_ARGS__;                    \
    };
DR_RULES(DR_SCALARS)
#undef DR_SCALARS
}  // namespace scalars

struct RuleTraits {
    const char* name;
    int states;
    int scalars;
    const char* scalar_names;
};
inline constexpr RuleTraits rule_traits[] = {
#define DR_TRAITS(name, formula, states, ...) \
    {#name, states, int(sizeof(scalars::name) / sizeof(double)), #__VA_ARGS__},
    DR_RULES(DR_TRAITS)
#undef DR_TRAITS
};
constexpr int most(int RuleTraits::* number) {
    int result = 0;
    for (const RuleTraits& rule : rule_traits) result = rule.*number > result ? rule.*number : result;
    return result;
}
inline constexpr int most_states = most(&RuleTraits::states);
inline constexpr int most_scalars = most(&RuleTraits::scalars);

enum class Shapes { same, own };
struct OperationTraits {
    const char* name;
    int sources;
    const char *parameters, *state, *settings, *lists;
    Shapes shapes;
};
inline constexpr OperationTraits operation_traits[] = {
#define DR_TRAITS(name, sources, parameters, state, settings, lists, shapes) \
    {#name, sources, parameters, state, settings, lists, Shapes::shapes},
    DR_OPERATIONS(DR_TRAITS)
#undef DR_TRAITS
};

__attribute__((always_inline)) inline bool acts_on_rows(Activation f) {
    return activation_traits[int(f)].of_rows;
}

}  // namespace deltarule
