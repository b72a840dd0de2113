"""Whatever is wrong in a file, it is read, or refused with one clear error; quickly."""

from __future__ import annotations

import contextlib
import io
import random

import pytest

from deltarule.tables.columns import Columns
from deltarule.tables.reading import read_blocks, read_table
from oracles import oracle

pyarrow = oracle("pyarrow")

import mutations  # noqa: E402  needs pyarrow

SEEDS, EXAMPLES = 4, 60


@pytest.mark.parametrize("seed", range(SEEDS))
def test_mutated_files_are_read_or_refused(seed: int) -> None:
    assert list(mutations.faults(mutations.originals(), seed, EXAMPLES)) == []


DATES = "31.12.1999\n" * 12
FAULTS = {
    "both infinities in a column": b"a,b\n1.5,x\ninf,y\n1.5,x\n1.5,x\n-inf,z\n",
    "nearly nothing but infinities": b"size\n" + b"1e999\n" * 12 + b"1e99\n",
    "a pile of what stands for nothing, and infinities": b"a,b\n" + b"-200,x\n1e999,y\n" * 6,
    "the same date in every row but one": f"when\n{DATES}soon\n".encode(),
    "the sign for a number in the text": b'"1,5",x\n"2,25",y\n"#,5",z\n',
    "a title, and rows wider than the header": b"2,3?,60,q,4\n1,2(5\n0,1,4\na,b\n",
    "JSON with a name that is no UTF-8": b'{"\xc3a": 1, "b": 4}\n{"a": 2, "b": 5}\n',
    "a mark of UTF-8, then Latin-1": b"\xef\xbb\xbfa,b\nK\xf6ln,1,2\nBonn,2\nUlm,3\n",
    "a first row that the last line ends with": b'a,b\nx,2a,b\nx,2a,b\n"",-200\t1\nx,2a,b\n',
    "only the last lines are too many": b"a,1,4\n2,5\n3,6\n# by hand\n# gap\n",
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_that_were_found_do_not_come_again(name: str) -> None:
    for seed in range(4):  # of the size of blocks, and of the target
        with contextlib.suppress(*mutations.KNOWN):
            mutations.prepare(FAULTS[name], random.Random(seed))


def test_rows_that_are_neither_rows_nor_utf8_leave_no_traceback(capfd, tmp_path) -> None:
    """They stand far below the head, so that pyarrow meets them first."""
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n" + b"1,x\n" * 100_000 + b"K\xf6ln,1,2\n" + b"2,y\n" * 9)
    assert read_table(path).table.num_rows == 100_009
    assert sum(block.num_rows for block in read_blocks(path)) == 100_009
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [24, 1 << 20])
def test_damaged_columns_of_parquet_are_refused(size: int) -> None:
    """Text that is no UTF-8 would be met by the first who looks at it."""
    file, text = io.BytesIO(), pyarrow.array(["red", "blue", "blue"]).cast("binary")
    broken = pyarrow.array([b"red", b"\xff\xfe", None]).view("string")
    mutations.ipc(pyarrow.table({"a": text.view("string"), "b": broken}), file)
    for read in (read_table, lambda place: list(read_blocks(place, block_bytes=size))):
        with pytest.raises(OSError, match="cut or damaged"):
            read(io.BytesIO(file.getvalue()))


def test_a_short_line_is_no_footer_because_the_last_line_ends_with_its_text() -> None:
    file = b"a,b,c\n1,2\n5,6,7\n8,1,2\n"
    assert read_table(io.BytesIO(file)).table["c"].to_pylist() == [None, 7, 2]


def test_a_header_in_a_comment_is_found_where_a_header_is_told_of() -> None:
    file = b"# x,y,z\n1.5,2,a\n2.5,3,b\n3.5,4,a\n"
    table = {"x": [1.5, 2.5, 3.5], "y": [2, 3, 4], "z": ["a", "b", "a"]}
    for header in (None, True):
        assert read_table(io.BytesIO(file), header=header).table.to_pydict() == table


def test_a_date_that_never_changes_is_a_constant() -> None:
    (column,) = Columns().fit({"when": ["31.12.1999"] * 12 + ["soon"]}).columns
    assert (column.kind, column.reason) == ("constant", "every value is the same date")
