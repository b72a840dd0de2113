"""What the estimators can beyond scikit-learn's."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from oracles import oracle

oracle("sklearn")

from scipy.sparse import csr_array  # noqa: E402
from sklearn.datasets import make_classification, make_regression  # noqa: E402
from sklearn.metrics import accuracy_score, get_scorer, log_loss, r2_score  # noqa: E402

from deltarule.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

X, CODES = make_classification(120, 6, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
LABELS = np.array(["ash", "beech", "cedar"])[CODES]
XR, VALUES = make_regression(120, 6, n_targets=2, random_state=0)
VALUES = VALUES / VALUES.std()
WEIGHTS = np.random.default_rng(0).uniform(0.5, 2, 120)
NEW, NEW_LABELS, NEW_WEIGHTS = X[:40], LABELS[:40], WEIGHTS[:40]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class First(dr.Callback):
    """Keeps the network as it is before the first step."""

    def on_start(self, state: dr.State) -> None:
        self.network = state.network.copy()


def classifier(**settings: Any) -> MLPClassifier:
    known = {"hidden_layer_sizes": (7, 5), "random_state": 0, "max_iter": 4, "batch_size": 50}
    return MLPClassifier(**known | settings)


def regressor(**settings: Any) -> MLPRegressor:
    known = {"hidden_layer_sizes": (7, 5), "random_state": 0, "max_iter": 4, "batch_size": 50}
    return MLPRegressor(**known | settings)


SETTINGS: dict[str, dict[str, Any]] = {
    "label smoothing": {"loss": dr.CrossEntropy(label_smoothing=0.1)},
    "an optimizer with a schedule": {"optimizer": dr.AdamW(dr.Cosine(0.02), weight_decay=0.1)},
    "clipping": {"clip": dr.ClipNorm(0.01)},
    "dropout": {"dropout": 0.4},
    "batch normalisation": {"normalization": "batch"},
    "layer normalisation": {"normalization": "layer"},
    "initial weights": {"weight_initializer": "he_normal"},
    "activations": {"activation": ["tanh", dr.activations.LeakyReLU(0.3)]},
    "layers": {"hidden_layer_sizes": [8, dr.Residual([dr.LayerNorm(), dr.Dense(8, "gelu")]), 4]},
    "weights of classes": {"class_weight": {"ash": 3.0}},
    "no penalty": {"alpha": 0.0},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_fit_is_what_train_does_with_the_same_settings(name: str) -> None:
    settings, first = SETTINGS[name], First()
    fitted = classifier(**settings, shuffle=False, callbacks=[first])
    fitted.fit(X, LABELS, sample_weight=WEIGHTS)
    by_class = np.where(CODES == 0, 3.0, 1.0) if "class_weight" in settings else 1.0
    alpha = settings.get("alpha", 1e-4)
    dr.train(
        first.network, X, CODES, loss=settings.get("loss", "cross_entropy"),
        optimizer=settings.get("optimizer", dr.Adam(epsilon_first=True)),
        penalty=dr.L2(alpha, over_batch=True) if alpha else None, clip=settings.get("clip"),
        epochs=4, batch_size=50, shuffle=False, sample_weight=by_class * WEIGHTS,
        seed=first.network.seed, progress=False,
    )  # fmt: skip
    assert fitted.network_.vector.tolist() == first.network.vector.tolist()
    assert fitted.network_.state_vector.tolist() == first.network.state_vector.tolist()


def test_the_layers_are_those_that_were_asked_for() -> None:
    assert repr(classifier(**SETTINGS["activations"]).fit(X, LABELS).network_) == (
        "Network(6 -> Dense(7, tanh) -> Dense(5, leaky_relu) -> Dense(3, softmax); "
        "107 parameters, float64)"
    )
    both = classifier(normalization="batch", dropout=0.2, hidden_layer_sizes=4, dtype="float32")
    assert repr(both.fit(X, LABELS).network_) == (
        "Network(6 -> Dense(4) -> BatchNorm -> Activation(relu) -> Dropout(0.2) -> "
        "Dense(3, softmax); 51 parameters, float32)"
    )
    one = classifier(hidden_layer_sizes=dr.Dense(4, "elu")).fit(X, LABELS)
    assert [layer.units for layer in one.network_.layers] == [4, 3]


LOSSES = ["mse", "mean_absolute_error", "huber", dr.Quantile(0.9), "quantile", dr.Poisson()]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_any_loss_of_values(loss: Any) -> None:
    y = np.abs(VALUES)
    fitted = regressor(loss=loss, max_iter=30, learning_rate_init=0.02, alpha=0).fit(XR, y)
    resolved = dr.losses.Loss.resolve(loss)
    before, after = fitted.loss_curve_[0], dr.evaluate(fitted.network_, XR, y, resolved)["loss"]
    assert after < before
    assert fitted.predict(XR).shape == y.shape


def test_any_loss_of_classes() -> None:
    two = classifier(loss="cross_entropy").fit(X, CODES > 0)
    assert (two.n_outputs_, two.out_activation_) == (2, "softmax")
    one_against_all = classifier(loss="bce", max_iter=40, learning_rate_init=0.02).fit(X, LABELS)
    assert one_against_all.out_activation_ == "logistic"
    squared = classifier(loss="squared_error", max_iter=40, learning_rate_init=0.02).fit(X, LABELS)
    for fitted in (two, one_against_all, squared):
        probabilities = fitted.predict_proba(X)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        best = fitted.classes_[probabilities.argmax(axis=1)]
        np.testing.assert_array_equal(fitted.predict(X), best)
    assert one_against_all.score(X, LABELS) > 0.6
    assert squared.score(X, LABELS) > 0.6


def test_class_weights_weigh_in_training_and_not_in_scores() -> None:
    fitted = classifier(class_weight={"ash": 9.0}, max_iter=1, scoring="loss")
    fitted.fit(X, LABELS, X_val=NEW, y_val=NEW_LABELS)
    unweighted = -log_loss(NEW_LABELS, fitted.predict_proba(NEW))
    assert fitted.validation_scores_ == [pytest.approx(unweighted)]
    balanced = classifier(class_weight="balanced", shuffle=False).fit(X[40:], LABELS[40:])
    counts = np.bincount(CODES[40:])
    by_hand = classifier(shuffle=False)
    by_hand.fit(X[40:], LABELS[40:], sample_weight=(80 / (3 * counts))[CODES[40:]])
    assert balanced.network_.vector.tolist() == by_hand.network_.vector.tolist()


def test_the_best_of_several_restarts_are_kept_and_averaged() -> None:
    settings = {"shuffle": False, "restarts": 4}
    all_of_them = classifier(**settings, ensemble=4).fit(X, LABELS)
    losses = [m.course.loss_curve[-1] for m in all_of_them._members]
    assert losses == sorted(losses)
    assert len(set(losses)) == 4
    assert all_of_them.loss_ == losses[0]
    best_two = classifier(**settings, ensemble=2).fit(X, LABELS)
    assert [n.vector.tolist() for n in best_two.networks_] == [
        n.vector.tolist() for n in all_of_them.networks_[:2]
    ]
    outputs = [network.predict(X) for network in best_two.networks_]
    np.testing.assert_allclose(best_two.predict_proba(X), np.mean(outputs, axis=0), rtol=1e-14)
    single = classifier(shuffle=False).fit(X, LABELS)
    vectors = [network.vector.tolist() for network in all_of_them.networks_]
    assert single.network_.vector.tolist() in vectors


def test_restarts_are_ranked_by_their_validation_score() -> None:
    fitted = classifier(restarts=3, ensemble=3, early_stopping=True).fit(X, LABELS)
    scores = [member.course.best_score for member in fitted._members]
    assert scores == sorted(scores, reverse=True)
    assert fitted.best_validation_score_ == scores[0]


def of_columns(estimator: Any, X: Any, y: Any) -> float:
    return float(estimator.predict_proba(X)[:, 0].mean())


SCORES: dict[str, tuple[Any, Any]] = {
    "accuracy": (None, lambda m: accuracy_score(NEW_LABELS, m.predict(NEW))),
    "the loss": ("loss", lambda m: -log_loss(NEW_LABELS, m.predict_proba(NEW))),
    "a scorer's name": ("f1_macro", lambda m: get_scorer("f1_macro")(m, NEW, NEW_LABELS)),
    "a scorer": (
        get_scorer("roc_auc_ovr"),
        lambda m: get_scorer("roc_auc_ovr")(m, NEW, NEW_LABELS),
    ),
    "a metric's name": ("log_loss", lambda m: -log_loss(NEW_LABELS, m.predict_proba(NEW))),
    "a metric": (dr.metrics.Accuracy(), lambda m: accuracy_score(NEW_LABELS, m.predict(NEW))),
    "a function": (of_columns, lambda m: of_columns(m, NEW, NEW_LABELS)),
}


@pytest.mark.parametrize("name", SCORES)
def test_early_stopping_watches_any_score(name: str) -> None:
    scoring, expected = SCORES[name]
    fitted = classifier(scoring=scoring, max_iter=1, learning_rate_init=0.05)
    fitted.fit(X, LABELS, X_val=NEW, y_val=NEW_LABELS)
    assert fitted.validation_scores_ == [pytest.approx(expected(fitted), rel=1e-12)]


def test_validation_weights_weigh_the_score() -> None:
    given = {"X_val": NEW, "y_val": NEW_LABELS, "sample_weight_val": NEW_WEIGHTS}
    fitted = classifier(max_iter=1).fit(X, LABELS, **given)
    expected = accuracy_score(NEW_LABELS, fitted.predict(NEW), sample_weight=NEW_WEIGHTS)
    assert fitted.validation_scores_ == [pytest.approx(expected)]
    by_loss = classifier(max_iter=1, scoring="loss").fit(X, LABELS, **given)
    probabilities = by_loss.predict_proba(NEW)
    expected = -log_loss(NEW_LABELS, probabilities, sample_weight=NEW_WEIGHTS)
    assert by_loss.validation_scores_ == [pytest.approx(expected)]


def test_validation_data_of_the_users_own_take_the_place_of_a_fraction() -> None:
    fitted = regressor(early_stopping=True).fit(XR, VALUES, X_val=XR[:50], y_val=VALUES[:50])
    assert fitted.t_ == 4 * 120
    assert len(fitted.validation_scores_) == 4
    kept = r2_score(VALUES[:50], fitted.predict(XR[:50]))
    assert kept == pytest.approx(fitted.best_validation_score_, rel=1e-12)


def test_callbacks_see_the_validation_data_and_can_end_a_fit() -> None:
    class Seen(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            self.losses = list(state.history["val_loss"])
            if state.epoch == 3:
                state.stop = "enough"

    seen = Seen()
    fitted = classifier(early_stopping=True, scoring="loss", callbacks=[seen], max_iter=9)
    fitted.fit(X, LABELS)
    assert fitted.n_iter_ == 3
    # The history's loss has the penalty in it, the score has not.
    assert len(seen.losses) == 3
    assert all(a > -b for a, b in zip(seen.losses, fitted.validation_scores_, strict=True))


def test_a_warm_start_may_keep_the_optimizers_state() -> None:
    settings = {"shuffle": False, "warm_start": True}
    whole = classifier(shuffle=False, max_iter=6).fit(X, LABELS)
    kept = classifier(**settings, keep_optimizer_state=True, max_iter=3)
    kept.fit(X, LABELS).fit(X, LABELS)
    lost = classifier(**settings, max_iter=3).fit(X, LABELS).fit(X, LABELS)
    assert kept.network_.vector.tolist() == whole.network_.vector.tolist()
    assert kept.loss_curve_ == whole.loss_curve_
    assert np.abs(lost.network_.vector - whole.network_.vector).max() > 1e-4


def test_partial_fit_says_when_to_stop_and_brings_the_best_weights_back() -> None:
    fitted = classifier(
        early_stopping=True, n_iter_no_change=3, learning_rate_init=0.05, scoring="loss"
    )
    calls, scores = 0, list[float]()
    while calls < 200 and not (calls and fitted.converged_):
        fitted.partial_fit(X, LABELS, classes=np.unique(LABELS), X_val=NEW, y_val=NEW_LABELS)
        calls, scores = calls + 1, fitted.validation_scores_
    assert 4 < calls == len(scores) < 200
    assert scores[-1] < max(scores) == fitted.best_validation_score_
    kept = -log_loss(NEW_LABELS, fitted.predict_proba(NEW))
    assert kept == pytest.approx(max(scores), rel=1e-12)


def test_coefficients_can_be_written() -> None:
    fitted = regressor().fit(XR, VALUES)
    before = fitted.predict(XR)
    fitted.intercepts_[-1][:] += 1
    np.testing.assert_allclose(fitted.predict(XR), before + 1)
    fitted.coefs_ = [0 * W for W in fitted.coefs_]
    np.testing.assert_allclose(fitted.predict(XR), np.tile(fitted.intercepts_[-1], (120, 1)))
    with pytest.raises(dr.DeltaruleError, match=r"expected arrays of shapes \(6, 7\)"):
        fitted.coefs_ = [np.zeros((7, 6))]


def test_sparse_rows_are_predicted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltarule.tables.multilayer_base._ROWS_AT_ONCE", 50)
    sparse = np.where(np.abs(X) > 1, X, 0)
    fitted = classifier().fit(csr_array(sparse), LABELS)
    dense = classifier().fit(sparse, LABELS)
    np.testing.assert_array_equal(
        fitted.predict_proba(csr_array(sparse)), dense.predict_proba(sparse)
    )
    np.testing.assert_array_equal(fitted.transform(csr_array(sparse)), dense.transform(sparse))


def test_ctrl_c_keeps_what_was_learnt() -> None:
    class Press(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            signal.raise_signal(signal.SIGINT)

    fitted = classifier(callbacks=[Press()])
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        fitted.fit(X, LABELS)
    assert fitted.n_iter_ == 1
    assert fitted.predict(X).shape == (120,)


def test_a_fit_that_diverges_keeps_finite_weights() -> None:
    wild = regressor(solver="sgd", activation="identity", learning_rate_init=1e3)
    with pytest.raises(ValueError, match="non-finite parameter weights") as caught:
        wild.fit(XR, VALUES)
    assert isinstance(caught.value, dr.DeltaruleError)
    assert np.isfinite(wild.network_.vector).all()
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        regressor(solver="lbfgs").fit(1e300 * XR, VALUES)


def test_reaching_max_iter_is_no_cause_for_a_warning_where_the_schedule_ends_there(
    recwarn: pytest.WarningsRecorder,
) -> None:
    classifier(optimizer=dr.Adam(dr.Cosine(1e-3))).fit(X, LABELS)
    assert not recwarn.list
    classifier(optimizer=dr.Adam(1e-3)).fit(X, LABELS)
    assert "Maximum iterations (4)" in str(recwarn.pop().message)


MANY = (np.random.default_rng(0).random((120, 3)) > 0.5).astype(int)
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "too few activations": ({"activation": ["tanh"]}, {}, "1 entries for 2 hidden layers"),
    "an unknown activation": ({"activation": ["tanh", "relv"]}, {}, "relu"),
    "a normalisation": ({"normalization": "group"}, {}, "None, 'batch' or 'layer', got 'group'"),
    "a dropout of all": ({"dropout": 1.0}, {}, "dropout must be"),
    "layers of text": ({"hidden_layer_sizes": ["wide"]}, {}, "numbers of units and layers"),
    "layers of nothing": ({"hidden_layer_sizes": (7, 0)}, {}, "must be > 0"),
    "a loss that does not fit": ({"loss": "poisson"}, {}, "poisson needs a network that ends"),
    "a scorer": ({"early_stopping": True, "scoring": "acuracy"}, {}, "did you mean 'accuracy'"),
    "a number as scorer": ({"early_stopping": True, "scoring": 3}, {}, "scoring must be"),
    "more kept than trained": ({"ensemble": 2}, {}, "need at least as many restarts"),
    "callbacks": ({"callbacks": ["stop"]}, {}, "a callback is an object"),
    "an optimizer": ({"optimizer": "adamm"}, {}, "adam"),
    "a dtype": ({"dtype": "int8"}, {}, "dtype must be"),
    "an engine": ({"engine": "gpu"}, {}, "engine"),
    "chance in L-BFGS": ({"solver": "lbfgs", "dropout": 0.1}, {}, "Dropout makes it one of chance"),
    "X_val alone": ({}, {"X_val": NEW}, "belong together"),
    "fewer y_val": (
        {},
        {"X_val": NEW, "y_val": LABELS[:9]},
        "same number of rows, got 40 and 9",
    ),
    "a new class": ({}, {"X_val": NEW, "y_val": np.full(40, "oak")}, "classes not in"),
    "several labels": ({"loss": "cross_entropy"}, {"y": MANY}, "y has several labels per row"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_one_clear_error(name: str) -> None:
    settings, given, message = REFUSED[name]
    model = classifier(**settings)
    parameters = repr(model.get_params())
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        model.fit(**{"X": X, "y": LABELS} | given)
    assert isinstance(caught.value, dr.DeltaruleError)
    assert repr(model.get_params()) == parameters


def test_partial_fit_knows_no_balance() -> None:
    with pytest.raises(dr.DeltaruleError, match="needs all labels at once"):
        classifier(class_weight="balanced").partial_fit(X, LABELS, classes=np.unique(LABELS))


@pytest.mark.parametrize("settings", [{"loss": "hinge"}, {"activation": 3}, {"solver": "newton"}])
def test_a_wrong_parameter_of_scikit_learns_raises_scikit_learns_error(
    settings: dict[str, Any],
) -> None:
    from sklearn.utils._param_validation import InvalidParameterError

    with pytest.raises(InvalidParameterError, match=next(iter(settings))):
        classifier(**settings).fit(X, LABELS)


@pytest.mark.parametrize(
    "optimizer", [dr.LevenbergMarquardt(), dr.LBFGS(), dr.BayesianRegularization()], ids=repr
)
def test_optimizers_that_take_all_rows(optimizer: Any) -> None:
    """The order of the rows, which scikit-learn's rules draw, is of no consequence to them."""
    model = regressor(optimizer=optimizer, batch_size=len(XR), max_iter=30, tol=0, alpha=0)
    model.fit(XR, VALUES)
    assert 1 < model.n_iter_ <= 30
    assert model.loss_curve_[-1] < 0.5 * model.loss_curve_[0]
    with pytest.raises(ValueError, match="takes all rows in each step"):
        regressor(optimizer=optimizer, batch_size=10, alpha=0).fit(XR, VALUES)
