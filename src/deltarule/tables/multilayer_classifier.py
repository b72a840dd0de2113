"""The multilayer perceptron of classes, with the API of scikit-learn."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import Hidden, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from deltarule.base.errors import InvalidValueError
from deltarule.base.settings import members
from deltarule.base.types import Array
from deltarule.formulas.losses import CrossEntropy, Loss
from deltarule.tables.given_checks import as_our_error, check_labels
from deltarule.tables.given_numbers import checked_examples
from deltarule.tables.multilayer_base import MultilayerPerceptron, is_stochastic, other_names
from deltarule.tables.multilayer_choices import Output, classifier_output


class MLPClassifier(ClassifierMixin, MultilayerPerceptron):
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
        **MultilayerPerceptron._parameter_constraints,
        "loss": [
            StrOptions({"log_loss", *members("loss")}),
            Hidden(StrOptions(other_names(members("loss")))),
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
        X, y = checked_examples(self, X, y, check_labels, reset=reset, numeric=False)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            with as_our_error():
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
        with as_our_error():
            classes = unique_labels(y)
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise InvalidValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _checked_targets(self, y: Any, rows: int) -> Any:
        check_labels(y, rows, "y_val")
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
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

    @available_if(is_stochastic)
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
