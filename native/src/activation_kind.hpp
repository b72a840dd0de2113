// The activations by number: the contract between the plan (Python) and the kernels. Numbers are never
// reused or moved. (Softmax is not among them: it acts on rows, not on elements.)
#pragma once

#include <cstdint>

namespace deltarule {

enum class ActivationKind : int32_t {
    identity = 0,
    sigmoid = 1,
    tanh = 2,
    relu = 3,
    leaky_relu = 4,  // parameter: negative_slope
    elu = 5,         // parameter: alpha
    selu = 6,
    gelu = 7,
    gelu_tanh = 8,
    silu = 9,
    mish = 10,
    softplus = 11,
    exp = 12,
};

}  // namespace deltarule
