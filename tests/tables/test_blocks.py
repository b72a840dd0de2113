"""A file in blocks is the same table as the whole of it, wherever the blocks end."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest

from deltarule.tables.columns import Columns
from deltarule.tables.reading import read_blocks, read_table
from oracles import oracle

pyarrow = oracle("pyarrow")

SIZES = (24, 100, 333, 1000, 1500, 5000)
ROWS = 100


def whole_then_decimals(i, choice):
    return str(i) if i < 70 else f"{i}.5"


def nothing_then_numbers(i, choice):
    return "" if i < 60 else choice.choice(["NA", "7", "-3"])


def numbers_then_a_word(i, choice):
    return "n.d." if i == 90 else str(i % 5)


def numbers_between_gaps(i, choice):
    return "-" if 30 < i < 80 else f"{i % 7}.25"


def words_among_which_are_numbers(i, choice):
    return choice.choice(["A", "12", "NA", "None", "3.5"])


def quoted(i, choice):
    return choice.choice(['"x; y, z\tu"', '"two\nlines"', '"a ""b"""', "plain", ""])


def codes(i, choice):
    return f"{choice.randrange(1000):05}"


def long_numbers(i, choice):
    return str(2**58 + i)


COLUMNS = (
    whole_then_decimals, nothing_then_numbers, numbers_then_a_word, numbers_between_gaps,
    words_among_which_are_numbers, quoted, codes, long_numbers,
)  # fmt: skip


def written(choice: random.Random) -> bytes:
    """Return a file with some of the columns, in one of the ways that people write files."""
    separator = choice.choice(",;\t")
    makers = choice.sample(COLUMNS, choice.choice([1, 3, 5]))
    header = separator.join(["name", *(maker.__name__ for maker in makers)])
    lines = [header]
    for i in range(ROWS):
        cells = [f"n{i % 9}", *(maker(i, choice) for maker in makers)]
        lines.append(separator.join(cells))
    if choice.random() < 0.5:  # what stands between rows and below them
        lines.insert(choice.randrange(80, 99), header)
        lines.insert(choice.randrange(80, 99), separator * len(makers))
    if choice.random() < 0.5 and len(makers) > 1:
        lines += [separator * len(makers), "Source: the office" + separator * len(makers)]
    if choice.random() < 0.3:
        lines = ["# by hand", *lines[:50], "# a gap", *lines[50:]]
    text = choice.choice(["\n", "\r\n", "\r"]).join(lines) + "\n" * choice.randrange(2)
    if choice.random() < 0.2:
        text = text.replace("two", "zwö")
    return text.encode(choice.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"]))


def read_as(dialect) -> dict[str, object]:
    """Return what `deltarule predict` passes on."""
    names = ("text", "integers", "floats")
    return {"header": True, **{name: list(getattr(dialect, name)) for name in names}}


@pytest.mark.parametrize("seed", range(16))
def test_blocks_of_any_size_are_the_table(seed: int) -> None:
    """Names, values and types are equal; and so is what becomes of them."""
    choice = random.Random(seed)
    file = written(choice)
    whole = read_table(io.BytesIO(file))
    assert whole.table.num_rows == ROWS
    columns = Columns().fit(whole.table)
    numbers = columns.transform(whole.table)
    for size in choice.sample(SIZES, 2):
        blocks = list(read_blocks(io.BytesIO(file), whole.dialect, block_bytes=size))
        assert pyarrow.concat_tables(blocks).equals(whole.table)
        with read_blocks(io.BytesIO(file), block_bytes=size, **read_as(whole.dialect)) as stream:
            found = np.concatenate([columns.transform(block) for block in stream])
        assert found.tobytes() == numbers.tobytes()


def test_titles_at_the_end_of_a_block_are_no_rows() -> None:
    """Only the blank line below says that they are none."""
    rows = "".join(f"city {i},{i},{i * i}\n" for i in range(9))
    file = f"name,a,b\n{rows}North,,\n,,\n{rows}South,,\n,,\n{rows}".encode()
    whole = read_table(io.BytesIO(file))
    assert whole.table.num_rows == 27
    for size in range(24, 200):
        with read_blocks(io.BytesIO(file), whole.dialect, block_bytes=size) as blocks:
            assert sum(block.num_rows for block in blocks) == 27


def test_a_few_ragged_lines_first_are_no_reason_to_refuse_the_rest() -> None:
    ragged = "".join(f"{i},2,3\n" if i % 2 else f"{i},2\n" for i in range(10))
    file = ("a,b\n0,0\n0,0\n" + ragged + "1,2\n" * 100).encode()
    assert read_table(io.BytesIO(file)).table.num_rows == 107
    with read_blocks(io.BytesIO(file), block_bytes=24) as blocks:
        assert sum(block.num_rows for block in blocks) == 107


def test_one_cell_that_is_no_number_is_one_that_is_missing() -> None:
    """Beside it numbers with a decimal comma are still numbers."""
    rows = [f"{i},5;{'ab'[i % 2]}" for i in range(100)]
    learnt = read_table(io.BytesIO("\n".join(["size;kind", *rows]).encode()))
    columns = Columns().fit(learnt.table)
    expected = columns.transform(learnt.table)
    rows[60] = "n.d.;a"
    expected[60, 0] = 0  # the median
    new = "\n".join(["size;kind", *rows]).encode()
    for size in SIZES:
        with read_blocks(io.BytesIO(new), block_bytes=size, **read_as(learnt.dialect)) as blocks:
            found = np.concatenate([columns.transform(block) for block in blocks])
        assert found.tobytes() == expected.tobytes()
