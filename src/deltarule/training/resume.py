"""Going on with a run from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

from deltarule.base.errors import InvalidValueError
from deltarule.base.log import warn
from deltarule.base.settings import check_flag, check_integer, check_sequence
from deltarule.base.words import helpful
from deltarule.formulas.clipping import Clip
from deltarule.formulas.constraints import Constraint
from deltarule.formulas.full_batch import LBFGS
from deltarule.formulas.losses import Loss
from deltarule.formulas.optimizers import Optimizer
from deltarule.formulas.penalties import Penalty
from deltarule.network.model_file import describing, load_networks
from deltarule.network.network import Network
from deltarule.plan import ClipLike, ConstraintLike, LossLike, OptimizerLike, PenaltyLike
from deltarule.training import watching
from deltarule.training.averaging import EMA, SWA
from deltarule.training.callbacks import Callback, check_callbacks
from deltarule.training.checkpoint_file import (
    described,
    name_of,
    rebuilt,
    rebuilt_weights,
    saved_in,
)
from deltarule.training.checkpoints import Checkpoint
from deltarule.training.evaluation import resolve_metrics
from deltarule.training.history import History
from deltarule.training.loop import in_order
from deltarule.training.progress import Display
from deltarule.training.run_log import Log
from deltarule.training.time_budget import TimeBudget
from deltarule.training.trainer import Trainer, check_on_interrupt

if TYPE_CHECKING:
    from pathlib import Path

_FAMILIES: dict[str, Any] = {
    "loss": Loss.resolve,
    "optimizer": Optimizer.resolve,
    "penalty": Penalty.resolve,
    "constraint": Constraint.resolve,
    "clip": Clip.resolve,
}
_OURS = {
    kind.__qualname__: kind
    for kind in (
        watching.EarlyStopping,
        watching.ReduceOnPlateau,
        Checkpoint,
        Log,
        TimeBudget,
        EMA,
        SWA,
    )
}


class Resumed(NamedTuple):
    """What :func:`resume` returns: the trained network, and the history of the whole run."""

    network: Network
    history: History


@helpful
def resume(
    path: str | PathLike[str],
    X: Any,
    y: Any,
    *,
    validation: Any = None,
    sample_weight: Any = None,
    shuffle: Any = None,
    epochs: int | None = None,
    loss: LossLike | None = None,
    optimizer: OptimizerLike | None = None,
    penalty: PenaltyLike = None,
    constraint: ConstraintLike = None,
    clip: ClipLike = None,
    metrics: Iterable[Any] | None = None,
    callbacks: Sequence[Callback] | None = None,
    other_data: bool = False,
    threads: int | None = None,
    engine: str | None = None,
    progress: bool | str | Display = "auto",
    on_interrupt: str = "raise",
) -> Resumed:
    """Go on with a run from a checkpoint; it ends in the same bits as one never interrupted.

    That holds from any step, within an epoch too, on any number of threads, with the engine and
    vector target that wrote the checkpoint. Another one goes on too, and a warning says that the
    last bits may differ.

    Parameters
    ----------
    path : str or Path
        The folder of :class:`Checkpoint`, of which the latest is taken, or one file.
    X, y, sample_weight
        The data that the run began with. They are compared by a fingerprint.
    validation, shuffle
        As in :func:`deltarule.train`, where the run had validation data or an order of rows that
        were passed as arrays. A fraction, True and False are in the checkpoint.
    epochs : int, optional
        Of the whole run; by default as many as it was to have. More go on from its end; a
        learning rate that spans the run is then spread over all of them.
    loss, optimizer, penalty, constraint, clip, metrics, callbacks : optional
        They are in the checkpoint. What Python made must be passed again, and is compared by its
        name: a loss or schedule of your own that no file can describe, functions as metrics,
        callbacks of your own (then all callbacks, in the same order). Classes of your own that
        have a ``name`` only need to be imported.
    other_data : bool
        Whether the run may go on with other data, from the end of an epoch.
    threads, engine, progress, on_interrupt
        As in :func:`deltarule.train`; ``engine`` is that of the run by default.

    Returns
    -------
    Resumed
        The network and the history of the whole run: ``net, history = dr.resume(...)``.

    Raises
    ------
    FileNotFoundError
        There is no checkpoint.
    OSError
        The file is no checkpoint, is damaged, or comes from a newer version.
    ValueError, TypeError
        The data or settings are not those of the run.

    Examples
    --------
    >>> import tempfile, numpy as np, deltarule as dr
    >>> X = np.linspace(0, 1, 20)[:, None]
    >>> net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(1)], inputs=1, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = dr.train(net, X, X**2, loss="squared_error", epochs=3,
    ...                        callbacks=[dr.Checkpoint(folder)])
    ...     net, history = dr.resume(folder, X, X**2, epochs=5)
    >>> history.epochs
    5
    """
    from deltarule.base.files import shown
    from deltarule.training.checkpoint_folder import checkpoint_at

    check_on_interrupt(on_interrupt)
    check_flag("other_data", other_data)
    if epochs is not None:
        check_integer("epochs", epochs)
    path = checkpoint_at(path)
    file = load_networks(path)
    if "checkpoint" not in file.about:
        raise InvalidValueError(
            f"{shown(path)} is a network without a run to go on with; dr.load(path) returns it"
        )
    saved = saved_in(file, path)
    settings, run = saved["settings"], saved["run"]
    given = {
        "loss": loss,
        "optimizer": optimizer,
        "penalty": penalty,
        "constraint": constraint,
        "clip": clip,
    }
    parts = {
        name: rebuilt(name, settings[name], given[name], _FAMILIES[name], path) for name in given
    }
    metrics = _metrics(settings["metrics"], metrics, path)
    hooks = _callbacks(saved["callbacks"], callbacks, path)
    trainer = Trainer(
        file.networks[0],
        **parts,
        metrics=metrics,
        class_weight=rebuilt_weights(settings["class_weight"]),
        precision=settings["precision"],
        seed=settings["seed"],
        threads=threads,
        engine=settings["engine"] if engine is None else engine,
    )
    trainer._go_back_to(saved)
    found = trainer.engine.describe()
    if found != saved["engine"]:
        warn(
            f"the checkpoint was written by the engine {saved['engine']}, this is {found}: the run "
            "goes on, and its last bits may differ"
        )
    if isinstance(trainer.optimizer, LBFGS):
        warn(
            "LBFGS forgets at a checkpoint what it has learnt of the curvature: the run goes on "
            "from the same point, by other steps"
        )
    history, _ = trainer._run_and_score(
        X,
        y,
        epochs=run["epochs"] if epochs is None else epochs,
        batch_size=run["batch_size"],
        drop_last=run["drop_last"],
        shuffle=_given("shuffle", run["shuffle"], shuffle),
        validation=_given("validation", run["validation"], validation),
        sample_weight=sample_weight,
        callbacks=hooks,
        progress=progress,
        raises=on_interrupt == "raise",
        restores=run["restores"],
        resumed=saved,
        other_data=other_data,
    )
    return Resumed(trainer.network, history)


def _given(what: str, stored: Any, passed: Any) -> Any:
    """Return an argument of the run: what the file says, or where that was data, what is passed."""
    if stored != "given":
        same = type(passed) is type(stored) and passed == stored
        if passed is not None and not same:
            raise InvalidValueError(f"the run had {what}={stored!r}; leave {what} out")
        return stored
    if passed is None:
        raise InvalidValueError(f"the run had {what} data of its own: pass it again, {what}=...")
    return passed


def _metrics(stored: list[Any], given: Iterable[Any] | None, path: Path) -> Any:
    """Return the metrics of the run, as passed or as described."""
    if given is None:
        return [rebuilt("metrics", one, None, None, path) for one in stored]
    given = check_sequence("metrics", given, "names")
    found = [described(metric) for metric in resolve_metrics(given).values()]
    if found != stored:
        raise InvalidValueError(f"metrics are {_names(found)}, those of the run {_names(stored)}")
    return given


def _names(metrics: list[Any]) -> str:
    return ", ".join(str(one.get("python") or one.get("metric")) for one in metrics) or "none"


def _callbacks(
    stored: list[Mapping[str, Any]], given: Sequence[Callback] | None, path: Path
) -> list[Callback]:
    """Return the callbacks of the run, in their order: passed again, or made again."""
    names = [kept["class"] for kept in stored]
    if given is not None:
        hooks = in_order(check_callbacks(given))
        if not any(isinstance(hook, Checkpoint) for hook in hooks):
            hooks += [_made(kept, path) for kept in stored if _kind(kept) is Checkpoint]
        found = [name_of(type(hook)) for hook in hooks]
        if found != names:
            raise InvalidValueError(
                f"callbacks are {', '.join(found) or 'none'}, those of the run {', '.join(names)}; "
                "pass all of them in the same order (checkpoints may be left out)"
            )
        return hooks
    foreign = [kept["class"] for kept in stored if _kind(kept) is None]
    if foreign:
        raise InvalidValueError(
            f"the run had callbacks of your own ({', '.join(foreign)}): pass callbacks=[...], all "
            "of them in the same order"
        )
    return [_made(kept, path) for kept in stored]


def _kind(kept: Mapping[str, Any]) -> type[Callback] | None:
    """Return the class of a callback that can be made again, or None."""
    kind = _OURS.get(kept["class"].rpartition(".")[2])
    return kind if kind is not None and name_of(kind) == kept["class"] else None


def _made(kept: Mapping[str, Any], path: Path) -> Callback:
    kind = _kind(kept)
    assert kind is not None
    with describing(path, "a checkpoint"):
        settings = dict(kept["settings"])
        if kind is Checkpoint:
            settings["folder"] = path.parent  # which may have been moved
        return kind(**settings)
