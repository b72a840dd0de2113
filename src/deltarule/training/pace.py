"""How many steps a call of an engine does."""

from __future__ import annotations

from deltarule.data.source import Batches

SECONDS_PER_CALL = 0.25
"""About how long one call of an engine lasts where nothing in Python is due after each epoch."""
LARGEST_GROWTH = 64
"""At most so many times as long is each such call as the one before."""
STEPS_PER_CALL = 1 << 13
"""At most so many steps in such a call: its tables stay in the cache."""
ROWS_PER_CALL = 1 << 16
"""About so many rows in a call whose outputs the metrics want: what is kept of them is small."""


def steps_per_unit(batches: Batches) -> int:
    """Return after how many steps of an epoch the metrics take the outputs together."""
    return max(1, ROWS_PER_CALL // batches.size)


class Pace:
    """The length of the calls of one run.

    Where something in Python is due after each epoch, a call ends with the epoch (or after as many
    epochs as all callbacks allow ``together``), or earlier, where the outputs of an epoch would
    take much memory. Otherwise calls grow until they last long enough for their own cost not to
    count.
    """

    def __init__(
        self, batches: Batches, *, each_epoch: bool, together: bool, outputs: bool
    ) -> None:
        self._per_epoch = batches.steps_per_epoch
        self._each_epoch, self._together = each_epoch, together
        self._unit = steps_per_unit(batches) if outputs else self._per_epoch
        self._largest = max(1, STEPS_PER_CALL // self._per_epoch)
        self._epochs = 1

    def steps(self, batch: int, at_once: int) -> int:
        """Return how many steps the next call does, from a batch of an epoch on.

        ``at_once``: how many epochs the callbacks allow in one call.
        """
        if self._each_epoch:
            epochs = max(1, min(at_once, self._largest)) if self._together else 1
            end = self._unit - batch % self._unit if epochs == 1 else 1 << 62
            return min(epochs * self._per_epoch - batch, end)
        return self._epochs * self._per_epoch - batch

    def took(self, seconds: float) -> None:
        """Learn from how long the last call lasted."""
        if not self._each_epoch:
            growth = min(SECONDS_PER_CALL / seconds, LARGEST_GROWTH)
            self._epochs = max(1, min(int(self._epochs * growth), self._largest))
