"""What Python knows and the core does not runs in the reference engine, which says why."""

from typing import ClassVar

import numpy as np
import pytest

import deltarule as dr
from deltarule.base.settings import setting
from deltarule.engines import native
from deltarule.plan import compile_network
from members import by_rule, members

D = dr.Dense
X, Y = np.ones((6, 4)), np.ones((6, 2))


def plan_of(layers=None, loss="huber", optimizer="adam"):
    layers = layers or [D(3, "elu"), dr.BatchNorm(), D(2)]
    net = dr.Network(layers, inputs=4, seed=0)
    return compile_network(net, loss=loss, optimizer=optimizer), net


def assert_runs_in_the_reference_engine(why, **parts):
    """Not natively, and where the engine is not said, it trains all the same."""
    plan, net = plan_of(**parts)
    assert why in native.NativeEngine().why_not(plan)
    with pytest.raises(ValueError, match="the native engine cannot run this network"):
        native.NativeEngine().executor(plan, net)
    trainer = dr.Trainer(net, loss=plan.loss, optimizer=plan.optimizer)
    assert trainer.engine.name == "reference"
    assert np.isfinite(trainer.run(X, Y, progress=False)["loss"]).all()


@pytest.mark.parametrize("family", ["activation", "loss", "optimizer"])
def test_the_core_knows_every_member_of_the_package(family):
    for name in by_rule(family):
        part = native.members(family)[name].resolve(name)
        judge = native._why_not_optimizer if family == "optimizer" else native._why_not_setting
        assert judge(part) is None


@pytest.mark.parametrize(
    ("family", "name"),
    [("activation", "elu"), ("loss", "huber"), ("rule", "adam"), ("operation", "batch_norm")],
)
def test_a_member_that_the_core_does_not_know(family, name, monkeypatch):
    assert native.NativeEngine().why_not(plan_of()[0]) is None
    monkeypatch.delitem(native.KINDS[family], name)
    assert_runs_in_the_reference_engine("no native form")


@pytest.mark.parametrize(
    ("family", "name", "what", "other"),
    [
        ("activation", "elu", "settings", ["alpha", "beta"]),
        ("activation", "elu", "settings", []),
        ("loss", "huber", "settings", ["delta"]),
        ("rule", "adam", "states", 3),
        ("rule", "adam", "scalars", ["rate", "beta1", "beta2"]),
        ("operation", "batch_norm", "settings", ["epsilon"]),
        ("operation", "dense", "parameters", ["weight", "bias", "scale"]),
    ],
)
def test_a_member_of_which_the_core_needs_something_else(family, name, what, other, monkeypatch):
    """A setting that the core did not know by name once arrived as 0.0."""
    monkeypatch.setitem(native.KINDS[family][name], what, other)
    assert_runs_in_the_reference_engine("is not the core's")


def test_an_optimizer_that_keeps_a_state_too_few(monkeypatch):
    """It once ended in a segmentation fault."""
    monkeypatch.setattr(dr.Adam, "state_names", property(lambda self: ("m",)))
    plan, _ = plan_of()
    assert "states 1 there, 2 in the core" in native.NativeEngine().why_not(plan)


def test_a_layer_of_the_package_without_a_native_form(monkeypatch):
    """It once was sent as operation -1: a wrong result or a segmentation fault."""
    monkeypatch.delitem(native.KINDS["operation"], "layer_norm")
    assert_runs_in_the_reference_engine(
        "layer '1': LayerNorm has no native form", layers=[D(3, "elu"), dr.LayerNorm(), D(2)]
    )


def test_a_layer_whose_formulas_need_a_setting_that_the_core_does_not_know(monkeypatch):
    monkeypatch.setattr(dr.LayerNorm, "formula_settings", ("epsilon", "centre"))
    plan, _ = plan_of([D(3, "elu"), dr.LayerNorm(), D(2)])
    why = native.NativeEngine().why_not(plan)
    assert why is not None
    assert "settings ['epsilon', 'centre'] there, ['epsilon'] in the core" in why


def test_a_layer_of_a_user_never_runs_as_the_one_it_derives_from():
    @setting
    class Widened(dr.Dense):
        name: ClassVar[str] = "widened"

    @setting
    class UnnamedNorm(dr.LayerNorm):
        pass

    for layer in (Widened(3, "elu"), UnnamedNorm()):
        assert_runs_in_the_reference_engine("written in Python", layers=[layer, D(2)])


def test_classes_of_a_user_never_run_as_the_one_they_derive_from():
    @setting
    class Doubled(dr.activations.ELU):
        name: ClassVar[str] = "doubled_elu"

        def __call__(self, z):
            return 2 * super().__call__(z)

        def derivative(self, z, a):
            return 2 * super().derivative(z, a)

    @setting
    class Unnamed(dr.activations.ELU):
        pass

    @setting
    class Halved(dr.Huber):
        name: ClassVar[str] = "halved_huber"

    @setting
    class Slow(dr.Adam):
        name: ClassVar[str] = "slow_adam"

    for activation in (Doubled(), Unnamed()):
        assert_runs_in_the_reference_engine(
            "written in Python", layers=[D(3, activation), D(2)], loss="huber"
        )
    assert_runs_in_the_reference_engine("written in Python", loss=Halved())
    assert_runs_in_the_reference_engine("written in Python", optimizer=Slow())


def test_variants_of_an_optimizer_name_their_rules():
    rules = {optimizer.rule for optimizer in members("optimizer")}
    assert dr.AdamW().rule == "adam"
    assert rules == native.KINDS["rule"].keys()
