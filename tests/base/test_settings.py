"""Settings: names, clear errors, and plain values that turn back into the same object."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import deltarule as dr
from deltarule.base.settings import describe, members, rebuild
from deltarule.formulas.activations import ActivationFunction
from deltarule.formulas.clipping import Clip
from deltarule.formulas.constraints import Constraint
from deltarule.formulas.initializers import Initializer
from deltarule.formulas.losses import Loss
from deltarule.formulas.metrics import Metric
from deltarule.formulas.optimizers import Optimizer
from deltarule.formulas.penalties import Penalty
from gradient_cases import ACTIVATIONS, LAYERS, PAIRS, PENALTIES

# Classes that cannot do without settings, with some.
NEEDED = {
    ("layer", "embedding"): dr.Embedding((3, 4), 2),
    ("initializer", "constant"): dr.initializers.Constant(0.5),
    ("schedule", "constant"): dr.schedules.Constant(0.1),
    ("schedule", "step"): dr.Step(0.1, 3),
    ("schedule", "exponential"): dr.Exponential(0.1, 0.5),
    ("schedule", "inverse_scaling"): dr.InverseScaling(0.1),
    ("schedule", "polynomial"): dr.Polynomial(0.1, length=7),
    ("schedule", "linear"): dr.Linear(0.1),
    ("schedule", "cosine"): dr.Cosine(0.1, unit="epoch"),
    ("schedule", "cosine_restarts"): dr.CosineRestarts(0.1, 5),
    ("schedule", "one_cycle"): dr.OneCycle(0.1),
    ("schedule", "piecewise"): dr.Piecewise((3,), (0.1, 0.2)),
    ("schedule", "warm_up"): dr.WarmUp(2, dr.Cosine(0.1)),
    ("layer", "dense"): dr.Dense(3, "gelu", penalty=dr.L1(0.1), constraint="max_norm"),
    ("layer", "activation"): dr.Activation(dr.activations.ELU(0.3)),
    ("layer", "residual"): dr.Residual([dr.Dense(4), dr.Residual([dr.LayerNorm()])]),
}
WITHOUT_FILES = {("metric", "function"), ("schedule", "function")}
FAMILIES = {
    "activation": ActivationFunction,
    "loss": Loss,
    "initializer": Initializer,
    "optimizer": Optimizer,
    "penalty": Penalty,
    "constraint": Constraint,
    "clip": Clip,
    "metric": Metric,
    "layer": dr.Layer,
    "schedule": dr.schedules.Schedule,
}


def every_setting():
    found = {}
    for family, base in FAMILIES.items():
        for name in sorted(members(family)):
            if (family, name) in WITHOUT_FILES or name.startswith("test_"):
                continue
            found[family, name] = NEEDED.get((family, name)) or base.resolve(name)
    extra = [*ACTIVATIONS.values(), *(loss for loss, _ in PAIRS.values())]
    extra += [p for p in PENALTIES.values() if p]
    extra += [layer for make in LAYERS.values() for layer in make(dr.activations.LeakyReLU(0.2))]
    extra += [
        dr.Adam(dr.WarmUp(3, dr.Cosine(1e-3, length=9)), beta1=0.8),
        dr.SGD(0.3, momentum=0.9, nesterov=True),
        dr.CrossEntropy(label_smoothing=0.1, reduction="sum"),
        dr.Dense(2, bias=False, weight_initializer="orthogonal", learning_rate_factor=0.5),
        dr.Residual([dr.Dense(2)], projection_initializer=dr.initializers.Normal(0.1)),
    ]
    return [*found.values(), *extra]


@pytest.mark.parametrize("value", every_setting(), ids=lambda s: f"{s.family}-{s.name}")
def test_a_setting_survives_the_way_to_plain_values_and_back(value):
    text = json.dumps(describe(value), allow_nan=False)
    again = rebuild(json.loads(text))
    assert again == value
    assert type(again) is type(value)
    assert describe(again) == describe(value)


@pytest.mark.parametrize("value", every_setting(), ids=lambda s: f"{s.family}-{s.name}")
def test_a_setting_cannot_be_changed_and_equals_itself_by_value(value):
    with pytest.raises(AttributeError):
        value.name_of_nothing = 1
    assert hash(value) == hash(rebuild(describe(value)))
    assert type(value).__name__ in repr(value)


def test_every_field_is_written_also_where_it_has_its_default():
    assert describe(dr.L2()) == {"penalty": "l2", "strength": 1e-4, "over_batch": False}
    assert describe(dr.SquaredError()) == {"loss": "squared_error", "reduction": "mean"}


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ("schedule", "layer")])
def test_a_name_a_class_and_an_object_resolve_to_the_same(family):
    base = FAMILIES[family]
    for name in sorted(members(family)):
        if (family, name) in WITHOUT_FILES | NEEDED.keys() or name.startswith("test_"):
            continue
        found = base.resolve(name)
        assert found.name == name
        assert base.resolve(type(found)) == found
        assert base.resolve(found) is found


@pytest.mark.parametrize(
    ("base", "wrong", "right"),
    [
        (ActivationFunction, "rleu", "relu"),
        (ActivationFunction, "LeakyRELUU", "leaky_relu"),
        (ActivationFunction, "swisch", "silu"),  # by an alias
        (Loss, "corssentropy", "cross_entropy"),
        (Initializer, "xavier_uniforn", "glorot_uniform"),
        (Optimizer, "adamm", "adam"),
        (Penalty, "elasticnte", "elastic_net"),
        (Constraint, "maxnrom", "max_norm"),
        (Clip, "clipnrom", "clip_norm"),
        (Metric, "acuracy", "accuracy"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_and_all_known(base, wrong, right):
    with pytest.raises(dr.DeltaruleError) as caught:
        base.resolve(wrong)
    assert isinstance(caught.value, ValueError)
    message = str(caught.value)
    assert f"unknown {base.family} '{wrong}'" in message
    assert "known: " in message
    for name in members(base.family):
        assert name in message
    assert f"did you mean '{right}" in message


@pytest.mark.parametrize("base", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("value", [3, None, 1.5, [], np.zeros(2), int, object()])
def test_a_value_that_is_no_setting_is_a_type_error_that_says_what_was_got(base, value):
    with pytest.raises(dr.DeltaruleError, match="expected a") as caught:
        base.resolve(value)
    assert isinstance(caught.value, TypeError)


def test_a_setting_of_another_family_is_refused():
    with pytest.raises(dr.DeltaruleError, match="expected a loss"):
        Loss.resolve(dr.L2())
    with pytest.raises(dr.DeltaruleError, match="expected a penalty"):
        Penalty.resolve(dr.SquaredError)


def test_a_name_that_needs_settings_says_which():
    with pytest.raises(dr.DeltaruleError, match=r"write Constant\(value\)"):
        Initializer.resolve("constant")


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({"penalty": "l7"}, "unknown penalty 'l7'"),
        ({"penalty": "l2", "power": 3}, "has no setting power"),
        ({"strength": 3}, "no family"),
        ({"penalty": 2}, "unknown penalty 2"),
        ({"penalty": "l2", "strength": -1, "over_batch": False}, "strength must be"),
    ],
)
def test_plain_values_that_describe_no_setting_are_refused(value, match):
    with pytest.raises(dr.DeltaruleError, match=match):
        rebuild(value)


@pytest.mark.parametrize("value", [dr.schedules.FunctionOfStep(abs), object(), {1, 2}, np.ones(1)])
def test_what_cannot_be_written_is_refused(value):
    with pytest.raises(dr.DeltaruleError, match="cannot be written to a file"):
        describe(value)


def test_two_classes_cannot_share_a_name():
    with pytest.raises(dr.DeltaruleError, match="'relu' is taken"):
        type("Mine", (ActivationFunction,), {"name": "relu"})
    assert ActivationFunction.resolve("relu") == dr.activations.ReLU()


def test_a_setting_without_fields_is_frozen_and_leaves_subclasses_their_attributes():
    class Mine(dr.activations.Tanh):
        def __init__(self):
            self.slope = 2.0

    tanh, mine = dr.activations.Tanh(), Mine()
    for change in (lambda: setattr(tanh, "slope", 1.0), lambda: delattr(tanh, "name")):
        with pytest.raises(dr.InvalidAttributeError):
            change()
    del mine.slope
    assert not hasattr(mine, "slope")
    assert mine != tanh
    assert tanh == dr.activations.Tanh() != dr.activations.Sigmoid()
    assert dr.activations.LeakyReLU(0.1) != dr.activations.LeakyReLU(0.2)
    assert dr.L1(0.1) != dr.L2(0.1)


def test_a_frozen_dataclass_may_add_fields_to_a_setting_without():
    @dataclasses.dataclass(frozen=True)
    class Scaled(dr.activations.Tanh):
        factor: float = 2.0

    assert Scaled(3.0) == Scaled(3.0) != Scaled()
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scaled().factor = 1.0


def test_a_setting_without_fields_is_frozen_and_a_class_derived_from_it_is_not() -> None:
    class Mine(dr.activations.Tanh):
        pass

    for change in (lambda f: setattr(f, "gain", 2.0), lambda f: delattr(f, "gain")):
        with pytest.raises(dr.InvalidAttributeError, match="Tanh never changes; make another"):
            change(dr.activations.Tanh())
    mine = Mine()
    mine.own = 3  # type: ignore[attr-defined]
    assert mine.own == 3  # type: ignore[attr-defined]
    del mine.own  # type: ignore[attr-defined]
    assert not hasattr(mine, "own")


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(ValueError, match="the activation name 'tanh' is taken by deltarule"):

        class Other(ActivationFunction):
            name = "tanh"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"colour": "red"}, "no family of settings in"),
        ({"activation": "elu", "beta": 1.0}, "activation 'elu' has no setting beta"),
        ({"activation": "tnah"}, "unknown activation 'tnah'; if it is one of your own"),
    ],
)
def test_a_description_that_means_nothing_here_is_refused(value: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rebuild(value)


def test_what_a_file_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be written to a file: "):
        describe(object())
