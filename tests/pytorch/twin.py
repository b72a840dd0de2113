"""A twin in PyTorch of a deltarule network, and :func:`follow`, which trains both side by side.

Our side runs through the public API with the reference engine: ``Trainer.step`` batch by batch,
compared after every step, and ``train(shuffle=False)``, compared after every epoch. The twin is
made of PyTorch's own modules and starts from a copy of our parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import deltarule as dr
from oracles import oracle

nn = oracle("torch.nn")
F = oracle("torch.nn.functional")
optim = oracle("torch.optim")
torch = oracle("torch")
torch.set_num_threads(1)

# No two widths or batches are alike, so that a transposed or misplaced array cannot fit.
INPUTS, OUTPUTS = 7, 4
ROWS, BATCH = 13, 5  # batches of 5, 5 and 3 rows
EPOCHS = 11
STEPS_PER_EPOCH = 3
STEPS = EPOCHS * STEPS_PER_EPOCH

RELATIVE = 1e-9


class Exp(nn.Module):
    def forward(self, z):
        return torch.exp(z)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda f: nn.Identity(),
    "sigmoid": lambda f: nn.Sigmoid(),
    "tanh": lambda f: nn.Tanh(),
    "relu": lambda f: nn.ReLU(),
    "leaky_relu": lambda f: nn.LeakyReLU(f.negative_slope),
    "elu": lambda f: nn.ELU(f.alpha),
    "selu": lambda f: nn.SELU(),
    "gelu": lambda f: nn.GELU(),
    "gelu_tanh": lambda f: nn.GELU(approximate="tanh"),
    "silu": lambda f: nn.SiLU(),
    "mish": lambda f: nn.Mish(),
    "softplus": lambda f: nn.Softplus(),
    "exp": lambda f: Exp(),
    "softmax": lambda f: nn.Softmax(dim=1),
}


class Shortcut(nn.Module):
    """``x + F(x)``, or ``P x + F(x)``."""

    def __init__(self, inner, projection):
        super().__init__()
        self.inner, self.projection = inner, projection

    def forward(self, x):
        return self.projection(x) + self.inner(x)


class ScaleTwin(nn.Module):
    """``x * scale``."""

    def __init__(self, width, dtype):
        super().__init__()
        self.factors = nn.Parameter(torch.ones(width, dtype=dtype))

    def forward(self, x):
        return x * self.factors


class Twin(nn.Module):
    """The same network in PyTorch; returns ``(z, a)`` of the last layer.

    ``named`` maps our names of parameters and running statistics to PyTorch's tensors.
    """

    def __init__(self, net: dr.Network) -> None:
        super().__init__()
        self.dtype = getattr(torch, net.dtype.name)
        self.named: dict[str, Any] = {}
        modules = self._modules_of(net.layers, net.inputs, "")
        self.head = modules.pop() if type(modules[-1]) in _ACTIVATIONS else nn.Identity()
        self.body = nn.Sequential(*modules)
        with torch.no_grad():
            for name, values in (*net.parameters.items(), *net.state.items()):
                self.named[name].copy_(torch.tensor(_oriented(values)))
        self.own_names = list(net.parameters)

    def _modules_of(self, layers: tuple[Any, ...], width: int, prefix: str) -> list[Any]:
        modules: list[Any] = []
        for i, layer in enumerate(layers):
            path, outputs = f"{prefix}{i}", layer.outputs(width)
            match layer:
                case dr.Dense():
                    modules.append(self._linear(path, width, outputs, layer.bias))
                    if layer.activation.name != "identity":
                        modules.append(FUNCTIONS[layer.activation.name](layer.activation))
                case dr.Activation():
                    modules.append(FUNCTIONS[layer.function.name](layer.function))
                case dr.BatchNorm():
                    norm = nn.BatchNorm1d(width, layer.epsilon, layer.momentum, dtype=self.dtype)
                    self.named[f"{path}.running_mean"] = norm.running_mean
                    self.named[f"{path}.running_variance"] = norm.running_var
                    modules.append(self._norm(path, norm))
                case dr.LayerNorm():
                    norm = nn.LayerNorm(width, layer.epsilon, dtype=self.dtype)
                    modules.append(self._norm(path, norm))
                case dr.Scale():
                    scale = ScaleTwin(width, self.dtype)
                    self.named[f"{path}.scale"] = scale.factors
                    modules.append(scale)
                case dr.Residual():
                    inner = self._modules_of(layer.layers, width, f"{path}.")
                    projection = nn.Identity()
                    if outputs != width:
                        projection = self._linear(f"{path}.projection", width, outputs, False)
                    modules.append(Shortcut(nn.Sequential(*inner), projection))
                case _:
                    raise TypeError(f"no twin of {layer}")
            width = outputs
        return modules

    def _linear(self, path: str, inputs: int, outputs: int, bias: bool) -> Any:
        linear = nn.Linear(inputs, outputs, bias=bias, dtype=self.dtype)
        self.named[f"{path}.weight"] = linear.weight
        if bias:
            self.named[f"{path}.bias"] = linear.bias
        return linear

    def _norm(self, path: str, norm: Any) -> Any:
        self.named[f"{path}.scale"], self.named[f"{path}.shift"] = norm.weight, norm.bias
        return norm

    def forward(self, x):
        z = self.body(x)
        return z, self.head(z)

    def weights(self) -> list[Any]:
        """Return the weight matrices: what penalties and decay touch on our side."""
        return [self.named[name] for name in self.own_names if name.endswith("weight")]

    def others(self) -> list[Any]:
        """Return biases, scales and shifts."""
        return [self.named[name] for name in self.own_names if not name.endswith("weight")]

    def numbers(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters and running statistics, oriented as ours."""
        return {
            name: _oriented(tensor.detach().numpy()).copy() for name, tensor in self.named.items()
        }


_ACTIVATIONS = {
    type(make(f))
    for make, f in zip(
        FUNCTIONS.values(),
        (dr.activations.ActivationFunction.resolve(name) for name in FUNCTIONS),
        strict=True,
    )
}


def _oriented(array: np.ndarray) -> np.ndarray:
    return array.T if array.ndim == 2 else array


# ---------------------------------------------------------------------------------- data, networks


def network(
    head: str = "identity", hidden: Any = "tanh", *, outputs: int = OUTPUTS, dtype: str = "float64"
) -> dr.Network:
    """Return three layers, 7 -> 8 -> 6 -> 4."""
    layers = [dr.Dense(8, hidden), dr.Dense(6, hidden), dr.Dense(outputs, head)]
    return stack(layers, dtype=dtype)


def stack(layers: list[Any], *, dtype: str = "float64") -> dr.Network:
    """Return a network of given layers; biases and shifts start away from 0, scales from 1."""
    net = dr.Network(layers, inputs=INPUTS, seed=3, dtype=dtype)
    random = np.random.default_rng(11)
    for name, values in net.parameters.items():
        if not name.endswith("weight"):
            values += 0.1 * random.normal(size=values.shape)
    return net


_random = np.random.default_rng(7)
X = _random.normal(size=(ROWS, INPUTS))
REAL = _random.normal(size=(ROWS, OUTPUTS))
COUNTS = _random.poisson(2.0, size=(ROWS, OUTPUTS)).astype(np.float64)
SHARES = _random.uniform(size=(ROWS, OUTPUTS))
SOFT = SHARES / SHARES.sum(axis=1, keepdims=True)
LABELS = np.array([0, 1, 2, 3, 3, 1, 0, 1, 1, 2, 0, 1, 3])
WEIGHTS = _random.uniform(0.2, 3.0, size=ROWS)


def mse(z, a, t):
    """Return one squared error per example, summed over outputs, halved."""
    return 0.5 * ((a - t) ** 2).sum(dim=1)


# ------------------------------------------------------------------------------------- the two runs


@dataclass(frozen=True)
class Snapshot:
    """Parameters and running statistics after a step (or an epoch), and the loss before it."""

    loss: float
    numbers: dict[str, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """One way of training, in our words and in PyTorch's.

    Attributes
    ----------
    criterion : function (z, a, t) -> losses of the examples
        Weighted by ``sample_weight`` and reduced as our loss is; or, with ``reduced``, a function
        (z, a, t) -> loss of the batch, one of PyTorch's own criteria as a rule.
    rule : function twin -> torch.optim.Optimizer
    scheduler : function torch.optim.Optimizer -> torch scheduler, moved on after each ``unit``.
    addition : function twin -> what is added to the loss
    clip : function twin -> None, between backward and the optimizer's step
    prepare : function twin -> None, before training begins
    by_step : bool
        Whether ``Trainer.step`` is compared too (it cannot know the length of a run).
    """

    loss: Any = field(default_factory=dr.SquaredError)
    criterion: Callable[..., Any] = mse
    reduced: bool = False
    optimizer: Any = field(default_factory=lambda: dr.SGD(0.1))
    rule: Callable[[Twin], Any] = lambda twin: optim.SGD(twin.parameters(), lr=0.1)
    scheduler: Callable[[Any], Any] | None = None
    unit: str = "step"
    addition: Callable[[Twin], Any] | None = None
    clip: Callable[[Twin], None] | None = None
    prepare: Callable[[Twin], None] | None = None
    ours: dict[str, Any] = field(default_factory=dict)
    y: np.ndarray = field(default_factory=lambda: REAL)
    sample_weight: np.ndarray | None = None
    class_weight: Any = None
    batch_size: int = BATCH
    epochs: int = EPOCHS
    callbacks: Any = ()
    by_step: bool = True

    def row_weights(self) -> np.ndarray:
        """Return each row's sample weight times its class weight."""
        w = np.ones(ROWS) if self.sample_weight is None else self.sample_weight
        return w if self.class_weight is None else w * np.asarray(self.class_weight)[self.y]


def batches(recipe: Recipe) -> list[slice]:
    return [slice(i, i + recipe.batch_size) for i in range(0, ROWS, recipe.batch_size)]


def train_twin(net: dr.Network, recipe: Recipe) -> tuple[list[Snapshot], list[Snapshot], Twin]:
    """Train the twin; return what it was after each step and after each epoch, and itself."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, net.dtype.name))  # of the scalars that NAdam keeps
    try:
        return _train_twin(Twin(net), recipe)
    finally:
        torch.set_default_dtype(usual)


def _train_twin(twin: Twin, recipe: Recipe) -> tuple[list[Snapshot], list[Snapshot], Twin]:
    twin.train()
    if recipe.prepare:
        recipe.prepare(twin)
    x = torch.tensor(X, dtype=twin.dtype)
    t = torch.tensor(recipe.y, dtype=None if recipe.y.dtype.kind == "i" else twin.dtype)
    w = torch.tensor(recipe.row_weights(), dtype=twin.dtype)
    optimizer = recipe.rule(twin)
    scheduler = recipe.scheduler(optimizer) if recipe.scheduler else None
    by_step, by_epoch = [], []
    for _ in range(recipe.epochs):
        sums = np.zeros(4)
        for rows in batches(recipe):
            optimizer.zero_grad()
            z, a = twin(x[rows])
            if recipe.reduced:
                data_loss = recipe.criterion(z, a, t[rows])
            else:
                losses = w[rows] * recipe.criterion(z, a, t[rows])
                data_loss = losses.sum()
                if recipe.loss.reduction == "mean":
                    data_loss = data_loss / w[rows].sum()
            extra = recipe.addition(twin) if recipe.addition else torch.zeros(())
            (data_loss + extra).backward()
            if recipe.clip:
                recipe.clip(twin)
            optimizer.step()
            if scheduler and recipe.unit == "step":
                scheduler.step()
            by_step.append(Snapshot((data_loss + extra).item(), twin.numbers()))
            share = w[rows].sum().item() if recipe.loss.reduction == "mean" else 1.0
            sums += data_loss.item() * share, share, extra.item(), 1
        if scheduler and recipe.unit == "epoch":
            scheduler.step()
        total = sums[0] / (sums[1] if recipe.loss.reduction == "mean" else 1)
        by_epoch.append(Snapshot(total + sums[2] / sums[3], twin.numbers()))
    return by_step, by_epoch, twin


def our_numbers(net: dr.Network) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in (*net.parameters.items(), *net.state.items())}


class Recorder(dr.Callback):
    """Keeps parameters and loss of each epoch."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []

    def on_epoch(self, state: dr.State) -> None:
        self.snapshots.append(Snapshot(state.history["loss"][-1], our_numbers(state.network)))


def train_by_step(net: dr.Network, recipe: Recipe) -> Iterator[Snapshot]:
    trainer = dr.Trainer(
        net,
        recipe.loss,
        recipe.optimizer,
        engine="reference",
        **({"class_weight": recipe.class_weight} | recipe.ours),
    )
    w = recipe.sample_weight
    for _ in range(recipe.epochs):
        for rows in batches(recipe):
            loss = trainer.step(X[rows], recipe.y[rows], None if w is None else w[rows])
            yield Snapshot(loss, our_numbers(net))


def train_whole(net: dr.Network, recipe: Recipe) -> list[Snapshot]:
    recorder = Recorder()
    dr.train(
        net,
        X,
        recipe.y,
        loss=recipe.loss,
        optimizer=recipe.optimizer,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        shuffle=False,
        sample_weight=recipe.sample_weight,
        callbacks=[*recipe.callbacks, recorder],
        engine="reference",
        progress=False,
        **({"class_weight": recipe.class_weight} | recipe.ours),
    )
    return recorder.snapshots


def distance(
    ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], start: dict[str, np.ndarray]
) -> float:
    """Return by how much two sets of parameters differ, as a share of how far they have moved.

    For each array the largest difference is divided by the largest movement of the twin since the
    start, which is stricter than by the parameters themselves. What lies within the rounding of
    storing the values (two roundings a step, in each library) is no difference.
    """
    worst = 0.0
    for name, expected in theirs.items():
        rounding = 4 * STEPS * np.finfo(expected.dtype).eps * np.abs(expected).max()
        excess = np.abs(ours[name] - expected).max() - rounding
        moved = np.abs(expected - start[name]).max()
        if not np.isfinite(excess):
            return np.inf
        if excess > 0:
            worst = max(worst, excess / moved if moved else np.inf)
    return worst


def assert_same(
    ours: list[Snapshot], theirs: list[Snapshot], start: dict[str, np.ndarray], what: str
) -> None:
    assert len(ours) == len(theirs)
    for i, (our, their) in enumerate(zip(ours, theirs, strict=True), 1):
        share = distance(our.numbers, their.numbers, start)
        assert share <= RELATIVE, f"{what} {i}: parameters differ by {share:.1e} of their movement"
        assert math.isclose(our.loss, their.loss, rel_tol=RELATIVE), (
            f"{what} {i}: losses differ, {our.loss!r} and {their.loss!r}"
        )


def follow(net: dr.Network, recipe: Recipe | None = None, **changes: Any) -> dr.Network:
    """Assert that our network and its twin stay together; return ours, trained."""
    recipe = recipe or Recipe(**changes)
    assert recipe.epochs * len(batches(recipe)) >= 30
    start = our_numbers(net)
    steps, epochs, twin = train_twin(net, recipe)
    if recipe.by_step:
        assert_same(list(train_by_step(net.copy(), recipe)), steps, start, "step")
    trained = net.copy()
    assert_same(train_whole(trained, recipe), epochs, start, "epoch")
    twin.eval()
    with torch.no_grad():
        expected = twin(torch.tensor(X, dtype=twin.dtype))[1].numpy()
    predicted = trained.predict(X, engine="reference")
    np.testing.assert_allclose(predicted, expected, rtol=RELATIVE, atol=RELATIVE)
    return trained


def gap(net: dr.Network, **changes: Any) -> float:
    """Return how far our parameters end from the twin's, as a share of their movement."""
    recipe = Recipe(**changes)
    start = our_numbers(net)
    _, epochs, _ = train_twin(net, recipe)
    return distance(train_whole(net.copy(), recipe)[-1].numbers, epochs[-1].numbers, start)
