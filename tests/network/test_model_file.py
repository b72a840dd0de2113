"""Files with several networks and with what belongs to them; damaged ones are one clear error."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

import deltarule as dr
from deltarule.network.model_file import load_networks, save_networks

ABOUT = {"classes": ["nö", "yes"], "columns": {"a": 0.1, "b": None}}


def networks(count=3):
    return [
        dr.Network([dr.Dense(i + 2, "relu"), dr.BatchNorm(), dr.Dense(2)], inputs=3, seed=i)
        for i in range(count)
    ]


def written(nets, about=ABOUT):
    file = io.BytesIO()
    save_networks(nets, file, about)
    return file.getvalue()


def header_of(content):
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def rewritten(content, **metadata):
    """A file whose header has other values; None takes a key away."""
    header, data = header_of(content)
    kept = {**header["__metadata__"], **metadata}
    header["__metadata__"] = {key: value for key, value in kept.items() if value is not None}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize("count", [1, 2, 12])
def test_networks_and_what_belongs_to_them_come_back(count, tmp_path):
    nets = networks(count)
    path = save_networks(nets, tmp_path / "model", ABOUT)
    found = load_networks(path)
    assert found.about == ABOUT
    assert [net.layers for net in found.networks] == [net.layers for net in nets]
    for one, other in zip(found.networks, nets, strict=True):
        np.testing.assert_array_equal(one.vector, other.vector)
        np.testing.assert_array_equal(one.state_vector, other.state_vector)


def test_of_one_network_both_readers_give_it(tmp_path):
    (net,) = networks(1)
    with_more = save_networks([net], tmp_path / "more", ABOUT)
    plain = net.save(tmp_path / "plain")
    for path in (with_more, plain):
        np.testing.assert_array_equal(dr.load(path).vector, net.vector)
    assert load_networks(plain).about == {}
    assert header_of(with_more.read_bytes())[0]["__metadata__"]["schema"] == "1"


def test_of_several_load_says_what_to_call(tmp_path):
    path = save_networks(networks(2), tmp_path / "model")
    with pytest.raises(
        dr.FileFormatError, match=r"has 2 networks, .* deltarule.sklearn.load\(path\)"
    ):
        dr.load(path)


def test_the_same_networks_are_the_same_bytes_in_another_process():
    code = (
        "import sys, io, deltarule as dr\n"
        "from deltarule.network.model_file import save_networks\n"
        "net = dr.Network([dr.Dense(2), dr.BatchNorm(), dr.Dense(1)], inputs=3)\n"
        "file = io.BytesIO()\n"
        "save_networks([net, net], file, {'b': 1, 'a': 'é'})\n"
        "sys.stdout.buffer.write(file.getvalue())"
    )
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True).stdout for _ in "123"}
    assert len(runs) == 1
    assert load_networks(io.BytesIO(runs.pop())).about == {"b": 1, "a": "é"}


def test_safetensors_itself_reads_the_file_and_its_arrays_are_aligned():
    content = written(networks(2))
    arrays = safetensors.numpy.load(content)
    assert {"0/0.weight", "1/2.bias", "1/1.running_mean"} <= arrays.keys()
    assert int.from_bytes(content[:8], "little") % 8 == 0


def test_what_is_no_json_is_refused_and_nothing_is_written(tmp_path):
    for value, error in ((float("nan"), ValueError), ({1, 2}, TypeError), (np.inf, ValueError)):
        with pytest.raises(error, match="cannot be written to a file") as caught:
            save_networks(networks(1), tmp_path / "model", {"a": value})
        assert isinstance(caught.value, dr.DeltaruleError)
    with pytest.raises(dr.InvalidValueError, match="at least one network"):
        save_networks([], tmp_path / "model")
    with pytest.raises(dr.InvalidValueError, match="'schema' describes the file itself"):
        save_networks(networks(1), tmp_path / "model", {"schema": 3})
    assert not (tmp_path / "model").exists()


def test_every_cut_is_refused():
    content = written(networks(2))
    for end in range(0, len(content), 61):
        with pytest.raises(dr.FileFormatError):
            load_networks(io.BytesIO(content[:end]))


def altered():
    content = written(networks(2))
    one, two = json.loads(header_of(content)[0]["__metadata__"]["networks"])
    return {
        "no JSON": {"columns": "{"},
        "not a number": {"columns": "[NaN]"},
        "deep": {"columns": "[" * 100_000},
        "long number": {"columns": "9" * 5000},
        "no networks": {"networks": None},
        "an object": {"networks": json.dumps(one)},
        "empty list": {"networks": "[]"},
        "list of lists": {"networks": "[[], []]"},
        "one too few": {"networks": json.dumps([one])},
        "one too many": {"networks": json.dumps([one, two, two])},
        "swapped": {"networks": json.dumps([two, one])},
        "huge": {"networks": json.dumps([one, two | {"inputs": 10**15}])},
        "infinite": {"networks": json.dumps([one, two | {"inputs": 1e999}])},
        "no layers": {"networks": json.dumps([one, {"inputs": 3}])},
        "other schema": {"schema": "1"},
        "a checkpoint without a digest": {"schema": "3"},
        "newer schema": {"schema": "4"},
        "strange format": {"format": "else"},
    }


@pytest.mark.parametrize("kind", altered())
def test_an_altered_header_is_one_clear_error(kind):
    content = rewritten(written(networks(2)), **altered()[kind])
    with pytest.raises(dr.FileFormatError) as caught:
        load_networks(io.BytesIO(content))
    assert "the file" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
