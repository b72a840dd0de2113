"""Files as people have them are read as what they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltarule.tables.reading import read_blocks, read_table
from oracles import oracle

pa = oracle("pyarrow")


def reading(folder: Path, content: bytes, **options):
    path = folder / "table.csv"
    path.write_bytes(content)
    return read_table(path, **options)


def rows(table) -> list[tuple]:
    return list(zip(*table.to_pydict().values(), strict=True))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path: Path, separator: str) -> None:
    lines = ["name,age", "Ann,31", "Bob,45"]
    content = "\n".join(lines).replace(",", separator).encode()
    read = reading(tmp_path, content)
    assert read.dialect.separator == separator
    assert rows(read.table) == [("Ann", 31), ("Bob", 45)]


def test_a_stream_of_blocks_has_the_rows_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n" + "".join(f"{i},x{i}\n" for i in range(1000)))
    whole = read_table(path)
    blocks = list(read_blocks(path, whole.dialect, block_bytes=2000))
    assert len(blocks) > 1
    assert pa.concat_tables(blocks).equals(whole.table)
