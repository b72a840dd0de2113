"""What `deltarule train` prints fits into the terminal."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from deltarule.tables.judging import judge
from oracles import oracle

oracle("rich")

from rich.console import Console  # noqa: E402

from deltarule.cli.understood import score_table  # noqa: E402


def judged(task):
    rng = np.random.default_rng(0)
    if task == "regression":
        y = 3e6 + 1e6 * rng.normal(size=200)
        guesses = {who: y + error * rng.normal(size=200) for who, error in ERRORS.items()}
        return judge(task, np.arange(200), y, guesses | {"mean": np.full(200, y.mean())})
    y = rng.integers(0, 2, 200)
    p = np.clip(0.2 + 0.6 * y + 0.3 * rng.normal(size=200), 0.01, 0.99)
    sure, even = np.stack([1 - p, p], axis=1), np.full((200, 2), 0.5)
    return judge(
        task,
        np.arange(200),
        y,
        {"network": sure, "linear model": sure, "most frequent class": even},
    )


ERRORS = {"network": 1e5, "linear model": 4e5}


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("width", [80, 90, 100, 120])
def test_no_interval_of_a_score_is_broken(task, width):
    found, out = judged(task), io.StringIO()
    Console(file=out, width=width).print(score_table(found, width))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    whole = re.findall(r"\(\S+ to \S+\)", text)
    assert len(whole) == text.count(" to ") == sum(map(len, found.scores.values()))
