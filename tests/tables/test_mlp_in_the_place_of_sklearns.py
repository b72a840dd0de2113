"""scikit-learn's checks of estimators, and the tests of its own multilayer perceptrons on ours.

The latter are read from the installed scikit-learn, with our two classes in the place of its own.
"""

from __future__ import annotations

import importlib.util
import inspect
from types import ModuleType

import pytest

from oracles import oracle

oracle("sklearn")
oracle("joblib")

import sklearn.neural_network  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from deltarule.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

OF_PRIVATE_ATTRIBUTES = {
    # Compares `_loss_grad_lbfgs(vector, X, Y, ...)`, which fills lists of scikit-learn's own, with
    # finite differences. tests/inspect does so for every layer, activation and loss.
    "test_gradient": "_loss_grad_lbfgs",
}
"""Their tests that are left out: each with the private attribute that it is about."""


def theirs() -> ModuleType:
    """Return scikit-learn's tests, loaded anew with our classes."""
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sklearn.neural_network, "MLPClassifier", MLPClassifier)
        patch.setattr(sklearn.neural_network, "MLPRegressor", MLPRegressor)
        spec.loader.exec_module(module)
    return module


THEIRS = theirs()


@pytest.fixture
def global_random_seed() -> int:
    """One of the seeds that scikit-learn's own fixture draws from."""
    return 42


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
globals().update(
    (name, test)
    for name, test in vars(THEIRS).items()
    if name.startswith("test_") and name not in OF_PRIVATE_ATTRIBUTES
)


def test_the_classes_of_their_tests_are_ours() -> None:
    assert THEIRS.MLPClassifier is MLPClassifier
    assert THEIRS.MLPRegressor is MLPRegressor


@pytest.mark.parametrize(("name", "attribute"), OF_PRIVATE_ATTRIBUTES.items())
def test_what_is_left_out_is_about_a_private_attribute(name: str, attribute: str) -> None:
    assert attribute in inspect.getsource(vars(THEIRS)[name])
    assert attribute not in inspect.getsource(inspect.getmodule(MLPClassifier))  # type: ignore[arg-type]


@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_scikit_learns_checks(estimator: object, check: object) -> None:
    check(estimator)  # type: ignore[operator]
