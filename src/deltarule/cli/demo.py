"""``deltarule demo``: a network learns handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich import box
from rich.table import Table
from rich.text import Text

from deltarule.base.errors import missing_extra
from deltarule.base.files import check_writable
from deltarule.base.types import Array
from deltarule.cli.output import INTERRUPTED, console, fail
from deltarule.cli.threads import one_thread_blas
from deltarule.data import split_rows
from deltarule.formulas.losses import CrossEntropy
from deltarule.formulas.metrics import confusion_matrix
from deltarule.formulas.optimizers import Adam
from deltarule.formulas.schedules import Cosine
from deltarule.network.layers import Dense, Dropout
from deltarule.network.network import Network
from deltarule.training.train import train

_TEST_SHARE = 0.2
_TEST_SEED = 0
"""The test set is the same for every seed of the training."""


def demo(
    report: Annotated[Path, typer.Option(help="File of the HTML report.")] = Path("report.html"),
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of weights, shuffles and dropout.")] = 0,
    epochs: Annotated[int, typer.Option(help="Passes over the training data.")] = 40,
    engine: Annotated[str, typer.Option(help="auto, native or reference.")] = "auto",
) -> None:
    """Train a network on 1,797 handwritten digits and test it.

    The digits come with scikit-learn and have 8 x 8 pixels each. A fifth of every class is set
    aside for the test. Prints the engine, the test accuracy and a confusion matrix, and writes a
    report: one HTML file with pictures that opens without network access.

    Ctrl-C ends the training early and tests what has been learnt so far (exit status 130).
    """
    digits = _load_digits()
    if not no_report:
        write_report = _report_writer(report)
    X, y = digits.data / 16, digits.target
    training, test = split_rows(len(X), _TEST_SHARE, y, seed=_TEST_SEED)
    network = Network(
        [Dense(256, "relu"), Dropout(0.3), Dense(128, "relu"), Dropout(0.3), Dense(10, "softmax")],
        inputs=64,
        seed=seed,
    )
    loss, optimizer = CrossEntropy(label_smoothing=0.05), Adam(Cosine(3e-3))
    out = console()
    out.print(
        f"Handwritten digits: {len(training):,} for training, {len(test)} for the test.\n"
        f"{network!r}\n",
        markup=False,
    )
    with one_thread_blas():
        history = train(
            network,
            X[training],
            y[training],
            loss=loss,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=64,
            validation=0.1,
            metrics=["accuracy"],
            seed=seed,
            engine=engine,
            progress=True,
            on_interrupt="return",
        )
        outputs = network.predict(X[test], engine=engine)
    if not history.epochs:
        raise fail("interrupted before the first epoch was finished", code=INTERRUPTED)
    right = outputs.argmax(axis=1) == y[test]
    accuracy = float(right.mean())
    out.print(
        f"\nEngine         {history.engine}\n"
        f"Training       {history.epochs} epochs, {history.steps:,} steps in "
        f"{history.seconds:.1f} s" + (f" ({history.stopped})" if history.stopped else "") + "\n"
        f"Test accuracy  {accuracy:.2%} ({right.sum()} of {len(test)})\n",
        markup=False,
    )
    out.print(_confusion_table(confusion_matrix(y[test], outputs)))
    if not no_report:
        path = write_report(
            report,
            history,
            title="Handwritten digits",
            network=network,
            loss=loss,
            optimizer=optimizer,
            X=X[test],
            y=y[test],
            image_shape=(8, 8),
            scores={"test accuracy": f"{accuracy:.2%}"},
            notes=(
                f"The digits of scikit-learn, 8 by 8 pixels: {len(training):,} for training, "
                f"of which a tenth are validation data, and {len(test)} for the test below. "
                f"Batches of 64, seed {seed}."
            ),
        )
        out.print(f"Report: {path}", markup=False, soft_wrap=True)
    if history.stopped == "interrupted":
        raise typer.Exit(INTERRUPTED)


def _load_digits() -> Any:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise missing_extra("deltarule demo", "sklearn") from None
    return load_digits()


def _report_writer(path: Path) -> Any:
    """Return the function that writes reports; if it cannot work, fail before the training."""
    try:
        from deltarule.report import write_report
    except ImportError:
        raise missing_extra("the report (leave it out with --no-report)", "report") from None
    check_writable(path)
    return write_report


def _confusion_table(counts: Array) -> Table:
    table = Table(
        title="Confusion matrix (rows: truth, columns: prediction)",
        box=box.SIMPLE,
        pad_edge=False,
        title_justify="left",
    )
    table.add_column("", justify="right", style="bold")
    for k in range(len(counts)):
        table.add_column(str(k), justify="right")
    table.add_column("recall", justify="right")
    recalls = np.diag(counts) / np.maximum(counts.sum(axis=1), 1)
    for k, (row, recall) in enumerate(zip(counts.astype(int).tolist(), recalls, strict=True)):
        cells = [_cell(count, right=j == k) for j, count in enumerate(row)]
        table.add_row(str(k), *cells, f"{recall:.0%}")
    return table


def _cell(count: int, *, right: bool) -> Text:
    if not count:
        return Text("·", style="dim")
    return Text(str(count), style="green" if right else "bold red")
