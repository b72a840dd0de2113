"""The one-file HTML report."""

import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib import pyplot

import deltarule as dr
from deltarule.report import html, write_report
from deltarule.report.figures import gradient_norm_figure, loss_figure, metrics_figure
from narrow_pages import faults

VOID = {"meta", "img", "br", "link", "input", "hr", "wbr"}


class Page(HTMLParser):
    """Collects what a report consists of, and insists that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"closed, not opened: {tag}"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.attributes if name == tag]


def read(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run():
    """Three classes of 4 x 4 pictures, learnt badly, so that some are wrong."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 16)), rng.integers(0, 3, 60)
    net = dr.Network([dr.Dense(6, "relu"), dr.BatchNorm(), dr.Dense(3, "softmax")], inputs=16)
    history = dr.train(
        net,
        X,
        y,
        loss="cross_entropy",
        epochs=3,
        validation=0.2,
        metrics=["accuracy"],
        penalty="l2",
        progress=False,
    )
    return net, history, X, y


def test_it_refers_to_nothing_outside_itself(run, tmp_path):
    net, history, X, y = run
    path = history.report(tmp_path / "r.html", network=net, X=X, y=y, image_shape=(4, 4))
    text = path.read_text(encoding="utf-8")
    for tag, attributes in read(path).attributes:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "srcset", "poster", "data", "action"):
                assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
    assert "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)", text))
    assert "<!DOCTYPE svg" not in text


@pytest.mark.parametrize("shape", [(4, 4), None])
def test_nothing_in_it_is_wider_than_a_telephone(run, tmp_path, shape):
    net, history, X, y = run
    path = history.report(tmp_path / "r.html", network=net, X=X, y=y, image_shape=shape)
    assert faults(path.read_text(encoding="utf-8")) == []


def test_ids_are_unique_and_every_reference_finds_its_target(run, tmp_path):
    net, history, X, y = run
    page = read(history.report(tmp_path / "r.html", network=net, X=X, y=y))
    ids = [attributes["id"] for _, attributes in page.attributes if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.attributes:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(name, ids[0]) in ids
        for name in ("href", "xlink:href"):
            if name in attributes:
                assert attributes[name].removeprefix("#") in ids
        for target in re.findall(r"url\(#([^)]+)\)", " ".join(map(str, attributes.values()))):
            assert target in ids


def test_every_picture_and_figure_is_described(run, tmp_path):
    net, history, X, y = run
    page = read(history.report(tmp_path / "r.html", network=net, X=X, y=y, image_shape=(4, 4)))
    images = page.all("img")
    assert images
    assert all(re.fullmatch(r"Test example \d+: true \d, predicted \d", i["alt"]) for i in images)
    pictures = [a for _, a in page.attributes if a.get("role") == "img"]
    assert len(pictures) == len(page.all("svg")) == 4
    assert all(picture["aria-label"] for picture in pictures)
    assert page.tags.count("figure") == page.tags.count("figcaption") == 5


def test_the_wrong_examples_are_exactly_those_the_network_gets_wrong(run, tmp_path):
    net, history, X, y = run
    page = read(history.report(tmp_path / "r.html", network=net, X=X, y=y, image_shape=(4, 4)))
    answer = net.predict(X).argmax(axis=1)
    wrong = {
        f"Test example {i}: true {y[i]}, predicted {answer[i]}" for i in np.flatnonzero(answer != y)
    }
    shown = [image["alt"] for image in page.all("img")]
    assert len(shown) == len(set(shown)) == min(24, len(wrong))
    assert set(shown) <= wrong


def test_the_confusion_matrix_counts_every_example(run, tmp_path):
    net, history, X, y = run
    text = history.report(
        tmp_path / "r.html", network=net, X=X, y=y, classes=["cat", "dog", "owl"]
    ).read_text(encoding="utf-8")
    cells = re.findall(r'<td class="(?:right|wrong)"[^>]*>(\d*)</td>', text)
    counts = np.array([int(cell or 0) for cell in cells]).reshape(3, 3)
    assert counts.tolist() == dr.metrics.confusion_matrix(y, net.predict(X)).tolist()
    assert '<th scope="row">owl</th>' in text


def test_the_history_alone_makes_a_report(run, tmp_path):
    _, history, _, _ = run
    path = tmp_path / "r.html"
    assert history.report(path) == path
    assert read(path).tags.count("svg") == 4


def test_a_history_without_a_finished_epoch_makes_a_report_too(tmp_path):
    page = read(dr.History("reference").report(tmp_path / "r.html"))
    assert "No epoch was finished, so there are no curves." in page.text


def test_text_is_escaped(run, tmp_path):
    net, history, X, y = run
    evil = '<script>alert("x")</script>'
    page = read(
        history.report(
            tmp_path / "r.html",
            title=evil,
            notes=evil,
            loss=evil,
            scores={evil: evil},
            network=net,
            X=X,
            y=y,
            classes=[evil, "b", "c"],
            column_names=[evil] * 16,
        )
    )
    assert "script" not in page.tags
    assert page.text.count(evil) >= 6


def test_a_regression_shows_its_largest_errors(tmp_path):
    X = np.linspace(-1, 1, 30)[:, None]
    y = X[:, 0] ** 2
    net = dr.Network([dr.Dense(1)], inputs=1)
    history = dr.train(net, X, y, loss="squared_error", epochs=2, progress=False)
    page = read(history.report(tmp_path / "r.html", network=net, X=X, y=y))
    assert "Predictions" in page.text
    assert "Largest errors" in page.text
    worst = int(np.argmax(np.abs(net.predict(X)[:, 0] - y)))
    first = page.text[page.text.index("x0") :]
    assert next(t for t in first if t.strip()) == "x0"
    assert str(worst) in first


def test_several_labels_and_two_classes_are_understood(tmp_path):
    rng = np.random.default_rng(1)
    X, many, one = rng.normal(size=(20, 3)), rng.integers(0, 2, (20, 2)), rng.integers(0, 2, 20)
    for outputs, y in ((2, many), (1, one)):
        net = dr.Network([dr.Dense(outputs, "sigmoid")], inputs=3)
        history = dr.train(net, X, y, loss="binary_cross_entropy", epochs=1, progress=False)
        page = read(history.report(tmp_path / "r.html", network=net, X=X, y=y))
        assert "Examples that are wrong" in page.text
        assert ("Confusion matrix" in page.text) == (outputs == 1)


def test_a_network_that_is_always_right_is_told_so(tmp_path):
    net = dr.Network([dr.Dense(2, "softmax")], inputs=2)
    net.parameters["0.weight"] = 9 * np.eye(2)
    history = dr.History("reference")
    page = read(history.report(tmp_path / "r.html", network=net, X=np.eye(2), y=[0, 1]))
    assert "None: all 2 test examples are right." in page.text


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        ({"X": np.zeros((2, 16))}, "need network, X and y together"),
        ({"image_shape": (5, 5)}, "does not hold the 16 numbers"),
        ({"classes": ["a"]}, "must name 3 classes"),
        ({"column_names": ["a"]}, "must name 16 columns"),
        ({"y": [0, 1]}, "must have 60 rows"),
    ],
)
def test_contents_that_do_not_fit_are_refused_and_nothing_is_written(run, tmp_path, contents, says):
    net, history, X, y = run
    given = {"network": net, "X": X, "y": y} if "X" not in contents else {}
    with pytest.raises(ValueError, match=re.escape(says)):
        history.report(tmp_path / "r.html", **(given | contents))
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written_is_an_oserror_that_names_it(run, tmp_path):
    _, history, _, _ = run
    with pytest.raises(dr.WriteError, match="there is no folder"):
        history.report(tmp_path / "none" / "r.html")
    with pytest.raises(dr.WriteError, match="it is a folder"):
        history.report(tmp_path)


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(run, tmp_path, monkeypatch):
    _, history, _, _ = run
    path = tmp_path / "r.html"
    path.write_text("old")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match=r"cannot write .*r\.html: No space left on device"):
        history.report(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_the_file_has_the_mode_of_any_new_file(run, tmp_path):
    _, history, _, _ = run
    (tmp_path / "plain").touch()
    path = history.report(tmp_path / "r.html")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_only_a_history_is_taken(tmp_path):
    with pytest.raises(TypeError, match="the history that train"):
        write_report(tmp_path / "r.html", {"loss": [1.0]})


# figures


def test_plot_draws_a_panel_for_loss_metrics_rate_and_gradients(run):
    _, history, _, _ = run
    axes = history.plot()
    pyplot.close(axes[0].figure)
    labels = [one.get_ylabel() for one in axes]
    assert labels == ["loss", "accuracy", "learning rate", "gradient norm"]


def test_curves_carry_the_historys_numbers(run):
    _, history, _, _ = run
    drawn = {line.get_label(): line for line in loss_figure(history).axes[0].lines}
    assert drawn["training"].get_ydata().tolist() == history["loss"]
    assert drawn["validation"].get_ydata().tolist() == history["val_loss"]
    assert drawn["training"].get_xdata().tolist() == [1, 2, 3]
    accuracy = metrics_figure(history).axes[0].lines
    assert [line.get_ydata().tolist() for line in accuracy] == [
        history["accuracy"],
        history["val_accuracy"],
    ]
    norms = gradient_norm_figure(history).axes[0]
    assert norms.get_yscale() == "log"
    assert len(norms.lines) == 6


def test_nothing_to_plot_is_said():
    with pytest.raises(ValueError, match="no epoch was finished"):
        dr.History("reference").plot()


def test_a_gradient_that_is_always_zero_is_named(tmp_path):
    history = dr.History("reference")
    history._extend(
        2,
        {
            "loss": np.ones(2),
            "gradient_norm.0.weight": np.zeros(2),
            "gradient_norm.1.weight": np.ones(2),
        },
    )
    text = " ".join(read(history.report(tmp_path / "r.html")).text)
    assert "Never any gradient: 0.weight." in text


def test_a_very_long_history_makes_a_small_report_with_first_and_last_epoch(tmp_path):
    history = dr.History("reference")
    history._extend(200_000, {"loss": np.random.default_rng(0).random(200_000)})
    x = loss_figure(history).axes[0].lines[0].get_xdata()
    assert (x[0], x[-1]) == (1, 200_000)
    assert history.report(tmp_path / "r.html").stat().st_size < 200_000


def test_numbers_that_are_not_finite_do_not_stop_the_figures(tmp_path):
    history = dr.History("reference")
    history._extend(3, {"loss": np.array([1.0, np.nan, np.inf])})
    history.report(tmp_path / "r.html")


def test_the_figures_of_a_report_leave_no_trace_in_pyplot(run, tmp_path):
    before = pyplot.get_fignums()
    run[1].report(tmp_path / "r.html")
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.01234, "0.0123 s"),
        (119.4, "119 s"),
        (120, "2 min 00 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_a_duration_is_said_in_its_own_unit(seconds, said):
    assert html._duration(seconds) == said


def test_many_layers_have_colours_of_their_own(tmp_path):
    layers = [dr.Dense(4, "tanh") for _ in range(12)] + [dr.Dense(1)]
    net = dr.Network(layers, inputs=2, seed=0)
    X = np.random.default_rng(0).normal(size=(8, 2))
    history = dr.train(net, X, X[:, 0], loss="squared_error", epochs=2)
    axes = gradient_norm_figure(history).axes[0]
    colours = [line.get_color() for line in axes.get_lines()]
    assert len(set(colours)) >= 13


def test_without_a_loss_one_that_fits_the_targets_is_taken(tmp_path):
    X = np.random.default_rng(0).normal(size=(8, 2))
    net = dr.Network([dr.Dense(3, "softmax")], inputs=2)
    history = dr.train(net, X, np.arange(8) % 3, loss="cross_entropy", epochs=1)
    pages = []
    for y in (np.arange(8) % 3, np.eye(3)[np.arange(8) % 3]):  # labels, and one column for each
        write_report(tmp_path / "r.html", history, network=net, X=X, y=y)
        pages.append((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert all("Confusion" in page or "confusion" in page for page in pages)
