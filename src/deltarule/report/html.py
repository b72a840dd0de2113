"""The report of a run: one HTML file that needs no other file and no network access."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import deltarule
from deltarule.base.errors import InvalidTypeError, describe_value
from deltarule.base.files import check_writable, is_file_object, write_atomically, write_to
from deltarule.network.network import Network
from deltarule.report import figures
from deltarule.report.answers import Answers, examine
from deltarule.report.page import Panel, render, themed_svg
from deltarule.training.history import History


def write_report(
    path: Any,
    history: History,
    *,
    title: str = "Training report",
    network: Network | None = None,
    loss: Any = None,
    optimizer: Any = None,
    X: Any = None,
    y: Any = None,
    classes: Sequence[Any] | None = None,
    image_shape: tuple[int, ...] | None = None,
    column_names: Sequence[str] | None = None,
    scores: Mapping[str, Any] | None = None,
    notes: str = "",
) -> Path | None:
    """Write a one-file HTML report of a run and return its path, None for an open file.

    The file contains all its pictures and refers to no other file. It is written completely or not
    at all. A report needs only the history; every other argument adds something to it.

    Parameters
    ----------
    path : str, Path or binary file open for writing
    history : History
        What :func:`deltarule.train` returned.
    title, notes : str
        The heading, and a paragraph about the data and their purpose.
    network : Network, optional
        The trained network; the report shows its summary.
    loss, optimizer : optional
        As they were given to ``train``.
    X, y : optional
        Test data (n, inputs) and targets as for ``train``. With ``network`` this adds the confusion
        matrix and the examples with the worst predictions.
    classes : sequence, optional
        Names of the classes; by default their numbers.
    image_shape : (height, width) or (height, width, 3), optional
        The shape of a row of X as a picture, which the report then shows; by default, a table.
    column_names : sequence of str, optional
        Names of the columns of X, by default those of a data frame.
    scores : mapping of str to anything, optional
        Results to put on top, such as ``{"test accuracy": "98.3%"}``.

    Raises
    ------
    OSError
        The path cannot be written.
    ValueError, TypeError
        The arguments do not fit each other; nothing is written.

    Examples
    --------
    >>> import tempfile, numpy as np, deltarule as dr
    >>> X, y = np.eye(4), np.arange(4)
    >>> net = dr.Network([dr.Dense(4, "softmax")], inputs=4)
    >>> history = dr.train(net, X, y, loss="cross_entropy", epochs=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history.report(f"{folder}/report.html", network=net, X=X, y=y).name
    'report.html'
    """
    if not isinstance(history, History):
        raise InvalidTypeError(
            "write_report takes the history that train() returned, got " + describe_value(history)
        )
    into_file = is_file_object(path, "write")
    if not into_file:
        check_writable(path)
    answers = None
    if X is not None or y is not None:
        answers = examine(
            network, X, y, classes=classes, image_shape=image_shape, column_names=column_names
        )
    written = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    html = render(
        "run.html",
        title=title,
        notes=notes,
        scores=[(name, str(value)) for name, value in (scores or {}).items()],
        facts=_facts(history, network, loss, optimizer),
        summary="" if network is None else network.summary(),
        stopped=history.stopped,
        panels=_panels(history, answers),
        last=_last_numbers(history),
        answers=answers,
        footer=f"Written {written} by deltarule {deltarule.__version__}.",
    )
    if into_file:
        write_to(path, html.encode())
        return None
    return write_atomically(path, html.encode())


def _facts(
    history: History, network: Network | None, loss: Any, optimizer: Any
) -> list[tuple[str, str]]:
    facts = []
    if network is not None:
        facts.append(("network", repr(network)))
    facts += [
        (name, str(value))
        for name, value in (("loss", loss), ("optimizer", optimizer))
        if value is not None
    ]
    return [
        *facts,
        ("engine", history.engine),
        ("epochs", f"{history.epochs:,}"),
        ("steps", f"{history.steps:,}"),
        ("time", _duration(history.seconds)),
    ]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _last_numbers(history: History) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), f"{value:.6g}") for name, value in history.last().items()]


def _panels(history: History, answers: Answers | None) -> list[Panel]:
    metrics = list(
        dict.fromkeys(name.removeprefix("val_") for name in figures.metric_columns(history))
    )
    what = metrics[0].replace("_", " ").capitalize() if len(metrics) == 1 else "Metrics"
    silent = figures.silent_parameters(history)
    still = f" Never any gradient: {', '.join(silent)}." if silent else ""
    held_out = any(name.startswith("val_") for name in history)
    validation = " Dashed: validation data." if held_out else ""
    drawn: list[tuple[str, Figure | None, str, str]] = [
        (
            "Loss",
            figures.loss_figure(history),
            _in_words(history, "loss"),
            f"Of each epoch, measured during training.{validation}",
        ),
        (
            what,
            figures.metrics_figure(history),
            "; ".join(_in_words(history, metric) for metric in metrics),
            f"Of each epoch, measured during training, before each step.{validation}",
        ),
        (
            "Gradient norm by layer",
            figures.gradient_norm_figure(history),
            "Lines of the gradient norm of every layer by epoch, on a logarithmic scale.",
            "Root mean square over the steps of each epoch, logarithmic scale. Solid: weights; "
            f"dashed: biases, scales and shifts.{still}",
        ),
        (
            "Learning rate",
            figures.learning_rate_figure(history),
            _in_words(history, "learning_rate"),
            "Of each epoch's last step.",
        ),
    ]
    if answers is not None and answers.numbers is not None:
        drawn.append(
            (
                "Predictions",
                figures.prediction_figure(*answers.numbers),
                "Predicted against true numbers; a dashed diagonal marks exact ones.",
                "Of the test data; the dashed line is where exact predictions lie.",
            )
        )
    return [
        Panel(title, themed_svg(figure, f"panel{i}"), description, caption)
        for i, (title, figure, description, caption) in enumerate(drawn)
        if figure is not None
    ]


def _in_words(history: History, name: str) -> str:
    """Return in words what a curve shows, for readers who cannot see it."""
    parts = []
    for column, kind in ((name, ""), (f"val_{name}", "validation ")):
        if history.get(column):
            first, last = history[column][0], history[column][-1]
            words = name.replace("_", " ")
            parts.append(
                f"{kind}{words} from {first:.4g} to {last:.4g} over {history.epochs} epochs"
            )
    return ", ".join(parts)
