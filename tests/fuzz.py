"""Random assignments, deletions and calls on everything that a user holds, in any order.

Run as a script, a process of its own: ``fuzz.py ENGINE THREADS SEED COUNT``. Each operation either
does what it says, or raises an error of ours; and only what is meant to change numbers changes any.
What is wrong is written, one line each, with what was done; nothing is written where all is well.
"""

from __future__ import annotations

import copy
import io
import logging
import pickle
import random
import sys
import threading
import warnings
from typing import Any

import numpy as np

import deltarule as dr
from hostile import VALUES

ENOUGH = 30  # lines
X = np.random.default_rng(0).normal(size=(12, 3))
Y = X[:, :2] - 0.5
STACKS = [
    [dr.Dense(4, "tanh"), dr.Dense(2)],
    [dr.Dense(4, "relu"), dr.BatchNorm(), dr.Dropout(0.3), dr.Dense(2)],
    [dr.Residual([dr.Dense(4, "gelu"), dr.LayerNorm()]), dr.Dense(2, "softplus")],
]
# Slow to make, to print or to look through; beside the point many thousand times over.
HEAVY = {"10**5000", "long text", "huge strides", "recursive", "deep"}
HOSTILE = [make for name, make in VALUES.items() if name not in HEAVY]


class World:
    """What one user has: a network, and all that belongs to it."""

    def __init__(self, engine: str, choice: random.Random) -> None:
        self.engine, self.choice = engine, choice
        self.alone = True  # nobody else changes what is here
        self.new()

    def new(self) -> None:
        """Begin with other layers."""
        layers = self.choice.choice(STACKS)
        dtype = self.choice.choice(["float32", "float64"])
        self.net = dr.Network(layers, 3, seed=self.choice.randrange(9), dtype=dtype)
        self.renew()

    def renew(self) -> None:
        """Make all that belongs to the network anew."""
        kind = self.choice.choice([dr.SGD, dr.Adam, dr.RMSprop])
        self.trainer = dr.Trainer(
            self.net, "mse", kind(learning_rate=1e-4), engine=self.engine, threads=2
        )
        self.stopping, self.plateau = dr.EarlyStopping("loss"), dr.ReduceOnPlateau("loss")
        self.history = self.trainer.run(X, Y, batch_size=5, progress=False)
        self.trace = dr.backpropagate(self.net, X, Y, "mse")

    def numbers(self) -> tuple[bytes, ...]:
        """Return all that an operation must not change unless it says so."""
        net, trace = self.net, self.trace
        return (
            net.vector.tobytes(),
            net.state_vector.tobytes(),
            repr(dict(net.learning_rate_factors)).encode(),
            b"".join(a.tobytes() for a in trace.deltas.values()),
            b"".join(a.tobytes() for a in trace.gradients.values()),
            repr(self.history["loss"]).encode(),
            X.tobytes() + Y.tobytes(),
        )

    def things(self) -> list[Any]:
        return [
            self.net, self.trainer, self.history, self.trace, self.stopping, self.plateau,
            self.trainer.optimizer, self.trainer.loss, self.net.layers[0],
        ]  # fmt: skip


# ---------------------------------------------------------------------------------- operations
# Each returns whether it may have changed numbers.


def hostile(world: World) -> Any:
    return world.choice.choice(HOSTILE)()


def public(thing: Any, world: World) -> str:
    names = [name for name in dir(type(thing)) if not name.startswith("_")]
    names += ["lr", "wieghts", "trainable", "lr_factor", *vars(thing)]
    name = world.choice.choice([n for n in names if not n.startswith("_")])
    if world.choice.random() < 0.2:
        name = name[:-1] or "x"
    return name


def assign(world: World) -> bool:
    thing = world.choice.choice(world.things())
    name = public(thing, world)
    value = hostile(world) if world.choice.random() < 0.8 else getattr(thing, name, 0)
    setattr(thing, name, value)
    return name in ("vector", "parameters", "state", "state_vector")


def delete(world: World) -> bool:
    thing = world.choice.choice(world.things())
    delattr(thing, public(thing, world))
    return False


def read(world: World) -> bool:
    thing = world.choice.choice(world.things())
    try:
        getattr(thing, public(thing, world))
    except AttributeError as error:
        if "has no attribute" not in str(error):
            raise
    return False


def show(world: World) -> bool:
    thing = world.choice.choice([*world.things(), world.history["loss"]])
    world.choice.choice([repr, str, lambda t: getattr(t, "_repr_html_", str)()])(thing)
    return False


CONTAINERS = {
    "parameters": lambda w: w.net.parameters,
    "state": lambda w: w.net.state,
    "factors": lambda w: w.net.learning_rate_factors,
    "history": lambda w: w.history,
    "column": lambda w: w.history["loss"],
    "deltas": lambda w: w.trace.deltas,
    "activations": lambda w: w.trace.activations,
    "preactivations": lambda w: w.trace.preactivations,
    "gradients": lambda w: w.trace.gradients,
    "metrics": lambda w: w.trainer.metrics,
}


def change_item(world: World) -> bool:
    """Assign or delete an item, or use what a list or dict would have."""
    name = world.choice.choice(list(CONTAINERS))
    container = CONTAINERS[name](world)
    keys = [0, -1, "0.weight", "loss", "1.running_mean"]
    key = world.choice.choice(keys) if world.choice.random() < 0.7 else hostile(world)
    how = world.choice.randrange(4)
    if how == 0 and hasattr(type(container), "__setitem__"):
        container[key] = hostile(world)
    elif how == 1 and hasattr(type(container), "__delitem__"):
        del container[key]
    elif how == 2:
        for method in ("clear", "pop", "update", "append", "sort", "reverse", "extend"):
            if hasattr(container, method) and not isinstance(container, np.ndarray):
                getattr(container, method)()
    return name in ("parameters", "state") and how == 0


def change_view(world: World) -> bool:
    """Change shape, dtype and flags of an array that is handed out: that is NumPy's business."""
    net = world.net
    arrays = [net.vector, net.state_vector, *net.parameters.values(), *net.state.values()]
    array = world.choice.choice(arrays)
    try:
        match world.choice.randrange(5):
            case 0:
                array.shape = (-1,)
            case 1:
                array.dtype = np.uint8
            case 2:
                array.flags.writeable = False
            case 3:
                array.resize((1,), refcheck=False)
            case 4:
                array.shape = (world.choice.randrange(9), 1)
    except (ValueError, TypeError):
        pass
    return False


def set_values(world: World) -> bool:
    """Assign what may be assigned, and find it there."""
    net, vector = world.net, world.net.vector.copy()
    vector[world.choice.randrange(len(vector))] = world.choice.uniform(-1, 1)
    net.vector = vector
    if world.alone and net.vector.tobytes() != vector.tobytes():
        raise AssertionError("the vector is not what was assigned")
    return True


def train(world: World) -> bool:
    match world.choice.randrange(4):
        case 0:
            world.trainer.step(X[: world.choice.randrange(2, 12)], Y[:2])
        case 1:
            n = world.choice.randrange(2, 12)
            world.trainer.step(X[:n], Y[:n])
        case 2:
            hooks = [c for c in (world.stopping, world.plateau) if world.choice.random() < 0.5]
            world.trainer.run(X, Y, batch_size=5, callbacks=hooks, progress=False)
        case 3:
            world.trainer.step(X, hostile(world))
    return True


def freeze(world: World) -> bool:
    name = world.choice.choice(["0", "0.bias", "1", "9", "x"])
    world.choice.choice([world.net.freeze, world.net.unfreeze])(name)
    return True


def predict(world: World) -> bool:
    data = X if world.choice.random() < 0.6 else hostile(world)
    world.net.predict(data, engine=world.engine, threads=2)
    return False


def look(world: World) -> bool:
    net = world.net
    match world.choice.randrange(6):
        case 0:
            dr.evaluate(net, X, Y, loss="mse", engine=world.engine)
        case 1:
            dr.backpropagate(net, X, hostile(world), "mse")
        case 2:
            twin = copy.deepcopy(world.choice.choice(world.things()))
            copy.copy(twin)
        case 3:
            pickle.loads(pickle.dumps(world.choice.choice(world.things())))
        case 4:
            file = io.BytesIO()
            net.save(file)
            file.seek(0)
            dr.load(file)
        case 5:
            net.summary()
    return False


def begin_again(world: World) -> bool:
    world.choice.choice([world.new, world.renew])()
    return True


OPERATIONS = {
    assign: 30, delete: 10, read: 10, show: 3, change_item: 25, change_view: 10, set_values: 4,
    train: 3, freeze: 1, predict: 4, look: 1, begin_again: 0.05,
}  # fmt: skip


# --------------------------------------------------------------------------------------- checks


def is_whole(world: World) -> str | None:
    """Return how the network's predictions differ from those of a network made anew, or None."""
    net = world.net
    twin = dr.Network(net.layers, net.inputs, dtype=net.dtype)
    twin.vector[:], twin.state_vector[:] = net.vector, net.state_vector
    found, expected = (n.predict(X, engine=world.engine) for n in (net, twin))
    same = found.tobytes() == expected.tobytes()
    return None if same else f"predicts {found[0]}, a network of the same values {expected[0]}"


def fuzz(world: World, count: int, problems: list[str]) -> None:
    kinds, weights = list(OPERATIONS), list(OPERATIONS.values())
    last: list[str] = []
    for i in range(count):
        operation = world.choice.choices(kinds, weights)[0]
        before = world.numbers() if world.alone else ()
        raised, changes = "", False
        try:
            changes = operation(world)
        except dr.DeltaruleError as error:
            raised = f"{type(error).__name__}: {str(error)[:80]}"
        except BaseException as error:
            raised = f"{type(error).__name__}: {str(error)[:200]}"
            problems.append(f"{i}: {operation.__name__} raised {raised} {where(error)}")
        if before:
            wrong = is_whole(world) if i % 100 == 99 else None
            if operation is not train and (raised or not changes) and world.numbers() != before:
                wrong = f"changed numbers and {'raised ' + raised if raised else 'said nothing'}"
            if wrong:
                problems.append(f"{i}: {operation.__name__} {wrong}; before it {last[-3:]}")
                world.renew()
        last = [*last[-3:], f"{operation.__name__} {raised}"]
        if len(problems) >= ENOUGH:
            return


def where(error: BaseException) -> str:
    """Return the innermost line of ours that an error passed."""
    import traceback

    lines = list(traceback.extract_tb(error.__traceback__))
    return " <- ".join(f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno}" for f in lines[:-5:-1])


def main(engine: str, threads: int, seed: int, count: int) -> int:
    warnings.simplefilter("error")
    logging.disable()
    problems: list[str] = []
    first = World(engine, random.Random(seed))
    if threads == 1:
        fuzz(first, count, problems)
    else:
        worlds = [copy.copy(first) for _ in range(threads)]  # the same things for all
        for number, world in enumerate(worlds):
            world.alone = False
            world.choice = random.Random(f"{seed} {number}")
        team = [
            threading.Thread(target=fuzz, args=(world, count // threads, problems))
            for world in worlds
        ]
        for thread in team:
            thread.start()
        for thread in team:
            thread.join()
        problems += filter(None, [is_whole(world) for world in worlds])
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    return min(len(problems), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
