"""What the multilayer perceptrons with the API of scikit-learn share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Hidden, Interval, Options, StrOptions
from sklearn.utils.validation import (
    check_is_fitted,
)

from deltarule.base.errors import InvalidValueError
from deltarule.base.settings import check_integer, members
from deltarule.base.types import Array
from deltarule.formulas.activations import ActivationFunction
from deltarule.network.layer import Layer
from deltarule.network.layers import Dense
from deltarule.network.model_file import load_networks
from deltarule.network.network import Network
from deltarule.tables.given_numbers import checked_features, checked_weights
from deltarule.tables.multilayer_choices import (
    Output,
    copy_values,
    draw_as_sklearn,
    hidden_layers,
    hidden_sizes,
    weights_and_biases,
)
from deltarule.tables.multilayer_course import Course
from deltarule.tables.multilayer_file import estimator_of, save_estimator
from deltarule.tables.multilayer_fitting import Examples, Member, fit_by_lbfgs, fit_by_steps
from deltarule.tables.multilayer_scores import Held

if TYPE_CHECKING:
    from pathlib import Path

_STOCHASTIC = ("sgd", "adam")
_ROWS_AT_ONCE = 1 << 14  # of a sparse matrix that is predicted


def other_names(kinds: Mapping[str, Any]) -> set[str]:
    """Return what other libraries call members of a family."""
    return {alias for kind in kinds.values() for alias in getattr(kind, "aliases", ())}


def is_stochastic(estimator: Any) -> bool:
    """Return True for an estimator that is fitted by steps; raise AttributeError otherwise."""
    if estimator.optimizer is None and estimator.solver not in _STOCHASTIC:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic."
        )
    return True


class MultilayerPerceptron(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What classifier and regressor share."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left"), Layer],
        "activation": [
            StrOptions({"logistic", *members("activation")}),
            Hidden(StrOptions(other_names(members("activation")))),
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
            sample_weight = checked_weights(sample_weight, X)
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
        X = _dense(checked_features(self, X, "X_val", dtype))
        y = self._checked_targets(y, len(X))
        if weights is not None:
            weights = checked_weights(weights, X)
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
        return checked_features(self, X)

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
        found: Self = estimator_of(load_networks(path), path, {cls.__name__: cls})
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _dense(X: Any) -> Array:
    return X.toarray() if issparse(X) else X
