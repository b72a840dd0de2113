"""`save` and `load` take open binary files as well as paths."""

from __future__ import annotations

import gzip
import io
import tempfile
import zipfile

import numpy as np
import pytest

import deltarule as dr


@pytest.fixture
def net():
    made = dr.Network(
        [dr.Dense(4, "relu"), dr.BatchNorm(), dr.Dense(2)], inputs=3, dtype="float64", seed=3
    )
    return made.freeze("0")


def assert_twins(one, other):
    assert one.layers == other.layers
    assert one.learning_rate_factors == other.learning_rate_factors
    np.testing.assert_array_equal(one.vector, other.vector)
    np.testing.assert_array_equal(one.state_vector, other.state_vector)


def test_what_is_written_into_a_file_object_is_what_a_path_gets(net, tmp_path):
    path, memory = net.save(tmp_path / "a"), io.BytesIO()
    assert net.save(memory) is None
    assert dr.save(net, io.BytesIO()) is None
    assert len(memory.getvalue()) == len(path.read_bytes())  # the header has no fixed order
    with (tmp_path / "b").open("wb") as file:
        dr.save(net, file)
    assert_twins(dr.load(str(tmp_path / "b")), net)


def test_it_comes_back_from_any_binary_file(net, tmp_path):
    path = net.save(tmp_path / "net")
    with gzip.open(tmp_path / "z", "wb") as file:
        net.save(file)
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive, archive.open("net", "w") as file:
        net.save(file)
    with (
        path.open("rb") as plain,
        path.open("rb", buffering=0) as raw,
        gzip.open(tmp_path / "z") as gz,
        zipfile.ZipFile(tmp_path / "zip") as archive,
        archive.open("net") as zipped,
        tempfile.TemporaryFile() as temporary,
    ):
        net.save(temporary)
        temporary.seek(0)
        for file in (plain, raw, gz, zipped, temporary):
            assert_twins(dr.load(file), net)


def test_a_file_is_written_and_read_from_where_it_stands(net):
    memory = io.BytesIO()
    memory.write(b"head")
    net.save(memory)
    memory.seek(4)
    assert_twins(dr.load(memory), net)


@pytest.mark.parametrize("mode", ["w", "r"])
def test_a_file_open_for_text_is_refused(net, tmp_path, mode):
    (tmp_path / "text").write_text("as it was")
    with (tmp_path / "text").open(mode.replace("w", "a")) as text:
        for file in (text, io.StringIO("as it was")):
            with pytest.raises(dr.InvalidTypeError, match=f"binary mode: open.path, '{mode}b'"):
                net.save(file) if mode == "w" else dr.load(file)
    assert (tmp_path / "text").read_text() == "as it was"


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}", b"x" * 99]
)
def test_a_file_object_without_a_network_is_refused(content):
    with pytest.raises(dr.FileFormatError, match="the file"):
        dr.load(io.BytesIO(content))


def test_every_cut_of_a_file_object_is_refused(net):
    memory = io.BytesIO()
    net.save(memory)
    content = memory.getvalue()
    for end in range(0, len(content), 97):
        with pytest.raises(dr.FileFormatError):
            dr.load(io.BytesIO(content[:end]))


def test_files_that_cannot_be_used_are_refused(net, tmp_path):
    closed = io.BytesIO()
    closed.close()
    with (tmp_path / "r").open("wb") as writable, pytest.raises(dr.FileFormatError, match="read"):
        dr.load(writable)
    with (tmp_path / "r").open("rb") as readable, pytest.raises(dr.WriteError, match="write"):
        net.save(readable)
    with pytest.raises(dr.WriteError, match="closed"):
        net.save(closed)
    with pytest.raises(dr.FileFormatError, match="closed"):
        dr.load(closed)
    with tempfile.TemporaryFile("w+") as text, pytest.raises(dr.InvalidTypeError, match="'wb'"):
        net.save(text)


@pytest.mark.parametrize("path", [None, 3, b"x", ["x"], object(), "", "a\0b", "\ud800", "x" * 5000])
def test_what_is_no_path_is_refused_by_name(net, path):
    for use in (net.save, dr.load, lambda p: dr.save(net, p)):
        with pytest.raises(dr.DeltaruleError) as caught:
            use(path)
        assert isinstance(caught.value, (TypeError, ValueError, OSError))
        assert "\n" not in str(caught.value)
