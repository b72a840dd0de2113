"""Frames: one way to their columns, whoever made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from deltarule.base.errors import (
    InvalidTypeError,
    InvalidValueError,
    describe_value,
    missing_extra,
)
from deltarule.base.types import Array
from deltarule.tables.cells import DAY, Cells, of_array, of_objects, text


class Frame(Protocol):
    """A table whose columns can be read, some rows at a time."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, each once."""
        ...

    @property
    def rows(self) -> int:
        """How many rows there are."""
        ...

    def cells(self, column: int, rows: slice | None = None) -> Cells:
        """Return the cells of a column: all of them or those of some rows."""
        ...

    def take(self, rows: Array) -> Frame:
        """Return a frame of some rows, by their numbers."""
        ...


def frame_of(data: Any, what: str = "X") -> Frame:
    """Return a frame for whatever holds a table.

    Parameters
    ----------
    data : frame of pandas, polars, pyarrow or narwhals; 2-D or structured NumPy array; matrix of
        scipy.sparse; list of rows (lists, tuples or dicts); dict of columns
    what : str
        What it is called in messages.

    Raises
    ------
    TypeError
        It is none of them.
    ValueError
        It has no columns, or columns of different lengths.
    """
    frame = _frame_of(data, what)
    if not frame.names:
        raise InvalidValueError(f"{what} has no columns; expected a table of at least one")
    return frame


def _frame_of(data: Any, what: str) -> Frame:
    if isinstance(data, _KNOWN):
        return data
    if isinstance(data, np.ndarray):
        return _of_numpy(data, what)
    if isinstance(data, Mapping):
        return _of_mapping(data, what)
    if isinstance(data, (list, tuple)):
        return _of_rows(data, what)
    if hasattr(data, "tocsc") and hasattr(data, "nnz"):
        return SparseFrame(data)
    try:
        import narwhals.stable.v2 as nw
    except ImportError:
        raise missing_extra("reading a data frame", "sklearn") from None
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        data = _with_text_names(data)
    native = nw.from_native(data, eager_only=True, pass_through=True)
    if not isinstance(native, nw.DataFrame):
        hint = ""
        if isinstance(nw.from_native(data, series_only=True, pass_through=True), nw.Series):
            hint = "; a single column becomes a frame by .to_frame()"
        elif isinstance(nw.from_native(data, pass_through=True), nw.LazyFrame):
            hint = "; a lazy frame becomes one by .collect()"
        raise InvalidTypeError(
            f"{what} must be a table: a frame of pandas, polars or pyarrow, a 2-D array, a list of "
            f"rows or a dict of columns; got {describe_value(data)}{hint}"
        )
    return NativeFrame(native)


def apart(names: Sequence[Any]) -> tuple[str, ...]:
    """Return names as text, repeated ones as "a", "a.2", "a.3"."""
    taken = {str(name) for name in names}
    seen: set[str] = set()
    found = []
    for name in map(str, names):
        new, count = name, 1
        while new in seen or (count > 1 and new in taken):
            count += 1
            new = f"{name}.{count}"
        seen.add(new)
        found.append(new)
    return tuple(found)


def _with_text_names(data: Any) -> Any:
    """Return a pandas frame whose names are text, each once; without a copy of the cells."""
    names = list(data.columns)
    if all(type(name) is str for name in names) and len(set(names)) == len(names):
        return data
    flat = [" ".join(map(str, name)) if isinstance(name, tuple) else name for name in names]
    return data.set_axis(list(apart(flat)), axis=1)


@dataclass(frozen=True)
class ArrayFrame:
    """A two-dimensional NumPy array; its columns are named "0", "1", ..."""

    data: Array
    names: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.data)

    def cells(self, column: int, rows: slice | None = None) -> Cells:
        """Return the cells of a column."""
        cells = self.data[:, column]
        return of_array(cells if rows is None else cells[rows])

    def take(self, rows: Array) -> Frame:
        """Return a frame of some rows, by their numbers."""
        return ArrayFrame(self.data[rows], self.names)


@dataclass(frozen=True)
class ColumnsFrame:
    """Columns as NumPy arrays, by name."""

    data: tuple[Array, ...]
    names: tuple[str, ...]
    rows: int

    def cells(self, column: int, rows: slice | None = None) -> Cells:
        """Return the cells of a column."""
        cells = self.data[column]
        return of_array(cells if rows is None else cells[rows])

    def take(self, rows: Array) -> Frame:
        """Return a frame of some rows, by their numbers."""
        return ColumnsFrame(tuple(c[rows] for c in self.data), self.names, len(rows))


class SparseFrame:
    """A matrix of scipy.sparse; only the cells that are asked for become dense."""

    def __init__(self, data: Any) -> None:
        self.data = data.tocsc()
        self.data.sum_duplicates()
        self.names = tuple(map(str, range(data.shape[1])))
        self.rows = int(data.shape[0])

    def cells(self, column: int, rows: slice | None = None) -> Cells:
        """Return the cells of a column."""
        start, stop = self.data.indptr[column : column + 2]
        places, values = self.data.indices[start:stop], self.data.data[start:stop]
        first, last, _ = (rows or slice(None)).indices(self.rows)
        found = np.zeros(last - first, values.dtype)
        inside = (places >= first) & (places < last)
        found[places[inside] - first] = values[inside]
        return of_array(found)

    def take(self, rows: Array) -> Frame:
        """Return a frame of some rows, by their numbers."""
        return SparseFrame(self.data[rows])


class NativeFrame:
    """A frame of pandas, polars, pyarrow, or whatever else narwhals sees."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.names = tuple(data.columns)
        self.rows = int(data.shape[0])
        native = data.to_native()
        self._arrow: Any = (
            native if hasattr(native, "schema") and hasattr(native, "column") else None
        )
        self._plain = () if self._arrow is None else tuple(map(_is_plain, native.schema.types))

    def cells(self, column: int, rows: slice | None = None) -> Cells:
        """Return the cells of a column."""
        if self._plain and self._plain[column]:
            part = self._arrow.column(column)
            if rows is not None:
                part = part.slice(rows.start, rows.stop - rows.start)
            numbers = part.to_numpy()
            type_ = "number" if self._plain[column] == "double" else "integer"
            return Cells(type_, numbers=np.asarray(numbers, np.float64))
        series = self.data.get_column(self.names[column])
        return _of_series(series if rows is None else series[rows])

    def take(self, rows: Array) -> Frame:
        """Return a frame of some rows, by their numbers."""
        return NativeFrame(self.data[rows.tolist()])


def _is_plain(type_: Any) -> str:
    """Return an Arrow type's name where its cells are numbers as NumPy has them, else ""."""
    name = str(type_)
    return name if name in ("double", "int64", "int32", "int16", "int8") else ""


def _of_series(series: Any) -> Cells:
    import narwhals.stable.v2 as nw

    dtype = series.dtype
    if dtype.is_numeric():
        numbers = series.to_numpy()
        if numbers.dtype.kind not in "iuf":
            numbers = series.cast(nw.Float64).to_numpy()
        if dtype.is_integer():
            return Cells("integer", numbers=np.asarray(numbers, np.float64))
        return of_array(np.asarray(numbers))
    if dtype == nw.Boolean:
        whole = series.cast(nw.Float64) if series.null_count() else series
        return Cells("boolean", numbers=np.asarray(whole.to_numpy(), np.float64))
    if dtype == nw.Datetime:
        clock = series.dt.replace_time_zone(None)
        micro = clock.dt.timestamp("us").cast(nw.Float64).to_numpy()
        return Cells("moment", numbers=np.asarray(micro, np.float64) / DAY)
    if dtype == nw.Date:
        micro = series.dt.timestamp("us").cast(nw.Float64).to_numpy()
        return Cells("moment", numbers=np.asarray(micro, np.float64) / DAY)
    if dtype in (nw.Categorical, nw.Enum):
        series = series.cast(nw.String)
    native = series.to_native()
    if dtype == nw.Object or dtype == nw.Unknown or not hasattr(native, "dtype"):
        if hasattr(native, "dictionary_encode") and "string" in str(native.type):
            return _of_arrow(native)
        return of_objects(series.to_list())
    if hasattr(native, "factorize") and dtype == nw.String:
        codes, values = native.factorize()
        return text([str(value) for value in values], codes.astype(np.int32))
    return of_objects(series.to_list())


def _of_arrow(native: Any) -> Cells:
    whole = native.dictionary_encode().combine_chunks() if len(native) else native
    if not len(native):
        return of_objects([])
    if hasattr(whole, "chunks"):
        whole = whole.chunk(0)
    codes = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return text(whole.dictionary.to_pylist(), codes)


_KNOWN = (ArrayFrame, ColumnsFrame, SparseFrame, NativeFrame)


def _of_numpy(data: Array, what: str) -> Frame:
    if data.dtype.names is not None and data.ndim == 1:
        names = data.dtype.names
        return ColumnsFrame(tuple(data[name] for name in names), apart(names), len(data))
    if data.ndim != 2:
        hint = f"; for one column pass {what}[:, None]" if data.ndim == 1 else ""
        raise InvalidValueError(
            f"{what} must have two dimensions, rows and columns; got shape {data.shape}{hint}"
        )
    return ArrayFrame(data, tuple(map(str, range(data.shape[1]))))


def _of_mapping(data: Mapping[Any, Any], what: str) -> Frame:
    columns = tuple(_column(values, what, name) for name, values in data.items())
    lengths = {str(name): len(c) for name, c in zip(data, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise InvalidValueError(
            f"the columns of {what} must have the same length; got {describe_value(lengths)}"
        )
    return ColumnsFrame(columns, apart(tuple(data)), next(iter(lengths.values()), 0))


def _column(values: Any, what: str, name: object) -> Array:
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return values
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise InvalidTypeError(
            f"column {name!r} of {what} must be a list of cells, got {describe_value(values)}"
        )
    cells = list(values)
    array = np.empty(len(cells), object)
    array[:] = cells
    return array


def _of_rows(data: Sequence[Any], what: str) -> Frame:
    if data and all(isinstance(row, Mapping) for row in data):
        names = list(dict.fromkeys(name for row in data for name in row))
        return _of_mapping({name: [row.get(name) for row in data] for name in names}, what)
    width = None
    for i, row in enumerate(data):
        if isinstance(row, (str, bytes)) or not hasattr(row, "__len__"):
            raise InvalidTypeError(
                f"{what} must be a list of rows; row {i} is {describe_value(row)}"
            )
        if width is not None and len(row) != width:
            raise InvalidValueError(
                f"the rows of {what} must have the same length: row 0 has {width} cells, row {i} "
                f"has {len(row)}"
            )
        width = len(row)
    names = list(range(width or 0))
    return _of_mapping(dict(zip(names, zip(*data, strict=True), strict=True)), what)
