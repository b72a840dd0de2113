"""A small table with text, numbers and gaps, and a recipe of a few milliseconds."""

from __future__ import annotations

import numpy as np

from deltarule.tables.recipe import Plain
from oracles import oracle

pd = oracle("pandas")

QUICK = Plain(hidden=(8,), epochs=60, networks=2)


def table(n=80, seed=0):
    """Rows, labels and values that a number and a category tell; a third column says nothing."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    colour = rng.choice(["red", "blue", "green"], n)
    values = size + 1.5 * (colour == "red")
    frame = pd.DataFrame({"size": size, "colour": colour, "noise": rng.normal(size=n)})
    frame.loc[::9, "noise"] = np.nan
    return frame, np.where(values > 0.5, "high", "low"), values


FRAME, LABELS, VALUES = table()
