"""What the parameters of the multilayer estimators stand for: layers, loss, optimizer, penalty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.errors import InvalidValueError, describe_value
from deltarule.base.settings import check_choice, check_number
from deltarule.base.types import Array
from deltarule.formulas.activations import ActivationFunction, Identity, Sigmoid, Softmax
from deltarule.formulas.losses import BinaryCrossEntropy, CrossEntropy, Loss, Poisson, SquaredError
from deltarule.formulas.optimizers import SGD, Adam, Optimizer
from deltarule.formulas.penalties import L2
from deltarule.network.layer import Layer
from deltarule.network.layers import Activation, BatchNorm, Dense, Dropout, LayerNorm
from deltarule.network.network import Network

_NORMALIZATIONS = {"batch": BatchNorm, "layer": LayerNorm}
_NAMES = {"sigmoid": "logistic"}  # as scikit-learn writes it


class Reported(NamedTuple):
    """How the loss that is reported follows from ours: a factor on data loss and on penalty.

    Attributes
    ----------
    data, penalty : float
    gradient : float
        The factor on the gradient, by which rate and penalty are corrected.
    """

    data: float = 1.0
    penalty: float = 1.0
    gradient: float = 1.0


class Output(NamedTuple):
    """The loss, how many outputs it gets, and the activation that they end with."""

    loss: Loss
    units: int
    activation: ActivationFunction
    reported: Reported

    @property
    def name(self) -> str:
        """The activation's name, as scikit-learn writes it."""
        return _NAMES.get(self.activation.name, self.activation.name)


def hidden_sizes(hidden: Any) -> list[int | Layer]:
    """Return the hidden layers as a list of numbers of units and of layers."""
    if isinstance(hidden, (Layer, Integral)) or not hasattr(hidden, "__iter__"):
        hidden = [hidden]
    sizes = list(hidden)
    numbers = [size for size in sizes if not isinstance(size, Layer)]
    if not all(isinstance(size, Integral) for size in numbers):
        raise InvalidValueError(
            "hidden_layer_sizes holds numbers of units and layers such as BatchNorm(), got "
            f"{describe_value(hidden)}"
        )
    if any(size <= 0 for size in numbers):
        raise InvalidValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return [size if isinstance(size, Layer) else int(size) for size in sizes]


def hidden_activations(activation: Any, count: int) -> list[ActivationFunction]:
    """Return one activation for each of the hidden layers that are given by their size."""
    several = isinstance(activation, (list, tuple, np.ndarray))
    names = list(activation) if several else [activation] * count
    if len(names) != count:
        raise InvalidValueError(
            f"activation has {len(names)} entries for {count} hidden layers given by their size; "
            "give one name, or one for each"
        )
    return [ActivationFunction.resolve(name) for name in names]


def hidden_layers(
    sizes: Sequence[int | Layer], activation: Any, normalization: Any, dropout: Any
) -> list[Layer]:
    """Return the hidden layers: those given, and Dense, normalisation, f, Dropout for a number."""
    check_choice("normalization", normalization, None, *_NORMALIZATIONS)
    check_number("dropout", dropout, at_least=0, below=1)
    functions = iter(hidden_activations(activation, sum(isinstance(s, int) for s in sizes)))
    layers: list[Layer] = []
    for size in sizes:
        if isinstance(size, Layer):
            layers.append(size)
            continue
        f = next(functions)
        if normalization is None:
            layers.append(Dense(size, f))
        else:
            layers += [Dense(size), _NORMALIZATIONS[normalization](), Activation(f)]
        if dropout:
            layers.append(Dropout(float(dropout)))
    return layers


def classifier_output(loss: Any, classes: int, *, multilabel: bool) -> Output:
    """Return the output of a classifier.

    Softmax for several classes, sigmoid for two classes or for labels that do not exclude each
    other; a cross-entropy over classes has two outputs for two classes.
    """
    one = classes <= 2 and not multilabel
    if isinstance(loss, str) and loss == "log_loss":
        found: Loss = BinaryCrossEntropy() if one or multilabel else CrossEntropy()
    else:
        found = Loss.resolve(loss)
    units = 1 if one and not isinstance(found, CrossEntropy) else max(classes, 2 - multilabel)
    binary = multilabel or isinstance(found, BinaryCrossEntropy)
    function = Sigmoid() if binary or units == 1 else Softmax()
    if isinstance(found, CrossEntropy) and multilabel:
        raise InvalidValueError(
            "cross_entropy is for classes of which each row has one; y has several labels per row: "
            "use loss='binary_cross_entropy'"
        )
    return Output(found, units, function, Reported())


def regressor_output(loss: Any, outputs: int) -> Output:
    """Return the output of a regressor: the loss's own activation, and scikit-learn's numbers.

    scikit-learn reports a squared error that is averaged over outputs, and follows the gradient of
    its sum; its Poisson loss is a sum over outputs.
    """
    found = Loss.resolve(loss)
    function = found.output_activation()
    reported = Reported()
    if type(found) is SquaredError:
        reported = Reported(data=1 / outputs)
    elif type(found) is Poisson and isinstance(loss, str):
        reported = Reported(data=outputs, penalty=outputs, gradient=outputs)
    return Output(found, outputs, function, reported)


def optimizer_of(estimator: Any, gradient: float) -> Optimizer:
    """Return the optimizer; ``gradient``: the factor of scikit-learn's gradient over ours."""
    if estimator.optimizer is not None:
        return Optimizer.resolve(estimator.optimizer)
    if estimator.solver == "sgd":
        # A momentum of 1 is allowed there; the next number below it is as good.
        return SGD(
            float(estimator.learning_rate_init) * gradient,
            momentum=min(float(estimator.momentum), math.nextafter(1, 0)),
            nesterov=bool(estimator.nesterovs_momentum),
            rate_in_velocity=True,
        )
    return Adam(
        float(estimator.learning_rate_init),
        beta1=float(estimator.beta_1),
        beta2=float(estimator.beta_2),
        epsilon=float(estimator.epsilon) / gradient,
        epsilon_first=True,
    )


def penalty_of(alpha: float, gradient: float) -> L2 | None:
    """Return the penalty: half of alpha times the squared weights, over the batch's weight."""
    return L2(float(alpha) / gradient, over_batch=True) if alpha else None


def draw_as_sklearn(network: Network, random: np.random.RandomState) -> None:
    """Set weights and biases to what scikit-learn draws: uniform, by Glorot and Bengio.

    The bound is ``sqrt(6 / (fan_in + fan_out))``, and ``sqrt(2 / (fan_in + fan_out))`` where the
    hidden layer is logistic. Each layer's weights come before its biases.
    """
    factor = 6.0
    layers = network.layers
    for i, layer in enumerate(layers):
        if not isinstance(layer, Dense):
            continue
        if i < len(layers) - 1:
            factor = 2.0 if isinstance(_function_after(layers, i), Sigmoid) else 6.0
        weight, bias = network.parameters[f"{i}.weight"], network.parameters[f"{i}.bias"]
        bound = np.sqrt(factor / sum(weight.shape))
        for array in (weight, bias):
            array[...] = random.uniform(-bound, bound, array.shape)


def _function_after(layers: Sequence[Layer], i: int) -> Any:
    """Return the activation of layer ``i``: its own, or that of a layer of activations behind."""
    for layer in layers[i:]:
        if isinstance(layer, Activation):
            return layer.f
        if isinstance(layer, Dense) and type(layer.activation) is not Identity:
            return layer.activation
        if isinstance(layer, Dense) and layer is not layers[i]:
            break
    return Identity()


def dense_paths(network: Network) -> list[str]:
    """Return the paths of all dense layers, in the order of the forward pass."""
    return [place.path for place in network.placed if isinstance(place.layer, Dense)]


def weights_and_biases(network: Network) -> tuple[list[Array], list[Array]]:
    """Return the weights and the biases of all dense layers, as views."""
    parameters = network.parameters
    paths = dense_paths(network)
    weights = [parameters[f"{path}.weight"] for path in paths]
    biases = [parameters[f"{path}.bias"] for path in paths if f"{path}.bias" in parameters]
    return weights, biases


def copy_values(views: Sequence[Array], values: Any) -> None:
    """Copy arrays into views of the same shapes, or raise and change nothing."""
    arrays = [np.asarray(value) for value in values]
    if [array.shape for array in arrays] != [view.shape for view in views]:
        raise InvalidValueError(
            f"expected arrays of shapes {', '.join(str(view.shape) for view in views)}, got "
            f"{', '.join(str(array.shape) for array in arrays)}"
        )
    for view, array in zip(views, arrays, strict=True):
        view[...] = array
