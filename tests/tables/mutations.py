"""Files of data with something wrong in them, and what may come of reading and preparing them.

Run as a script: ``mutations.py SEED COUNT``. What is wrong is written, one line each, with the file
that it came from; nothing is written where all is well. With the environment variable
DELTARULE_CASES, the heads of the files in that folder are mutated too.
"""

from __future__ import annotations

import io
import os
import random
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import pyarrow
from pyarrow import feather, parquet
from small_files import CASES

import deltarule as dr
from deltarule.tables.advice import advise
from deltarule.tables.columns import Columns
from deltarule.tables.reading import read_blocks, read_table
from deltarule.tables.target import Target

KNOWN = (dr.DeltaruleError,)
SECONDS, MEGABYTES = 60, 1000
"""Of a core and of memory, beyond which a file of some kilobytes costs too much."""

MARKS = [
    *(mark.encode() for mark in ',;\t|: "\'\\#%\n\r.-+?$€é\x1f/'),
    b"\r\n", b"\n\n", b'""', b",,", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xc3", b"NA", b"None",
    b"nan", b"inf", b"1e999", b"-200", b"999999999999999999999", b"2020-02-30", b"31.12.1999",
    b"1,5", b"1 000", b"(3)", b"5%", b"true", b"no", b"0x1F", b"1_000", "١٢".encode(),
    "²".encode(), b"10:30", b"=1+1", b"9" * 400, b"a" * 300,
]  # fmt: skip
ENCODINGS = [
    "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "shift_jis", "utf-8-sig",
]  # fmt: skip
WORDS = ["so", "good", "2.5GHz", "bad", "it is"]


def everyday(choice: random.Random, rows: int) -> bytes:
    """Return a table with a column of each kind."""
    lines = ["id,size,price,born,colour,ok,said,share,when"]
    for i in range(rows):
        cells = [
            str(1000 + i), f"{choice.gauss(5, 2):.3f}", f'"${choice.randrange(1000, 9000):,}"',
            f"{choice.randrange(28) + 1:02}/{choice.randrange(12) + 1:02}/{1950 + i}",
            choice.choice(["red", "blue", "NA", ""]), choice.choice(["yes", "no"]),
            f'"{" ".join(choice.choices(WORDS, k=5))}"',
            f"{choice.randrange(100)}%", f"{choice.randrange(24)}:{choice.randrange(60):02}",
        ]  # fmt: skip
        lines.append(",".join(cells))
    return "\n".join(lines).encode() + b"\n"


def ipc(table: pyarrow.Table, file: io.BytesIO) -> None:
    """Write a stream of Arrow."""
    with pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def originals() -> list[bytes]:
    """Return the files that are mutated."""
    found = [case.content for case in CASES.values()]
    found += [everyday(random.Random(rows), rows) for rows in (3, 12, 30, 60)]
    table = read_table(io.BytesIO(found[-1])).table
    for write in (parquet.write_table, feather.write_feather, ipc):
        file = io.BytesIO()
        write(table, file)
        found.append(file.getvalue())
    if folder := os.environ.get("DELTARULE_CASES"):
        for path in sorted(Path(folder).iterdir()):
            lines = path.read_bytes()[:40_000].splitlines(keepends=True)
            found += [b"".join(lines[:count]) for count in (4, 40) if path.name != "cases.tsv"]
    return found


# ------------------------------------------------------------------------------------- mutations


def flip(data: bytes, choice: random.Random) -> bytes:
    at = choice.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << choice.randrange(8))]) + data[at + 1 :]


def cut(data: bytes, choice: random.Random) -> bytes:
    at = choice.randrange(len(data))
    return data[:at] if choice.random() < 0.8 else data[at:]


def insert(data: bytes, choice: random.Random) -> bytes:
    at = choice.randrange(len(data) + 1)
    return data[:at] + choice.choice(MARKS) + data[at:]


def delete(data: bytes, choice: random.Random) -> bytes:
    at = choice.randrange(len(data))
    return data[:at] + data[at + choice.choice([1, 1, 2, 8]) :]


def repeat_mark(data: bytes, choice: random.Random) -> bytes:
    """Put one mark before or in the place of another, everywhere."""
    mark, other = choice.choice(MARKS), choice.choice(MARKS)
    return data.replace(mark, other + mark if choice.random() < 0.3 else other)[:60_000]


def lines(data: bytes, choice: random.Random) -> bytes:
    """Repeat, delete, swap, shift or shuffle lines."""
    those = data.splitlines(keepends=True)
    i, j = choice.randrange(len(those)), choice.randrange(len(those))
    match choice.randrange(5):
        case 0:
            those[i:i] = [those[j]] * choice.choice([1, 2, 30])
        case 1:
            del those[min(i, j) : max(i, j) + 1]
        case 2:
            those[i], those[j] = those[j], those[i]
        case 3:
            those[i] = those[i].rstrip(b"\r\n") + those[j]
        case 4:
            choice.shuffle(those)
    return b"".join(those)[:60_000]


def cell(data: bytes, choice: random.Random) -> bytes:
    """Write something else into one cell, or into many."""
    those = data.splitlines(keepends=True)
    separator = choice.choice([b",", b";", b"\t"])
    mark = choice.choice(MARKS)
    column = choice.randrange(9)
    for i in range(len(those)) if choice.random() < 0.4 else [choice.randrange(len(those))]:
        cells = those[i].rstrip(b"\r\n").split(separator)
        cells[column % len(cells)] = mark
        those[i] = separator.join(cells) + b"\n"
    return b"".join(those)


def encoding(data: bytes, choice: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return text.encode(choice.choice(ENCODINGS), choice.choice(["replace", "ignore"]))


WAYS = {flip: 2, cut: 1, insert: 4, delete: 2, repeat_mark: 2, lines: 4, cell: 4, encoding: 0.5}


def mutated(data: bytes, choice: random.Random) -> bytes:
    for _ in range(choice.choice([1, 1, 2, 3, 6])):
        if data:
            data = choice.choices(list(WAYS), list(WAYS.values()))[0](data, choice)
    return data


# ---------------------------------------------------------------------------------------- checks


def prepare(data: bytes, choice: random.Random) -> None:
    """Do with a file what `deltarule train` and `predict` do before and after the training."""
    size = choice.choice([24, 100, 1000, 1 << 21])
    try:
        for block in read_blocks(io.BytesIO(data), block_bytes=size):
            assert block.num_columns
    except KNOWN:
        pass
    table = read_table(io.BytesIO(data)).table
    columns = Columns().fit(table)
    numbers = columns.transform(table)
    assert numbers.shape == (table.num_rows, columns.width)
    assert (abs(numbers) < 1e5).all()
    name = choice.choice(table.column_names)
    target = Target.fit(table.column(name))
    others = table.drop_columns([name]).filter(target.known)
    if others.num_columns and others.num_rows:
        values = table.column(name).filter(target.known)
        advise(others, Columns().fit(others), target, values)


def faults(files: list[bytes], seed: int, count: int) -> Iterator[str]:
    """Yield what is wrong, with the file."""
    for i in range(count):
        name = f"{seed} {i}"
        choice = random.Random(name)
        data = mutated(choice.choice(files), choice)
        start, held = time.process_time(), peak()
        try:
            prepare(data, choice)
        except KNOWN as error:
            said = str(error)
            if not said or len(said) > 2000 or "\n" in said:
                yield f"{name}: a message of {len(said)} letters: {said[:300]!r}; {data[:300]!r}"
        except Exception as error:
            what = f"{type(error).__name__}: {str(error)[:200]} {where(error)}"
            yield f"{name}: {what}; {data[:600]!r}"
        took, grew = time.process_time() - start, peak() - held
        if took > SECONDS or grew > MEGABYTES:
            yield f"{name}: took {took:.1f} s of a core and {grew} MB; {data[:600]!r}"


def peak() -> int:
    """Return the most memory that the process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def where(error: BaseException) -> str:
    """Return the innermost lines that an error passed."""
    passed = list(traceback.extract_tb(error.__traceback__))
    return " <- ".join(f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno}" for f in passed[:-6:-1])


if __name__ == "__main__":
    warnings.simplefilter("error")
    for fault in faults(originals(), *map(int, sys.argv[1:])):
        sys.stdout.write(f"{fault}\n")
        sys.stdout.flush()
