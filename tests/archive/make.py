"""Files as this version writes them, for the archive: python tests/archive/make.py

Adds to the folder of the version what it does not have; what an archive has, stays. Beside the
files, ``expected.json`` has the data, what each network predicts for them, and what each run that
goes on from its checkpoint ends in.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import deltarule as dr
from deltarule.network.model_file import save_networks

HERE = Path(__file__).parent
D, R, A = dr.Dense, dr.Residual, dr.Activation
LAYERS: dict[str, list[dr.Layer]] = {
    "dense": [D(4, "tanh"), D(3, "tanh", bias=False), D(2)],
    "batch-norm": [D(4), dr.BatchNorm(epsilon=1e-3, momentum=0.3), A("relu"), D(2)],
    "batch-norm-frozen": [dr.BatchNorm(learning_rate_factor=0), D(2)],
    "layer-norm": [D(4), dr.LayerNorm(epsilon=1e-4), A("gelu"), D(2)],
    "scale": [dr.Scale(0.5), D(4, "tanh"), dr.Scale(learning_rate_factor=6), D(2)],
    "dropout": [dr.Dropout(0.1), D(4, "relu"), dr.Dropout(0.3), D(2)],
    "embedding": [dr.Embedding(3, 2, columns=2), D(2)],
    "residual": [R([D(3, "tanh")]), D(4), R([D(4), R([dr.LayerNorm(), D(4)])]), D(2)],
    "residual-projection": [R([D(5, "tanh"), dr.Dropout(0.2)]), D(2)],
    "penalties": [
        D(4, "tanh", penalty=dr.L1(0.1)),
        D(4, "tanh", penalty=dr.ElasticNet(0.1, 0.3)),
        D(2, penalty=dr.L2(0.2), constraint=dr.MaxNorm(2.0)),
    ],
    "factors": [D(4, "tanh", learning_rate_factor=0), D(2, learning_rate_factor=0.5)],
    "softmax": [D(4, "relu"), D(3, "softmax")],
}
ACTIVATIONS: list[Any] = [
    "identity", "sigmoid", "tanh", "relu", dr.activations.LeakyReLU(0.3), dr.activations.ELU(0.4),
    "selu", "gelu", "gelu_tanh", "silu", "mish", "hard_swish", "hard_sigmoid", "softplus",
    "softsign", "exp", "softmax",
]  # fmt: skip
INITIALIZERS: list[Any] = [
    "zeros", dr.initializers.Constant(0.5), dr.initializers.Normal(0.3),
    dr.initializers.Uniform(0.4), "glorot_uniform", "glorot_normal", "he_uniform",
    "he_normal", "lecun_normal", "lecun_uniform", "orthogonal",
]  # fmt: skip
HIDDEN = [D(3, "tanh"), dr.Dropout(0.2), dr.BatchNorm()]
ENDS: dict[str, list[dr.Layer]] = {
    "one": [*HIDDEN, D(1)],
    "two": [*HIDDEN, D(2)],
    "counts": [*HIDDEN, D(2, "exp")],
    "yes": [*HIDDEN, D(1, "sigmoid")],
    "labels": [*HIDDEN, D(3, "softmax")],
    "smooth": [D(3, "tanh"), D(1)],
}
TARGETS = {"one": "y", "two": "Y", "counts": "counts", "yes": "yes", "labels": "labels",
           "smooth": "y"}  # fmt: skip
S = dr.schedules
FULL = {"batch_size": None, "epochs": 4}
# Name: network, settings, callbacks, what resume takes again.
RUNS: dict[str, tuple[str, dict[str, Any], list[Any], list[str]]] = {
    "sgd": ("one", {"optimizer": dr.SGD(dr.Step(0.1, 2, 0.5), 0.9, nesterov=True),
                    "loss": "squared_error", "penalty": dr.L2(0.1)}, [], []),
    "rmsprop": ("two", {"optimizer": dr.RMSprop(dr.Exponential(0.01, 0.9), centered=True,
                                                momentum=0.5), "loss": "mean_squared_error",
                        "penalty": dr.L1(0.1), "clip": dr.ClipValue(0.5)}, [], []),
    "adagrad": ("two", {"optimizer": dr.Adagrad(dr.InverseScaling(0.1)),
                        "loss": "mean_absolute_error", "penalty": dr.ElasticNet(0.1, 0.5),
                        "shuffle": False, "drop_last": True}, [], []),
    "adam": ("one", {"optimizer": dr.Adam(dr.Polynomial(0.1), amsgrad=True), "loss": dr.Huber(0.5),
                     "constraint": dr.MaxNorm(1.0)}, [], []),
    "adamw": ("two", {"optimizer": dr.AdamW(dr.Linear(0.1), weight_decay=0.1),
                      "loss": dr.Quantile(0.3), "clip": dr.ClipNorm(1.0)}, [], []),
    "nadam": ("counts", {"optimizer": dr.NAdam(dr.Cosine(0.1)), "loss": "poisson"}, [], []),
    "lion": ("yes", {"optimizer": dr.Lion(dr.CosineRestarts(0.01, 3)),
                     "loss": "binary_cross_entropy", "metrics": ["precision", "recall", "f1"]},
             [], []),
    "adan": ("labels", {"optimizer": dr.Adan(dr.OneCycle(0.05), weight_decay=0.1),
                        "loss": dr.CrossEntropy(0.1), "class_weight": {0: 2.0, 2: 0.5},
                        "metrics": ["accuracy", "balanced_accuracy", "roc_auc", "log_loss"]},
             [], []),
    "rprop": ("one", {"optimizer": dr.Rprop(), "loss": "squared_error", **FULL}, [], []),
    "piecewise": ("one", {"optimizer": dr.Adam(dr.Piecewise([2, 5], [0.1, 0.05, 0.01])),
                          "loss": "squared_error", "metrics": ["mse", "rmse", "mae", "r2"]},
                  [], ["sample_weight"]),
    "warm-up": ("one", {"optimizer": dr.Adam(dr.WarmUp(4, dr.Cosine(0.1))), "loss":
                        "squared_error", "validation": 0.25, "metrics": ["mape"]}, [], []),
    "by-epoch": ("labels", {"optimizer": dr.SGD(dr.Step(0.1, 1, unit="epoch")),
                            "loss": "cross_entropy", "class_weight": "balanced",
                            "on_divergence": "restore"}, [], ["shuffle"]),
    "callbacks": ("two", {"loss": "squared_error", "metrics": ["r2"]},
                  [lambda: dr.EarlyStopping("val_r2", patience=1),
                   lambda: dr.ReduceOnPlateau("val_loss", patience=1, factor=0.5),
                   lambda: dr.TimeBudget(1e9)], ["validation"]),
    "ema": ("one", {"loss": "squared_error"}, [lambda: dr.EMA(0.8)], []),
    "swa": ("one", {"loss": "squared_error"}, [lambda: dr.SWA(0, unit="step")], []),
    "levenberg-marquardt": ("smooth", {"optimizer": dr.LevenbergMarquardt(),
                                       "loss": "squared_error", **FULL}, [], []),
    "bayesian": ("smooth", {"optimizer": dr.BayesianRegularization(), "loss": "squared_error",
                            **FULL}, [], []),
    "lbfgs": ("smooth", {"optimizer": dr.LBFGS(), "loss": "squared_error", **FULL}, [], []),
}  # fmt: skip


def data() -> dict[str, Any]:
    """Return the data: X (16, 3), whose last column may be a code, and targets of each kind."""
    rng = np.random.default_rng(11)
    X = np.column_stack([rng.normal(size=(16, 2)).round(3), rng.integers(0, 3, 16)])
    return {
        "X": X,
        "y": rng.normal(size=16).round(3),
        "Y": rng.normal(size=(16, 2)).round(3),
        "counts": rng.integers(0, 5, (16, 2)),
        "yes": rng.integers(0, 2, 16),
        "labels": np.arange(16) % 3,
        "sample_weight": rng.uniform(0, 1, 16).round(3),
        "shuffle": rng.permutation(16),
        "validation": [X[:5] + 0.1, rng.normal(size=(5, 2)).round(3)],
    }


def moved(layers: list[dr.Layer], dtype: str = "float32", **settings: Any) -> dr.Network:
    """Return a network none of whose numbers are those that it would start with."""
    net = dr.Network(layers, inputs=3, seed=3, dtype=dtype, **settings)
    rng = np.random.default_rng(5)
    net.vector += rng.normal(0, 0.1, net.vector.shape)
    net.state_vector += rng.uniform(0, 0.2, net.state_vector.shape)
    return net


def networks(folder: Path) -> None:
    """Write networks of every kind of layer, activation and initializer."""
    for name, layers in LAYERS.items():
        for dtype in ("float32", "float64")[: 2 if name in ("dense", "batch-norm") else 1]:
            moved(layers, dtype).save(folder / f"network-{name}-{dtype}.safetensors")
    for activation in ACTIVATIONS:
        net = moved([D(2, activation)])
        net.save(folder / f"network-{net.layers[0].activation.name}.safetensors")
    for initializer in INITIALIZERS:
        net = moved([D(2, weight_initializer=initializer)], weight_initializer=initializer)
        net.save(folder / f"network-{net.weight_initializer.name}.safetensors")
    net = moved(LAYERS["dense"], "float64")
    net.scale_learning_rate(0.25, "0.weight")
    net.freeze("2")
    net.feature_names = ("a", "b", "c")
    net.save(folder / "network-named.safetensors")
    pair = [moved([D(2, "tanh")]), moved([D(3, "relu"), D(2)])]
    save_networks(pair, folder / "networks-two.safetensors", {"classes": ["no", "yes"]})


def checkpoints(folder: Path, known: dict[str, Any]) -> None:
    """Write a checkpoint of each run, within an epoch where a run has several steps in one."""
    for name, (kind, settings, callbacks, again) in RUNS.items():
        net = dr.Network(ENDS[kind], inputs=3, seed=3, dtype="float64")
        given = {key: known[key] for key in again}
        with tempfile.TemporaryDirectory() as steps:
            hooks = [make() for make in callbacks]
            hooks.append(dr.Checkpoint(steps, unit="step", keep=99, share=1))
            dr.train(
                net, known["X"], known[TARGETS[kind]], callbacks=hooks, progress=False,
                **{"epochs": 3, "batch_size": 6} | settings | given,
            )  # fmt: skip
            found = sorted(Path(steps).glob("epoch-000001*"))[-1]
            shutil.copy(found, folder / f"checkpoint-{name}.safetensors")


def estimators(folder: Path, known: dict[str, Any]) -> None:
    """Write files of estimators: of tables, and in the place of scikit-learn's."""
    from deltarule import sklearn as ours
    from deltarule.tables.recipe import Plain

    frame = table()
    recipe = Plain(hidden=(3,), networks=1, epochs=2)
    classes = np.array(["no", "perhaps", "yes"])[known["labels"]]
    made: dict[str, tuple[Any, Any, Any]] = {
        "tabular-classifier": (ours.TabularClassifier(recipe), frame, classes),
        "tabular-regressor": (ours.TabularRegressor(recipe, folds=2), frame, known["y"]),
        "mlp-classifier": (
            ours.MLPClassifier(hidden_layer_sizes=(3,), max_iter=3),
            known["X"],
            known["labels"],
        ),
        "mlp-regressor": (
            ours.MLPRegressor(hidden_layer_sizes=(3,), max_iter=3),
            known["X"],
            known["y"],
        ),
    }
    for name, (estimator, X, y) in made.items():
        estimator.fit(X, y).save(folder / f"estimator-{name}.safetensors")


def table() -> dict[str, list[Any]]:
    """Return a table of 16 rows with columns of many kinds."""
    rng = np.random.default_rng(2)
    return {
        "number": [
            None if i == 5 else float(v) for i, v in enumerate(rng.normal(size=16).round(2))
        ],
        "word": [["red", "blue", "white"][i] for i in rng.integers(0, 3, 16)],
        "day": [f"2024-0{1 + i % 9}-1{i % 7}" for i in range(16)],
        "flag": [bool(v) for v in rng.integers(0, 2, 16)],
        "length": [f"{v} cm" for v in rng.integers(1, 99, 16)],
    }


def plain(value: Any) -> Any:
    """Return arrays as lists."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def expected(folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Return what the files of a folder give."""
    from deltarule import sklearn as ours
    from deltarule.network.model_file import load_networks

    say: dict[str, Any] = {"data": {name: plain(value) for name, value in known.items()}}
    say |= {"table": table(), "networks": {}, "checkpoints": {}, "estimators": {}}
    for path in sorted(folder.glob("network*")):
        found = load_networks(path).networks
        say["networks"][path.name] = [plain(net.predict(known["X"])) for net in found]
    for path in sorted(folder.glob("checkpoint*")):
        kind, _, _, again = RUNS[path.stem.removeprefix("checkpoint-")]
        about = {"y": TARGETS[kind], "again": again, "loaded": dr.load(path).predict(known["X"])}
        with tempfile.TemporaryDirectory() as copy:
            given = {key: known[key] for key in again}
            net, history = dr.resume(
                shutil.copy(path, copy), known["X"], known[TARGETS[kind]], progress=False, **given
            )
        about |= {"resumed": net.predict(known["X"]), "epochs": history.epochs}
        say["checkpoints"][path.name] = {key: plain(value) for key, value in about.items()}
    for path in sorted(folder.glob("estimator*")):
        X = table() if "tabular" in path.name else known["X"]
        estimator = ours.load(path)
        method = "predict_proba" if hasattr(estimator, "predict_proba") else "predict"
        say["estimators"][path.name] = {method: plain(getattr(estimator, method)(X))}
    return say


def main() -> None:
    folder, known = HERE / dr.__version__, data()
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        networks(Path(made))
        checkpoints(Path(made), known)
        estimators(Path(made), known)
        say = expected(Path(made), known)
        if (folder / "expected.json").exists():
            there = json.loads((folder / "expected.json").read_text())
            for part, found in say.items():
                say[part] = there[part] if part in ("data", "table") else found | there[part]
        for path in Path(made).iterdir():
            if not (folder / path.name).exists():
                shutil.copy(path, folder)
    (folder / "expected.json").write_text(json.dumps(say, indent=1) + "\n")


if __name__ == "__main__":
    main()
