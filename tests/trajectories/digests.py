"""Digests of the trajectories of 40 networks, as JSON: the same bits, the same digests.

Run by ``compare.py`` under two installations of deltarule. It uses nothing but names that users
type, so that an older version can run it.
"""

import hashlib
import json
import sys

import numpy as np

import deltarule as dr

D, R = dr.Dense, dr.Residual
rng = np.random.default_rng(0)
N, INPUTS, OUTPUTS = 97, 19, 5
X = rng.normal(size=(N, INPUTS))
TARGETS = {
    "numbers": rng.normal(size=(N, OUTPUTS)),
    "labels": rng.integers(0, OUTPUTS, N),
    "soft labels": rng.dirichlet(np.ones(OUTPUTS), N),
    "yes or no": rng.integers(0, 2, (N, OUTPUTS)).astype(float),
    "counts": rng.poisson(2, (N, OUTPUTS)).astype(float),
}
WEIGHTS = rng.uniform(0, 2, N)
WIDE_X = rng.normal(size=(330, 150))
WIDE_Y = rng.integers(0, 10, 330)


def stack(activation="tanh", end="identity"):
    return [D(20, activation), D(17, activation), D(OUTPUTS, end)]


CASES = {}


def case(name, layers, targets="numbers", **settings):
    CASES[name] = (layers, targets, settings)


for activation in (
    "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "gelu_tanh", "silu", "mish",
    "softplus",
):  # fmt: skip
    case(activation, stack(activation), loss="squared_error", metrics=["mse", "r2"])
case("exp and softmax inside", [D(20, "exp"), D(9, "softmax"), D(OUTPUTS)], loss="huber",
     optimizer=dr.SGD(1e-4))  # fmt: skip
case("mean squared error", stack(), loss="mean_squared_error", penalty=dr.L2(1e-2))
case("absolute error", stack(), loss="mean_absolute_error", penalty=dr.L1(1e-3))
case("quantile", stack(), loss=dr.Quantile(0.3), penalty=dr.ElasticNet(1e-3, 1e-2))
case("Poisson", stack(end="exp"), "counts", loss="poisson", optimizer=dr.SGD(1e-3))
case("binary cross-entropy", stack(end="sigmoid"), "yes or no", loss="binary_cross_entropy",
     metrics=["accuracy", "roc_auc", "log_loss"])  # fmt: skip
case("cross-entropy", stack(end="softmax"), "labels", loss="cross_entropy", weighted=True,
     metrics=["accuracy", "f1", "log_loss", "balanced_accuracy"], validation=0.2)  # fmt: skip
case("soft targets", stack(end="softmax"), "soft labels", loss=dr.CrossEntropy(label_smoothing=0.1))
for optimizer in (
    dr.SGD(0.01), dr.SGD(0.01, momentum=0.9), dr.SGD(0.01, momentum=0.9, nesterov=True),
    dr.RMSprop(), dr.RMSprop(momentum=0.9, centered=True), dr.Adagrad(), dr.Adam(amsgrad=True),
    dr.AdamW(dr.Cosine(1e-3)), dr.NAdam(), dr.Lion(weight_decay=0.1), dr.Rprop(),
):  # fmt: skip
    case(repr(optimizer), stack(), loss="squared_error", optimizer=optimizer)
case("batch norm", [D(20), dr.BatchNorm(), dr.Activation("relu"), D(OUTPUTS)], loss="squared_error",
     drop_last=True, validation=0.1)  # fmt: skip
case("frozen batch norm", [D(20), dr.BatchNorm(learning_rate_factor=0), D(OUTPUTS)],
     loss="squared_error")  # fmt: skip
case("layer norm", [D(20), dr.LayerNorm(), dr.Activation("gelu"), D(OUTPUTS)], loss="squared_error")
case("dropout", [dr.Dropout(0.1), D(20, "relu"), dr.Dropout(0.5), D(OUTPUTS)], loss="squared_error",
     shuffle=np.arange(N)[::-1])  # fmt: skip
case("residuals", [D(20, "tanh"), R([D(20, "relu"), D(20)]), R([D(9, "tanh")]), D(OUTPUTS)],
     loss="squared_error", clip=dr.ClipNorm(0.5))  # fmt: skip
case("clipped, constrained", stack(), loss="squared_error", clip=dr.ClipValue(0.02),
     constraint=dr.MaxNorm(0.9))  # fmt: skip
case("per example", stack("relu"), loss="squared_error", batch_size=1)
case("whole batch", stack("relu"), loss="squared_error", batch_size=None, epochs=9)
case("wide", [D(256, "relu"), dr.Dropout(0.2), D(130, "relu"), D(10, "softmax")], "wide",
     loss="cross_entropy", batch_size=128)  # fmt: skip
case("wide per example", [D(256, "relu"), D(10, "softmax")], "wide", loss="cross_entropy",
     batch_size=1, epochs=1)  # fmt: skip


def digest(layers, targets, engine, threads, dtype, settings):
    data, y = (WIDE_X, WIDE_Y) if targets == "wide" else (X, TARGETS[targets])
    settings = {"epochs": 3, "batch_size": 16} | settings
    if settings.pop("weighted", False):
        settings["sample_weight"] = WEIGHTS
    net = dr.Network(layers, inputs=data.shape[1], seed=2, dtype=dtype)
    found = hashlib.sha256()
    for part in range(2):  # a second run of one trainer goes on where the first ended
        if part == 0:
            kept = ("penalty", "constraint", "clip", "metrics")
            made = {k: settings.pop(k) for k in kept if k in settings}
            trainer = dr.Trainer(
                net, loss=settings.pop("loss"), optimizer=settings.pop("optimizer", "adam"), seed=5,
                threads=threads, engine=engine, **made,
            )  # fmt: skip
        history = trainer.run(data, y, progress=False, **settings)
        found.update(net.vector.tobytes() + net.state_vector.tobytes())
        for name in sorted(history):
            found.update(name.encode() + np.array(history[name]).tobytes())
    found.update(net.predict(data, threads=threads, engine=engine).tobytes())
    return found.hexdigest()[:16]


def main():
    result = {}
    for name, (layers, targets, settings) in CASES.items():
        for engine, threads, dtype in (
            ("native", 1, "float32"), ("native", 2, "float32"), ("native", 2, "float64"),
            ("reference", 1, "float64"),
        ):  # fmt: skip
            key = f"{name} | {engine} {dtype}, {threads} thread(s)"
            result[key] = digest(layers, targets, engine, threads, dtype, dict(settings))
    json.dump(result, sys.stdout, indent=1)


if __name__ == "__main__":
    assert len(CASES) == 40, len(CASES)
    main()
