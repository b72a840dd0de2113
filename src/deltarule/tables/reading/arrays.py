"""Arrow's arrays from and to NumPy's, through their buffers.

pyarrow's own conversions (``pa.scalar``, ``pa.array``, ``to_numpy``) import pandas where it is
installed: 40 MB that streaming a file does not need.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from deltarule.tables.reading.opening import arrow


def strings(words: Sequence[str]) -> Any:
    """Return an array of text."""
    pa = arrow()
    raw = [word.encode() for word in words]
    offsets = np.cumsum([0, *map(len, raw)]).astype(np.int32)
    buffers = pa.py_buffer(offsets), pa.py_buffer(b"".join(raw))
    return pa.StringArray.from_buffers(len(words), *buffers)


@cache
def constant(word: str) -> Any:
    """Return a scalar of text."""
    return strings([word])[0]


@cache
def nothing() -> Any:
    """Return a missing text."""
    return arrow().nulls(1, arrow().string())[0]


def mask(flags: np.ndarray) -> Any:
    """Return an array of truth values."""
    pa = arrow()
    bits = pa.py_buffer(np.packbits(flags, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.bool_(), len(flags), [None, bits])


def flags(column: Any) -> np.ndarray:
    """Return a column of truth values; what is missing is false."""
    pieces = [np.zeros(0, bool)]
    for chunk in column.chunks:
        valid, values = chunk.buffers()
        found = _bits(values, chunk)
        pieces.append(found & _bits(valid, chunk) if chunk.null_count else found)
    return np.concatenate(pieces)


def _bits(buffer: Any, chunk: Any) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little")
    return bits[chunk.offset : chunk.offset + len(chunk)].astype(bool)


def is_bare(chunk: Any) -> bool:
    """Return whether no text of an array is missing, blank or has spaces around it."""
    if not len(chunk):
        return True
    offsets = np.frombuffer(chunk.buffers()[1], np.int32)
    offsets = offsets[chunk.offset : chunk.offset + len(chunk) + 1]
    if chunk.null_count or (offsets[1:] == offsets[:-1]).any():
        return False
    letters = np.frombuffer(chunk.buffers()[2], np.uint8)
    first, last = letters[offsets[:-1]], letters[offsets[1:] - 1]
    # Bytes of 128 and more may belong to a space that is not ASCII.
    return bool(min(first.min(), last.min()) > 32 and max(first.max(), last.max()) < 128)
