"""Make the pictures of README and docs: ``python docs/pictures/make_pictures.py [folder]``.

Needs the extras ``report`` (matplotlib) and ``sklearn`` (the data). Without a folder the pictures
beside this script are replaced. Each is an opaque card, so it can be read on a light and on a dark
page, and takes a few seconds to make.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from sklearn.datasets import load_digits, make_circles

import deltarule as dr

CARD, INK, MUTED, GRID = "#fcfcfb", "#1b1f24", "#5b6470", "#e3e6ea"
BLUE, ORANGE, GREEN = "#0b63b5", "#c8501a", "#12805c"
SIZE = (10, 4.3)
HIDDEN, UNITS = 8, 32


def deep_networks(folder: Path) -> Path:
    """Draw three deep networks: two learn and one does not; their deltas by layer show why."""
    X, y = load_digits(return_X_y=True)
    X = X / 16
    normalised = [dr.Dense(UNITS), dr.BatchNorm(), dr.Activation("sigmoid")]
    # Name, colour, hidden layers, and where the name stands in the two panels.
    networks: list[tuple[str, str, list[dr.Layer], tuple[float, float], tuple[float, float]]] = [
        ("sigmoid", ORANGE, [dr.Dense(UNITS, "sigmoid")] * HIDDEN, (14, 2.38), (4.4, 4e-8)),
        ("sigmoid, batch norm", GREEN, normalised * HIDDEN, (12.5, 0.97), (2.2, 2.6e-4)),
        ("ReLU", BLUE, [dr.Dense(UNITS, "relu")] * HIDDEN, (2.2, 0.5), (2.2, 1.6e-5)),
    ]
    figure, (left, right) = _card("Three networks with eight hidden layers, trained on digits", 2)
    for name, colour, hidden, *places in networks:
        net = dr.Network([*hidden, dr.Dense(10, "softmax")], inputs=64, seed=0)
        trace = dr.backpropagate(net, X, y, "cross_entropy", training=True)
        dense = [path for path in trace.deltas if f"{path}.weight" in net.parameters]
        sizes = [float(np.sqrt(np.mean(np.square(trace.deltas[path])))) for path in dense]
        layers = np.arange(1, len(sizes) + 1)
        right.plot(layers, sizes, "o-", color=colour, linewidth=2.4, markersize=6)
        history = dr.train(
            net, X, y, loss="cross_entropy", optimizer=dr.SGD(0.02), epochs=30, progress=False
        )
        epochs = np.arange(1, history.epochs + 1)
        left.plot(epochs, history["loss"], color=colour, linewidth=2.4)
        for axes, place in zip((left, right), places, strict=True):
            axes.text(*place, name, color=colour, fontsize=12, weight="bold")

    _dress(left, "Training loss", "epoch", "cross-entropy")
    left.set_ylim(0, 2.6)
    left.set_xticks([1, 10, 20, 30])
    _dress(right, "Size of the deltas before training", "layer, from input to output", "")
    right.set_yscale("log")
    right.set_xticks(layers)
    right.set_ylim(3e-10, 1e-3)
    return _save(figure, folder / "deep-networks.png")


def circles(folder: Path) -> Path:
    """Draw what the tutorial's networks make of two circles, with and without a hidden layer."""
    X, y = make_circles(400, noise=0.1, factor=0.4, random_state=0)
    figure, axes = _card("Which points are blue? Two networks answer", 3)
    figure.subplots_adjust(left=0.04, top=0.75, wspace=0.14)
    ticks = np.linspace(-1.5, 1.5, 301)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    for place, hidden, title, line in (
        (axes[0], [], "No hidden layer", ":"),
        (axes[1], [dr.Dense(16, "tanh")], "One hidden layer", "-"),
    ):
        net = dr.Network([*hidden, dr.Dense(1, "sigmoid")], inputs=2, seed=0)
        history = dr.train(
            net,
            X[:300],
            y[:300],
            loss="binary_cross_entropy",
            optimizer=dr.Adam(0.02),
            epochs=60,
            progress=False,
        )
        found = dr.evaluate(net, X[300:], y[300:], "binary_cross_entropy", metrics=["accuracy"])
        share = net.predict(grid).reshape(len(ticks), len(ticks))
        place.contourf(ticks, ticks, share, levels=[0, 0.5, 1], colors=["#f9d9c8", "#cfe2f5"])
        place.contour(ticks, ticks, share, levels=[0.5], colors=[INK], linewidths=1.2)
        for k, dot in enumerate((ORANGE, BLUE)):
            rows = X[300:][y[300:] == k]
            place.plot(*rows.T, "o", color=dot, markersize=4.5, markeredgecolor=CARD)
        _dress(place, f"{title}:\n{found['accuracy']:.0%} of new points right", "", "")
        place.set_aspect("equal")
        place.set_xticks([])
        place.set_yticks([])
        epochs = np.arange(1, history.epochs + 1)
        axes[2].plot(epochs, history["loss"], line, color=INK, linewidth=2.4, label=title.lower())
    _dress(axes[2], "Training loss", "epoch", "")
    axes[2].set_ylim(0, 0.8)
    axes[2].set_xticks([1, 20, 40, 60])
    axes[2].set_box_aspect(1)
    axes[2].legend(frameon=False, labelcolor=INK, fontsize=11, loc=(0.28, 0.6))
    return _save(figure, folder / "circles.png")


def _card(title: str, panels: int) -> tuple[Figure, list[Axes]]:
    """Return a figure on a card with round corners, and its panels."""
    figure = Figure(figsize=SIZE, facecolor="none")
    figure.add_artist(
        FancyBboxPatch(
            (0.006, 0.012),
            0.988,
            0.976,
            boxstyle="round,pad=0,rounding_size=0.02",
            mutation_aspect=SIZE[0] / SIZE[1],
            transform=figure.transFigure,
            facecolor=CARD,
            edgecolor=GRID,
            zorder=-1,
        )
    )
    figure.suptitle(title, color=INK, fontsize=15, weight="bold", y=0.96)
    axes = figure.subplots(1, panels, squeeze=False)
    figure.subplots_adjust(left=0.075, right=0.97, bottom=0.155, top=0.79, wspace=0.18)
    return figure, list(axes[0])


def _dress(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_facecolor(CARD)
    axes.set_title(title, color=INK, fontsize=12.5)
    axes.set_xlabel(x, color=MUTED, fontsize=11)
    axes.set_ylabel(y, color=MUTED, fontsize=11)
    axes.tick_params(which="both", colors=MUTED, labelcolor=INK, labelsize=10.5)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)


def _save(figure: Figure, path: Path) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    # 128 colours are a quarter of the bytes, and nobody sees the difference.
    few = Image.open(buffer).quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    return path


def main(folder: Path) -> list[Path]:
    """Write all pictures into a folder and return their paths."""
    return [deep_networks(folder), circles(folder)]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
