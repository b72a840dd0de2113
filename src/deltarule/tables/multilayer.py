"""Multilayer perceptrons with the API of scikit-learn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self

import numpy as np

from deltarule.base.errors import FileFormatError, InvalidValueError, missing_extra
from deltarule.base.settings import check_integer, members
from deltarule.base.types import Array
from deltarule.formulas.activations import ActivationFunction
from deltarule.formulas.losses import CrossEntropy, Loss
from deltarule.network.layer import Layer
from deltarule.network.layers import Dense
from deltarule.network.model_file import ModelFile, load_networks
from deltarule.network.network import Network
from deltarule.tables.multilayer_choices import (
    Output,
    classifier_output,
    copy_values,
    draw_as_sklearn,
    hidden_layers,
    hidden_sizes,
    regressor_output,
    weights_and_biases,
)
from deltarule.tables.multilayer_course import Course

try:
    from scipy.sparse import issparse
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        ClassNamePrefixFeaturesOutMixin,
        RegressorMixin,
        TransformerMixin,
        _fit_context,
    )
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import LabelBinarizer
    from sklearn.utils import check_random_state, column_or_1d, compute_sample_weight
    from sklearn.utils._param_validation import Hidden, Interval, Options, StrOptions
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import (
        _check_partial_fit_first_call,
        type_of_target,
        unique_labels,
    )
    from sklearn.utils.validation import (
        _check_sample_weight,
        check_is_fitted,
        validate_data,
    )

    from deltarule.tables.multilayer_file import KEY, estimator_of, save_estimator
    from deltarule.tables.multilayer_fitting import Examples, Member, fit_by_lbfgs, fit_by_steps
    from deltarule.tables.multilayer_scores import Held
except ImportError:
    raise missing_extra("deltarule.sklearn", "sklearn") from None

if TYPE_CHECKING:
    from pathlib import Path

_STOCHASTIC = ("sgd", "adam")
_ROWS_AT_ONCE = 1 << 14  # of a sparse matrix that is predicted


_OF_VALUES = {name: loss for name, loss in members("loss").items() if not loss.classifies}


def _other_names(kinds: Mapping[str, Any]) -> set[str]:
    """Return what other libraries call members of a family."""
    return {alias for kind in kinds.values() for alias in getattr(kind, "aliases", ())}


def _is_stochastic(estimator: Any) -> bool:
    if estimator.optimizer is None and estimator.solver not in _STOCHASTIC:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic."
        )
    return True


class _MultilayerPerceptron(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What classifier and regressor share."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left"), Layer],
        "activation": [
            StrOptions({"logistic", *members("activation")}),
            Hidden(StrOptions(_other_names(members("activation")))),
            "array-like",
            ActivationFunction,
        ],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "keep_optimizer_state": ["boolean"],
    }

    # ---------------------------------------------------------------------- what has been fitted

    @property
    def network_(self) -> Network:
        """The fitted network; of several the best."""
        return self._fitted()[0]

    @property
    def coefs_(self) -> list[Array]:
        """The weight matrices of the dense layers, as views into the network.

        What is set is copied into the network; before the first fit, it is where that begins.
        """
        return self._values("_first_coefs", 0)

    @coefs_.setter
    def coefs_(self, values: Any) -> None:
        self._set_values("_first_coefs", 0, values)

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of the dense layers, as views into the network; they can be set, too."""
        return self._values("_first_intercepts", 1)

    @intercepts_.setter
    def intercepts_(self, values: Any) -> None:
        self._set_values("_first_intercepts", 1, values)

    def _values(self, given: str, which: int) -> list[Array]:
        if "networks_" not in self.__dict__ and given in self.__dict__:
            return self.__dict__[given]
        return weights_and_biases(self._fitted()[0])[which]

    def _set_values(self, given: str, which: int, values: Any) -> None:
        if "networks_" not in self.__dict__:
            self.__dict__[given] = list(values)
        else:
            copy_values(weights_and_biases(self._fitted()[0])[which], values)

    def _fitted(self) -> list[Network]:
        try:
            found: list[Network] = self.__dict__["networks_"]
        except KeyError:
            raise AttributeError("the estimator is not fitted yet; call fit first") from None
        return found

    @property
    def _optimizer(self) -> Course:
        return self._members[0].course

    @property
    def _n_features_out(self) -> int:
        return self._hidden().outputs

    # ---------------------------------------------------------------------- fitting

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """Return checked X and y."""

    @abstractmethod
    def _output(self) -> Output:
        """Return the loss and the end of the network, for the targets that were checked."""

    @abstractmethod
    def _targets(self, y: Any) -> Array:
        """Return checked targets as the network takes them."""

    def _stratify(self, y: Any) -> Array | None:
        return None

    def _class_weights(self, y: Any, sample_weight: Array | None) -> Array | None:
        return sample_weight

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        *,
        incremental: bool = False,
    ) -> Any:
        sizes = hidden_sizes(self.hidden_layer_sizes)
        restarts = check_integer("restarts", self.restarts)
        kept = check_integer("ensemble", self.ensemble)
        if kept > restarts:
            raise InvalidValueError(
                f"ensemble={kept} networks need at least as many restarts, got restarts={restarts}"
            )
        if (X_val is None) != (y_val is None):
            raise InvalidValueError("X_val and y_val belong together; got one of them")
        if self.early_stopping and incremental and X_val is None:
            raise InvalidValueError(
                "partial_fit does not support early_stopping=True without validation data: pass "
                "X_val and y_val"
            )
        first = not hasattr(self, "networks_") or not (self.warm_start or incremental)
        X, y = self._validate_input(X, y, incremental, reset=first)
        X = _dense(X)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        self._random_state = check_random_state(self.random_state)
        output = self._output()
        self.n_outputs_, self.out_activation_ = output.units, output.name
        stochastic = self.optimizer is not None or self.solver in _STOCHASTIC
        validates = stochastic and (self.early_stopping or X_val is not None)
        if first:
            self.t_ = 0
            self._members = [
                self._new_member(X, sizes, output, validates=validates) for _ in range(restarts)
            ]
        self.networks_ = [member.network for member in self._members]
        held: Held | None = None
        if X_val is not None:
            held = self._held(X_val, y_val, sample_weight_val, X.dtype)
        elif validates:
            X, y, sample_weight, held = self._hold_out(X, y, sample_weight)
        weights = self._class_weights(y, sample_weight)
        data = Examples(X, self._targets(y), weights)
        for member in self._members:
            if stochastic:
                fit_by_steps(
                    self,
                    member,
                    output,
                    data,
                    held,
                    self._random_state,
                    incremental=incremental,
                )
            else:
                member.course.loss_curve = [fit_by_lbfgs(self, member, output, data)]
        self._members = sorted(self._members, key=lambda member: member.rank)[:kept]
        self.networks_ = [member.network for member in self._members]
        self._report(stochastic)
        return self

    def _new_member(
        self, X: Array, sizes: list[int | Layer], output: Output, *, validates: bool
    ) -> Member:
        hidden = hidden_layers(sizes, self.activation, self.normalization, self.dropout)
        plain = all(isinstance(size, int) for size in sizes) and self.weight_initializer is None
        seed = 0 if plain and not self.dropout else int(self._random_state.randint(2**31 - 1))
        network = Network(
            [*hidden, Dense(output.units, output.activation)],
            inputs=X.shape[1],
            seed=seed,
            dtype=X.dtype if self.dtype is None else self.dtype,
            weight_initializer=self.weight_initializer,
        )
        if plain:
            draw_as_sklearn(network, self._random_state)
        for given, views in zip(
            ("_first_coefs", "_first_intercepts"), weights_and_biases(network), strict=True
        ):
            if given in self.__dict__:
                copy_values(views, self.__dict__.pop(given))
        return Member(network, Course(self, validates=validates))

    def _held(self, X: Any, y: Any, weights: Any, dtype: Any) -> Held:
        X = _dense(validate_data(self, X, accept_sparse=["csr", "csc"], dtype=dtype, reset=False))
        y = self._checked_targets(y, len(X))
        if weights is not None:
            weights = _check_sample_weight(weights, X)
        return Held(X, y, self._targets(y), weights)

    def _hold_out(
        self, X: Array, y: Any, weights: Array | None
    ) -> tuple[Array, Any, Array | None, Held]:
        """Return the training part and the validation part, split as scikit-learn does."""
        kept, held = train_test_split(
            np.arange(len(X)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._stratify(y),
        )
        if len(held) < 2:
            raise InvalidValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        part = None if weights is None else weights[held]
        validation = Held(X[held], y[held], self._targets(y[held]), part)
        return X[kept], y[kept], None if weights is None else weights[kept], validation

    def _report(self, stochastic: bool) -> None:
        """Set the attributes that scikit-learn's estimators have."""
        course = self._members[0].course
        self.n_iter_ = course.n_iter
        self.n_layers_ = len(self.coefs_) + 1
        self._no_improvement_count = course.no_improvement
        self.converged_ = course.stopped
        self.loss_ = course.loss_curve[-1]
        if stochastic:
            self.t_ = course.seen
            self.loss_curve_ = course.loss_curve
            self.best_loss_ = course.best_loss
            self.validation_scores_ = course.validation_scores
            self.best_validation_score_ = course.best_score

    # ---------------------------------------------------------------------- predicting

    def _outputs(self, X: Any, networks: list[Network]) -> Array:
        """Return the mean of the networks' outputs, (n, units)."""
        if issparse(X):
            X = X.tocsr()
            starts = range(0, max(X.shape[0], 1), _ROWS_AT_ONCE)
            blocks = [self._outputs(_dense(X[i : i + _ROWS_AT_ONCE]), networks) for i in starts]
            return np.concatenate(blocks)
        found = [
            network.predict(X, engine=self.engine, threads=self.threads) for network in networks
        ]
        return found[0] if len(found) == 1 else np.mean(found, axis=0, dtype=found[0].dtype)

    def _checked(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)

    def _hidden(self) -> Network:
        """Return the best network without its last layer."""
        network = self.network_
        if len(network.layers) < 2:
            raise InvalidValueError("the network has no hidden layer")
        part = Network(
            network.layers[:-1], network.inputs, dtype=network.dtype, weight_initializer="zeros"
        )
        part.vector = network.vector[: len(part.vector)]
        part.state_vector = network.state_vector[: len(part.state_vector)]
        return part

    def transform(self, X: Any) -> Array:
        """Return the activations of the last hidden layer, (n, units)."""
        X = self._checked(X)
        return self._outputs(X, [self._hidden()])

    # ---------------------------------------------------------------------- files

    def save(self, path: str | PathLike[str] | BinaryIO) -> Path | None:
        """Write the fitted estimator to one safetensors file and return its path.

        It holds the networks, the parameters and what was fitted, no pickle. What belongs to a run
        is not written: callbacks, engine, threads, verbose, a function as ``scoring``, a
        RandomState, and the state of the optimizer. The same estimator is the same bytes.

        Raises
        ------
        OSError
            The file cannot be written; an existing one of that name is unchanged.
        TypeError
            A parameter or a label cannot be written to a file.
        """
        return save_estimator(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str] | BinaryIO) -> Self:
        """Return the estimator of a file that :meth:`save` wrote; no code of the file is run.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        OSError
            The file has none, is damaged, or comes from a newer version.
        """
        found = multilayer_of(load_networks(path), path)
        if not isinstance(found, cls):
            raise FileFormatError(f"the file has a {type(found).__name__}, not a {cls.__name__}")
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _dense(X: Any) -> Array:
    return X.toarray() if issparse(X) else X


class MLPClassifier(ClassifierMixin, _MultilayerPerceptron):
    """Multilayer perceptron classifier, in the place of scikit-learn's.

    Every parameter of scikit-learn's class is here, with its default, its meaning and its numbers:
    from the same ``random_state`` both give the same losses and coefficients up to rounding
    (`scikit-learn's pages <https://scikit-learn.org/stable/modules/neural_networks_supervised.html>`_
    describe them). Those below are new or take more than there.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int and of layers
        A number of units stands for a Dense layer with what ``activation``, ``normalization`` and
        ``dropout`` say; layers such as ``dr.Residual([...])`` are taken as they are.
    activation : name, ActivationFunction, or a sequence of them
        One for all hidden layers, or one for each that is given by its size.
    loss : name or Loss
        "log_loss" by default: binary cross-entropy for two classes and for several labels, else
        cross-entropy.
    class_weight : None, "balanced" or dict of label to float
        Multiplies the weights of the examples.
    dropout : float
        Share of the units of each hidden layer that a step leaves out; 0 by default.
    normalization : None, "batch" or "layer"
        Between the product and the activation of each hidden layer.
    weight_initializer : None, name or Initializer
        None draws scikit-learn's initial weights.
    optimizer : None, name or Optimizer
        In the place of ``solver`` and its parameters, with any schedule:
        ``dr.AdamW(dr.Cosine(1e-3))``.
    clip : None, number or Clip
        Of the gradient, as ``dr.train`` takes it.
    scoring : None, name, Metric or function (estimator, X, y)
        What early stopping watches: None is the accuracy; "loss", a scorer of scikit-learn or
        a metric of deltarule. Losses and errors count negative.
    restarts, ensemble : int
        Train so many networks from different initial weights, and keep so many of the best, whose
        predictions are averaged; 1 and 1 by default. Best by validation score, else by loss.
    callbacks : sequence of Callback, optional
        As ``dr.train`` takes them.
    keep_optimizer_state : bool
        Whether ``fit`` with ``warm_start`` goes on with the momenta of the call before, as
        ``partial_fit`` always does; scikit-learn forgets them.
    dtype : None, "float32" or "float64"
        Of the network; None is that of X.
    engine : "auto", "native" or "reference"
    threads : int, optional

    Attributes
    ----------
    network_ : Network
        The fitted network; of several the best.
    networks_ : list of Network
    coefs_, intercepts_ : list of arrays
        Weights (n_in, n_out) and biases (n_out,) of the dense layers, as views into the network.
    loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_
        As in scikit-learn; the curves have one number for each epoch.
    n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As in scikit-learn.
    converged_ : bool
        Whether the rule of ``tol`` and ``n_iter_no_change`` ended the last call.

    Notes
    -----
    ``fit`` takes ``sample_weight``, and validation data of their own: ``X_val``, ``y_val`` and
    ``sample_weight_val``. They are scored after each epoch, and the best epoch is kept.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from deltarule.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((20,), learning_rate_init=0.01, max_iter=500, random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.95)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_MultilayerPerceptron._parameter_constraints,
        "loss": [
            StrOptions({"log_loss", *members("loss")}),
            Hidden(StrOptions(_other_names(members("loss")))),
            Loss,
        ],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: Any = "log_loss",
        class_weight: Any = None,
        dropout: float = 0.0,
        normalization: str | None = None,
        weight_initializer: Any = None,
        optimizer: Any = None,
        clip: Any = None,
        scoring: Any = None,
        restarts: int = 1,
        ensemble: int = 1,
        callbacks: Any = None,
        keep_optimizer_state: bool = False,
        dtype: Any = None,
        engine: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.__dict__.update({k: v for k, v in locals().items() if k not in ("self", "__class__")})

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return X, y
        classes = unique_labels(y)
        if self.warm_start and not incremental:
            if set(classes) != set(self.classes_):
                raise InvalidValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
        else:
            self._refuse_unknown(y)
        return X, y

    def _refuse_unknown(self, y: Any) -> None:
        classes = unique_labels(y)
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise InvalidValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _checked_targets(self, y: Any, rows: int) -> Any:
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if len(y) != rows:
            raise InvalidValueError(f"y_val must have {rows} rows, as many as X_val; got {len(y)}")
        self._refuse_unknown(y)
        return y

    @property
    def _multilabel(self) -> bool:
        return bool(self._label_binarizer.y_type_.startswith("multilabel"))

    def _output(self) -> Output:
        return classifier_output(self.loss, len(self.classes_), multilabel=self._multilabel)

    def _targets(self, y: Any) -> Array:
        if self._multilabel:
            return self._label_binarizer.transform(y).astype(bool)
        codes = np.searchsorted(self.classes_, y)
        output = self._output()
        if output.units == 1 or isinstance(output.loss, CrossEntropy):
            return codes
        return codes[:, None] == np.arange(output.units)

    def _stratify(self, y: Any) -> Array | None:
        if self._multilabel or len(self.classes_) > 2:
            return None
        return (np.searchsorted(self.classes_, y) > 0).reshape(-1, 1)

    def _class_weights(self, y: Any, sample_weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        weights = compute_sample_weight(self.class_weight, y)
        return weights if sample_weight is None else weights * sample_weight

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> MLPClassifier:
        """Fit to features X (n, n_features) and labels y (n,), or (n, labels) of 0 and 1."""
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    @available_if(_is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> MLPClassifier:
        """Go on with one epoch over the given data."""
        if isinstance(self.class_weight, str):
            raise InvalidValueError(
                "class_weight='balanced' needs all labels at once, which partial_fit has not; pass "
                "a mapping, for instance from sklearn.utils.compute_class_weight"
            )
        if _check_partial_fit_first_call(self, classes):
            several = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if several else classes)
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val, incremental=True)

    def _predict(self, X: Any) -> Array:
        outputs = self._outputs(X, self.networks_)
        if len(self.classes_) <= 2 and not self._multilabel:
            outputs = outputs[:, -1]
        return self._label_binarizer.inverse_transform(outputs)

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row (n,), or labels (n, labels) of 0 and 1."""
        return self._predict(self._checked(X))

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class (n, classes), in the order of ``classes_``."""
        outputs = self._outputs(self._checked(X), self.networks_)
        if outputs.shape[1] == 1 and not self._multilabel:
            return np.hstack([1 - outputs, outputs])
        if not self._multilabel and self.out_activation_ != "softmax":
            outputs = outputs / outputs.sum(axis=1, keepdims=True)
        return outputs

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of the probability of each class (n, classes)."""
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, _MultilayerPerceptron):
    """Multilayer perceptron regressor, in the place of scikit-learn's.

    Every parameter of scikit-learn's class is here, with its default, its meaning and its numbers:
    from the same ``random_state`` both give the same losses and coefficients up to rounding
    (`scikit-learn's pages <https://scikit-learn.org/stable/modules/neural_networks_supervised.html>`_
    describe them). Those below are new or take more than there.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int and of layers
        A number of units stands for a Dense layer with what ``activation``, ``normalization`` and
        ``dropout`` say; layers such as ``dr.Residual([...])`` are taken as they are.
    activation : name, ActivationFunction, or a sequence of them
        One for all hidden layers, or one for each that is given by its size.
    loss : name or Loss
        "squared_error" by default. Its output activation ends the network: exp for Poisson, else
        identity.
    dropout : float
        Share of the units of each hidden layer that a step leaves out; 0 by default.
    normalization : None, "batch" or "layer"
        Between the product and the activation of each hidden layer.
    weight_initializer : None, name or Initializer
        None draws scikit-learn's initial weights.
    optimizer : None, name or Optimizer
        In the place of ``solver`` and its parameters, with any schedule:
        ``dr.AdamW(dr.Cosine(1e-3))``.
    clip : None, number or Clip
        Of the gradient, as ``dr.train`` takes it.
    scoring : None, name, Metric or function (estimator, X, y)
        What early stopping watches: None is R2; "loss", a scorer of scikit-learn or
        a metric of deltarule. Losses and errors count negative.
    restarts, ensemble : int
        Train so many networks from different initial weights, and keep so many of the best, whose
        predictions are averaged; 1 and 1 by default. Best by validation score, else by loss.
    callbacks : sequence of Callback, optional
        As ``dr.train`` takes them.
    keep_optimizer_state : bool
        Whether ``fit`` with ``warm_start`` goes on with the momenta of the call before, as
        ``partial_fit`` always does; scikit-learn forgets them.
    dtype : None, "float32" or "float64"
        Of the network; None is that of X.
    engine : "auto", "native" or "reference"
    threads : int, optional

    Attributes
    ----------
    network_ : Network
        The fitted network; of several the best.
    networks_ : list of Network
    coefs_, intercepts_ : list of arrays
        Weights (n_in, n_out) and biases (n_out,) of the dense layers, as views into the network.
    loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_
        As in scikit-learn; the curves have one number for each epoch.
    n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As in scikit-learn.
    converged_ : bool
        Whether the rule of ``tol`` and ``n_iter_no_change`` ended the last call.

    Notes
    -----
    ``fit`` takes ``sample_weight``, and validation data of their own: ``X_val``, ``y_val`` and
    ``sample_weight_val``. They are scored after each epoch, and the best epoch is kept.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import StandardScaler
    >>> from deltarule.sklearn import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X, y = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()
    >>> model = MLPRegressor(hidden_layer_sizes=(20,), max_iter=500, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.5)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_MultilayerPerceptron._parameter_constraints,
        "loss": [StrOptions(set(_OF_VALUES)), Hidden(StrOptions(_other_names(_OF_VALUES))), Loss],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        normalization: str | None = None,
        weight_initializer: Any = None,
        optimizer: Any = None,
        clip: Any = None,
        scoring: Any = None,
        restarts: int = 1,
        ensemble: int = 1,
        callbacks: Any = None,
        keep_optimizer_state: bool = False,
        dtype: Any = None,
        engine: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.__dict__.update({k: v for k, v in locals().items() if k not in ("self", "__class__")})

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._width = 1 if y.ndim == 1 else y.shape[1]
        return X, y

    def _checked_targets(self, y: Any, rows: int) -> Any:
        y = np.asarray(y, dtype=np.float64)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if len(y) != rows:
            raise InvalidValueError(f"y_val must have {rows} rows, as many as X_val; got {len(y)}")
        return y

    def _output(self) -> Output:
        return regressor_output(self.loss, self._width)

    def _targets(self, y: Any) -> Array:
        return y

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> MLPRegressor:
        """Fit to features X (n, n_features) and values y (n,) or (n, outputs)."""
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    @available_if(_is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> MLPRegressor:
        """Go on with one epoch over the given data."""
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val, incremental=True)

    def _predict(self, X: Any) -> Array:
        outputs = self._outputs(X, self.networks_)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def predict(self, X: Any) -> Array:
        """Return the predicted values (n,) or (n, outputs)."""
        return self._predict(self._checked(X))


def multilayer_of(file: ModelFile, path: object) -> MLPClassifier | MLPRegressor:
    """Return the fitted estimator of a file's content; ``path`` is named in messages."""
    classes = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}
    found: MLPClassifier | MLPRegressor = estimator_of(file, path, classes)
    return found


def is_multilayer(file: ModelFile) -> bool:
    """Whether a file's content is that of a multilayer estimator."""
    return KEY in file.about
