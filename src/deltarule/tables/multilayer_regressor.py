"""The multilayer perceptron of values, with the API of scikit-learn."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Hidden, StrOptions
from sklearn.utils.metaestimators import available_if

from deltarule.base.settings import members
from deltarule.base.types import Array
from deltarule.formulas.losses import Loss
from deltarule.tables.given_checks import check_values
from deltarule.tables.given_numbers import checked_examples
from deltarule.tables.multilayer_base import MultilayerPerceptron, is_stochastic, other_names
from deltarule.tables.multilayer_choices import Output, regressor_output

_OF_VALUES = {name: loss for name, loss in members("loss").items() if not loss.classifies}


class MLPRegressor(RegressorMixin, MultilayerPerceptron):
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
        **MultilayerPerceptron._parameter_constraints,
        "loss": [StrOptions(set(_OF_VALUES)), Hidden(StrOptions(other_names(_OF_VALUES))), Loss],
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
        X, y = checked_examples(self, X, y, check_values, reset=reset, numeric=True)
        self._width = 1 if y.ndim == 1 else y.shape[1]
        return X, y

    def _checked_targets(self, y: Any, rows: int) -> Any:
        check_values(y, rows, "y_val")
        y = np.asarray(y, dtype=np.float64)
        return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

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

    @available_if(is_stochastic)
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
