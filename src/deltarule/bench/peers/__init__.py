"""The libraries that are measured, each with the same small interface."""

from __future__ import annotations

from collections.abc import Iterable

from deltarule.base.errors import unknown_name
from deltarule.bench.peers.base import Absent, Peer, RestartingSession, Session
from deltarule.bench.peers.fann import Fann
from deltarule.bench.peers.jax_peer import Jax
from deltarule.bench.peers.mlpack import Mlpack
from deltarule.bench.peers.ours import Deltarule
from deltarule.bench.peers.pytorch import PyTorch
from deltarule.bench.peers.scikit import ScikitLearn

__all__ = [
    "OURS",
    "PEERS",
    "SHORT",
    "Absent",
    "Peer",
    "RestartingSession",
    "Session",
    "select_peers",
]

OURS = "deltarule"

PEERS: dict[str, Peer] = {
    peer.key: peer
    for peer in (
        Deltarule(OURS, "deltarule", "auto"),
        Deltarule("one-thread", "deltarule, one thread", "auto", one_thread=True),
        PyTorch("torch", "PyTorch", fused=False),
        PyTorch("torch-fused", "PyTorch fused", fused=True),
        Jax("jax", "JAX", all_epochs=False),
        Jax("jax-epochs", "JAX epochs", all_epochs=True),
        ScikitLearn(),
        Fann(),
        Mlpack(),
        # The last are the first to be left out where time runs short.
        Deltarule("reference", "reference engine", "reference"),
        PyTorch("torch-compile", "torch.compile", fused=True, compiled=True),
    )
}

SHORT = (
    OURS,
    "one-thread",
    "torch",
    "torch-fused",
    "jax",
    "jax-epochs",
    "sklearn",
    "fann",
    "mlpack",
)
"""Peers of the short form, without torch.compile (too slow to start) and the reference engine."""


def select_peers(names: Iterable[str] | None, default: Iterable[str] = tuple(PEERS)) -> list[Peer]:
    """Return peers by key, the default ones for None; deltarule itself always comes first.

    Raises
    ------
    ValueError
        A key is unknown.
    """
    chosen = list(default if names is None else names)
    for name in chosen:
        if name not in PEERS:
            raise unknown_name("peer", name, PEERS)
    return [PEERS[OURS], *(PEERS[name] for name in dict.fromkeys(chosen) if name != OURS)]
