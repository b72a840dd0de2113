"""The package's own members of each family, from the registry.

What a new member must be tested with follows from its name: lists of parameters begin with all that
are registered, and tables of formulas written by hand, or of twins in PyTorch, are held to them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import deltarule as dr
from deltarule.base.settings import members as registered
from deltarule.formulas.full_batch import FullBatchOptimizer


def own(family: str) -> list[str]:
    """Return the names of a family that the package defines; tests and users define others."""
    found = sorted(registered(family).items())
    return [name for name, kind in found if kind.__module__.startswith("deltarule.")]


# Beside a member with its defaults, or in its place.
SETTINGS: dict[str, list[Any]] = {
    "leaky_relu": [dr.activations.LeakyReLU(s) for s in (0.01, 0.3, 0.0, 2.5)],
    "elu": [dr.activations.ELU(alpha) for alpha in (1.0, 0.4, 0.0)],
    "sgd": [
        dr.SGD(0.02), dr.SGD(0.01, momentum=0.9), dr.SGD(0.01, momentum=0.9, nesterov=True),
        dr.SGD(0.01, momentum=0.9, nesterov=True, rate_in_velocity=True),
    ],
    "rmsprop": [
        dr.RMSprop(), dr.RMSprop(centered=True), dr.RMSprop(momentum=0.9),
        dr.RMSprop(momentum=0.9, centered=True),
    ],
    "adam": [dr.Adam(), dr.Adam(amsgrad=True), dr.Adam(epsilon=0.1, epsilon_first=True)],
    "adan": [dr.Adan(), dr.Adan(0.01, weight_decay=0.1)],
    "lion": [dr.Lion(weight_decay=0.1)],
}  # fmt: skip

BASES = {"activation": dr.activations.ActivationFunction, "optimizer": dr.optimizers.Optimizer}


def by_rule(family: str) -> list[str]:
    """Return the names without the optimizers that take all rows: these have no rule of updates."""
    kinds = registered(family)
    return [name for name in own(family) if not issubclass(kinds[name], FullBatchOptimizer)]


def members(family: str) -> list[Any]:
    """Return an object of each member, or several where it is tested with several settings."""
    names = by_rule(family)
    return [m for name in names for m in SETTINGS.get(name, [BASES[family].resolve(name)])]


WITHOUT_PYTORCH = {
    "adan": "PyTorch has none: tests/papers compare it with the paper's algorithm",
    "lion": "PyTorch has none: tests/papers compare it with the paper's algorithm",
}
"""Members that PyTorch lacks, and what takes its place."""


def assert_complete(family: str, table: Collection[str], what: str, without: Collection[str] = ()):
    """Every member of the package is in a table, or among those that say why not."""
    missing = set(by_rule(family)) - set(table) - set(without)
    assert not missing, f"no {what} of the {family} {', '.join(sorted(missing))}: add it there"
    unknown = set(table) - set(own(family))
    assert not unknown, f"{what}: no {family} is named {', '.join(sorted(unknown))}"
