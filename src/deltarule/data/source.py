"""Where examples come from, block by block, and how they are cut into batches.

Data in memory is a source of one block. A source larger than memory hands out one block after the
other. In which order rows are visited is a pure function of (seed, epoch, block), so that a run can
be taken up at any position, by any engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.random import Purpose, permutations
from deltarule.base.types import Array
from deltarule.data.arrays import Dataset, joined

ROWS_ORDERED_AT_ONCE = 1 << 18
"""Of several epochs; the orders take 2 MiB, or that of one epoch where it has more rows."""


class Orders:
    """The order of the rows in each epoch, drawn elsewhere; ``shuffle`` may be one."""

    def of_epoch(self, epoch: int) -> Array:
        """Return the order of an epoch (from 0 on); it is asked again where a call ends in it."""
        raise NotImplementedError


Shuffle: TypeAlias = bool | Array | Orders
"""Whether rows are in random order, or one order for all epochs, or one for each."""


class Source(Protocol):
    """Examples in blocks of rows."""

    @property
    def lengths(self) -> Sequence[int]:
        """Number of rows of each block."""
        ...

    def block(self, i: int) -> Dataset:
        """Return the checked examples of a block."""
        ...


class InMemory(NamedTuple):
    """A source of one block: arrays in memory, or memory-mapped."""

    data: Dataset

    @property
    def lengths(self) -> Sequence[int]:
        """The number of rows."""
        return (len(self.data),)

    def block(self, i: int) -> Dataset:
        """Return all examples."""
        return self.data


class Stretch(NamedTuple):
    """Consecutive steps over examples in memory: what an engine runs without asking again.

    Attributes
    ----------
    data : Dataset
    orders : array (k, visited) of int64, or None
        The rows visited in each epoch touched, the same in all where k is 1. None: all rows, as
        they are.
    epoch : int
        Of the first step, counted from the run's first epoch.
    first_batch : int
        Number of the first step's batch among those that the visited rows make.
    steps, steps_per_epoch : int
    batch_size : int
    """

    data: Dataset
    orders: Array | None
    epoch: int
    first_batch: int
    steps: int
    steps_per_epoch: int
    batch_size: int

    def batches(self) -> Iterator[tuple[int, slice | Array]]:
        """Yield (epoch, rows) of each step."""
        visited = len(self.data) if self.orders is None else self.orders.shape[1]
        for i in range(self.first_batch, self.first_batch + self.steps):
            epoch, batch = divmod(i, self.steps_per_epoch)
            first = batch * self.batch_size
            rows = slice(first, min(first + self.batch_size, visited))
            if self.orders is None:
                yield self.epoch + epoch, rows
            else:
                yield self.epoch + epoch, self.orders[epoch if len(self.orders) > 1 else 0][rows]

    def weighted(self) -> Array | None:
        """Return which steps have a row whose weight is not 0, (steps,); None: all have."""
        weights = self.data.weights
        if weights is None or weights.all():
            return None
        has: Array = (weights if weights.ndim == 1 else weights.max(axis=1)).astype(bool)
        visited = has[None] if self.orders is None else has[self.orders]
        visited = visited[:, : self.steps_per_epoch * self.batch_size]
        batches = np.zeros((len(visited), self.steps_per_epoch * self.batch_size), dtype=bool)
        batches[:, : visited.shape[1]] = visited
        cut: Array = batches.reshape(-1, self.steps_per_epoch, self.batch_size)
        epoch, batch = np.divmod(
            np.arange(self.first_batch, self.first_batch + self.steps), self.steps_per_epoch
        )
        steps: Array = cut[epoch if len(cut) > 1 else 0, batch].any(axis=1)
        return steps


class Batches:
    """How a source is cut into the steps of an epoch.

    Attributes
    ----------
    source : Source
    size : int
        Rows of a batch.
    drop_last : bool
        Whether a last, smaller batch is left out.
    shuffle : bool, array or Orders
        Whether each epoch has a random order of the blocks and of the rows of each; or, for a
        source of one block, a given order of its rows, or one for each epoch.
    seed : int
    rows, steps_per_epoch : int
        Of all blocks.

    Notes
    -----
    A single batch is not shuffled: an order would change nothing but the order of sums. A batch
    may reach over the end of a block; then its rows are copied.
    """

    def __init__(
        self,
        source: Source,
        size: int,
        *,
        drop_last: bool = False,
        shuffle: Shuffle = False,
        seed: int = 0,
    ) -> None:
        lengths = source.lengths
        if not isinstance(shuffle, bool) and len(lengths) != 1:
            raise InvalidValueError("a given order is for data in one block; use shuffle=True")
        self.source, self.size, self.drop_last = source, size, drop_last
        self.shuffle, self.seed = shuffle, seed
        self.rows = sum(lengths)
        self.steps_per_epoch = self.rows // size if drop_last else -(-self.rows // size)
        # The order of one epoch: calls of single steps ask for it again and again.
        self._last: tuple[tuple[int, int], Array] | None = None

    @property
    def _epochs_ordered_at_once(self) -> int:
        if isinstance(self.shuffle, Orders) or (self.shuffle is True and self.size < self.rows):
            return max(1, ROWS_ORDERED_AT_ONCE // self.rows)
        return 1 << 62

    def orders(self, epoch: int, count: int, block: int) -> Array | None:
        """Return a block's orders of rows in ``count`` epochs from ``epoch``; None: as they are.

        (count, rows), or (1, rows) where all are the same.
        """
        if isinstance(self.shuffle, np.ndarray):
            return self.shuffle[None]
        if isinstance(self.shuffle, Orders):
            return np.stack([self.shuffle.of_epoch(epoch + i) for i in range(count)])
        if not self.shuffle or self.size >= self.rows:
            return None
        if count > 1:
            return self._drawn(epoch, count, block)
        if self._last is None or self._last[0] != (epoch, block):
            self._last = (epoch, block), self._drawn(epoch, 1, block)
        return self._last[1]

    def _drawn(self, epoch: int, count: int, block: int) -> Array:
        n = self.source.lengths[block]
        return permutations(self.seed, Purpose.SHUFFLE, n, first_step=epoch, count=count, row=block)

    def blocks(self, epoch: int) -> list[int]:
        """Return the order of the blocks in an epoch."""
        count = len(self.source.lengths)
        if count == 1 or not self.shuffle or self.size >= self.rows:
            return list(range(count))
        drawn = permutations(self.seed, Purpose.SHUFFLE_BLOCKS, count, first_step=epoch)
        return [int(block) for block in drawn[0]]

    def stretches(self, epoch: int, batch: int, steps: int) -> Iterator[Stretch]:
        """Yield the stretches that make ``steps`` steps from a position (epoch, batch)."""
        per_epoch = self.steps_per_epoch
        first = epoch
        if len(self.source.lengths) == 1:
            data = self.source.block(0)
            if self.shuffle is False:
                yield Stretch(data, None, 0, batch, steps, per_epoch, self.size)
                return
            # Epochs whose orders are all drawn at once, so that one call of an engine does them.
            together = self._epochs_ordered_at_once
            while steps > 0:
                count = min(steps, together * per_epoch - batch)
                orders = self.orders(epoch, -(-(batch + count) // per_epoch), 0)
                yield Stretch(data, orders, epoch - first, batch, count, per_epoch, self.size)
                done, batch = divmod(batch + count, per_epoch)
                steps, epoch = steps - count, epoch + done
            return
        while steps > 0:
            count = min(steps, per_epoch - batch)
            for data, order in self._parts(epoch, batch, count):
                rows = len(data) if order is None else len(order)
                own = -(-rows // self.size)
                orders = None if order is None else order[None]
                yield Stretch(data, orders, epoch - first, 0, own, own, self.size)
            steps, epoch, batch = steps - count, epoch + 1, 0

    def _parts(self, epoch: int, batch: int, count: int) -> Iterator[tuple[Dataset, Array | None]]:
        """Yield (examples, order) that hold ``count`` batches of an epoch over several blocks.

        Of a block come its whole batches at once. A batch that its end has cut is put together
        from the blocks that it lies in.
        """
        first, end = batch * self.size, min((batch + count) * self.size, self.rows)
        cut: list[Dataset] = []
        missing, at = 0, 0  # rows of the batch that was cut; rows of the epoch before this block
        for block in self.blocks(epoch):
            low, high = max(first - at, 0), min(end - at, self.source.lengths[block])
            at += self.source.lengths[block]
            if low >= high:
                continue
            data, orders = self.source.block(block), self.orders(epoch, 1, block)
            if cut:
                taken = min(missing, high - low)
                cut.append(data.take(_rows(orders, low, low + taken)))
                missing, low = missing - taken, low + taken
                if missing:
                    continue
                yield joined(cut), None
                cut = []
            # The epoch's last batch may be smaller; any other that ends here is cut.
            whole = high if at >= end else low + (high - low) // self.size * self.size
            if whole > low:
                part = _rows(orders, low, whole)
                if isinstance(part, slice):
                    yield data.take(part), None
                else:
                    yield data, part
            if whole < high:
                cut = [data.take(_rows(orders, whole, high))]
                start = at - self.source.lengths[block] + whole
                missing = min(self.size, end - start) - (high - whole)


def _rows(orders: Array | None, low: int, high: int) -> slice | Array:
    return slice(low, high) if orders is None else orders[0, low:high]
