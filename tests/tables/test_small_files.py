"""Small files as people have them, one quirk each, are the tables that they mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_files import CASES

from deltarule.tables.reading import read_blocks, read_table
from oracles import oracle

oracle("pyarrow")


@pytest.mark.parametrize("name", CASES)
def test_the_table_is_found(name: str, tmp_path: Path) -> None:
    case, path = CASES[name], tmp_path / "file.csv"
    path.write_bytes(case.content)
    read = read_table(path)
    assert read.table.to_pydict() == case.table
    assert list(read.table.column_names) == list(case.table)
    found = {key: getattr(read.dialect, key) for key in case.found}
    assert found == case.found
    assert read.rows_dropped == case.dropped


@pytest.mark.parametrize("name", CASES)
def test_blocks_are_the_same_table(name: str, tmp_path: Path) -> None:
    """What `deltarule predict` streams is what `deltarule train` has read."""
    path = tmp_path / "file.csv"
    path.write_bytes(CASES[name].content)
    read = read_table(path)
    blocks = list(read_blocks(path, read.dialect, block_bytes=24))
    found = {
        column: [value for block in blocks for value in block.column(column).to_pylist()]
        for column in blocks[0].column_names
    }
    assert found == CASES[name].table
