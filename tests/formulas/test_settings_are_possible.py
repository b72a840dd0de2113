"""Settings that cannot work are refused when they are made; the classes are found by themselves."""

import math
from dataclasses import fields

import numpy as np
import pytest

import deltarule as dr
from deltarule.base.settings import members
from members import own

FAMILIES = ["optimizer", "schedule", "penalty", "clip", "constraint"]
NEEDED = {
    "step": (0.1, 3),
    "constant": (0.1,),
    "exponential": (0.1, 0.9),
    "inverse_scaling": (0.1,),
    "polynomial": (0.1,),
    "linear": (0.1,),
    "cosine": (0.1,),
    "cosine_restarts": (0.1, 3),
    "one_cycle": (0.1,),
    "piecewise": ((3, 5), (0.1, 0.2, 0.3)),
    "warm_up": (3, 0.1),
}
CLASSES = [(family, name) for family in FAMILIES for name in own(family)]
NUMBERS = [math.nan, math.inf, -math.inf, -1.0, 10**400, -(10**400), 1j, "a", [], object()]


def made(family, name, **settings):
    kind = members(family)[name]
    own_fields = [f.name for f in fields(kind) if not f.kw_only]
    given = dict(zip(own_fields, NEEDED.get(name, ()), strict=False)) | settings
    return kind(**given)


def settings_of(family, name):
    example = made(family, name)
    return [f.name for f in fields(example)]


CASES = [(f, n, s) for f, n in CLASSES for s in settings_of(f, n)]


@pytest.mark.parametrize("value", NUMBERS, ids=lambda v: str(v)[:8].partition(" ")[0])
@pytest.mark.parametrize(("family", "name", "what"), CASES)
def test_a_setting_is_a_number_that_makes_sense(family, name, what, value):
    with pytest.raises(dr.DeltaruleError) as caught:
        made(family, name, **{what: value})
    assert isinstance(caught.value, (ValueError, TypeError))


@pytest.mark.parametrize(("family", "name"), CLASSES)
def test_a_number_where_a_flag_belongs_and_a_flag_where_a_number_belongs_are_refused(family, name):
    example = made(family, name)
    for f in fields(example):
        value = getattr(example, f.name)
        wrong = 0.5 if isinstance(value, bool) else True
        with pytest.raises(dr.DeltaruleError):
            made(family, name, **{f.name: wrong})


WITH_EPSILON = [
    kind
    for family in ("optimizer", "layer")
    for kind in (members(family)[name] for name in own(family))
    if "epsilon" in {f.name for f in fields(kind)}
]


@pytest.mark.parametrize("kind", WITH_EPSILON)
def test_epsilon_keeps_0_by_0_out(kind):
    for value in (0, 0.0, 1e-300, 1e-39):  # the last is 0 where float32 has no denormals
        with pytest.raises(dr.DeltaruleError, match="epsilon"):
            kind(epsilon=value)
    kind(epsilon=1e-37)


GROWING = {
    "exponential": dr.Exponential(0.1, 2.0),
    "step": dr.Step(0.1, 1, factor=10.0),
    "within a warm-up": dr.WarmUp(2, dr.Exponential(1.0, 1e300)),
    "function": lambda step: 0.1 * 2.0**step,
    "by epochs": dr.Exponential(0.1, 1e200, unit="epoch"),
}


@pytest.mark.parametrize("name", GROWING)
def test_a_rate_that_no_float_holds_is_an_error_of_ours(name):
    net = dr.Network([dr.Dense(1)], inputs=2)
    with pytest.raises(dr.DeltaruleError, match=r"learning.rate") as caught:
        dr.train(
            net, np.zeros((2000, 2)), np.zeros(2000), loss="squared_error", batch_size=1,
            epochs=3, optimizer=dr.SGD(GROWING[name]), progress=False,
        )  # fmt: skip
    assert isinstance(caught.value, ValueError)
    assert np.isfinite(net.vector).all()


@pytest.mark.parametrize("schedule", [dr.Exponential(0.1, 2.0), dr.Step(0.1, 1, factor=10.0)])
def test_so_it_is_where_a_schedule_is_called(schedule):
    assert schedule(10, 100) > 0
    with pytest.raises(dr.DeltaruleError, match="learning rate"):
        schedule(5000, 6000)


def test_a_rate_of_zero_stays_zero_however_it_grows():
    assert dr.Exponential(0.0, 2.0)(5000, 6000) == 0
    assert dr.InverseScaling(0.1, 1000.0)(5000, 6000) == 0


@pytest.mark.parametrize("value", [math.nan, -1.0, math.inf, None])
def test_what_a_schedule_of_ones_own_gives_is_checked(value):
    class Odd(dr.schedules.Schedule):
        def __call__(self, t, total):
            return value

    net = dr.Network([dr.Dense(1)], inputs=2)
    before = net.vector.copy()
    with pytest.raises(dr.DeltaruleError, match="learning rate"):
        dr.train(
            net, np.ones((4, 2)), np.ones(4), loss="squared_error", optimizer=dr.SGD(Odd()),
            progress=False,
        )  # fmt: skip
    np.testing.assert_array_equal(net.vector, before)
