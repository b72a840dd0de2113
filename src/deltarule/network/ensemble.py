"""Several networks whose outputs are averaged."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from deltarule.base.errors import (
    FileFormatError,
    InvalidTypeError,
    InvalidValueError,
    describe_value,
)
from deltarule.base.settings import check_sequence
from deltarule.base.types import Array
from deltarule.base.words import Leading, helpful
from deltarule.network.model_file import load_networks, save_networks
from deltarule.network.network import Network

if TYPE_CHECKING:
    from pathlib import Path


@helpful
class Ensemble(Leading):
    """Networks whose outputs are averaged; one file holds them all.

    ::

        outputs = mean over networks of network.predict(X)

    of classifiers the mean of their probabilities. For squared errors and cross-entropies, which
    are convex in the outputs, the average has a loss at most the mean of the networks' losses.

    Parameters
    ----------
    networks : sequence of Network
        At least one; all have the same inputs and outputs.

    Attributes
    ----------
    networks : tuple of Network
    inputs, outputs : int

    Raises
    ------
    ValueError, TypeError
        The networks do not belong together.

    Notes
    -----
    Sources: Hansen and Salamon, "Neural network ensembles" (1990); Krogh and Vedelsby, "Neural
    network ensembles, cross validation, and active learning" (1994).

    Examples
    --------
    >>> import io, numpy as np, deltarule as dr
    >>> nets = [dr.Network([dr.Dense(1)], inputs=2, seed=seed) for seed in (0, 1, 2)]
    >>> ensemble = dr.Ensemble(nets)
    >>> X = np.ones((4, 2))
    >>> bool(np.allclose(ensemble.predict(X), np.mean([net.predict(X) for net in nets], axis=0)))
    True
    >>> file = io.BytesIO()
    >>> ensemble.save(file)
    >>> _ = file.seek(0)
    >>> len(dr.Ensemble.load(file))
    3
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        if isinstance(networks, Network):
            networks = [networks]
        found = check_sequence("networks", networks, "networks")
        for network in found:
            if not isinstance(network, Network):
                raise InvalidTypeError(
                    f"networks must be deltarule.Networks, got {describe_value(network)}"
                )
        if not found:
            raise InvalidValueError("networks: an ensemble has at least one, got none")
        first = found[0]
        for i, network in enumerate(found):
            for what in ("inputs", "outputs", "feature_names"):
                one, other = getattr(first, what), getattr(network, what)
                if one != other:
                    raise InvalidValueError(
                        f"networks: all must have the same {what}; those of the first are "
                        f"{describe_value(one)}, those of number {i} {describe_value(other)}"
                    )
        self._networks: tuple[Network, ...] = found

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks."""
        return self._networks

    @property
    def inputs(self) -> int:
        """Columns of the features."""
        return self._networks[0].inputs

    @property
    def outputs(self) -> int:
        """Columns of the outputs."""
        return self._networks[0].outputs

    def __len__(self) -> int:
        return len(self._networks)

    def predict(
        self,
        X: Any,
        *,
        batch_size: int | None = None,
        engine: str = "auto",
        threads: int | None = None,
    ) -> Array:
        """Return the mean of the networks' outputs, (n, outputs); see :meth:`Network.predict`.

        Sums are in float64, the result has the networks' dtype.
        """
        total: Any = 0.0
        for network in self._networks:
            outputs = network.predict(X, batch_size=batch_size, engine=engine, threads=threads)
            total = total + outputs.astype(np.float64)
        dtype = np.result_type(*(network.dtype for network in self._networks))
        mean: Array = (total / len(self._networks)).astype(dtype)
        return mean

    def save(self, path: str | PathLike[str] | BinaryIO) -> Path | None:
        """Write all networks to one safetensors file and return its path; see docs/files.md.

        Raises
        ------
        OSError
            The file cannot be written; an existing one of that name is unchanged.
        """
        return save_networks(self._networks, path)

    @classmethod
    def load(cls, path: str | PathLike[str] | BinaryIO) -> Ensemble:
        """Return the ensemble of a file that :meth:`save` wrote, or that has a single network.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        OSError
            The file has none, is damaged, or comes from a newer version.
        """
        found = load_networks(path)
        if found.about.keys() & {"columns", "multilayer"}:
            raise FileFormatError(
                "the networks of this file belong to an estimator; deltarule.sklearn.load(path) "
                "returns it"
            )
        return cls(found.networks)

    def __repr__(self) -> str:
        return f"Ensemble({len(self)} networks; the first: {self._networks[0]!r})"
