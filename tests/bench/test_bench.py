import dataclasses
import json
import math
import os
import sys

import pytest

import deltarule as dr
from deltarule.bench import (
    PEERS,
    WORKLOADS,
    Comparison,
    Result,
    floor,
    machine,
    plot,
    write,
)
from deltarule.bench.floor import Peak, floor_of
from deltarule.bench.forms import Form, run_form
from deltarule.bench.machine import confined
from deltarule.bench.measuring import Budget, Task, interleave
from deltarule.bench.peers import Absent, select_peers
from deltarule.bench.peers.base import import_peer
from deltarule.bench.processes import cold_starts
from deltarule.bench.workloads import initial_parameters, make_data, select_workloads, with_rows

QUICK = Budget(turn=1e-3, total=0, rounds=2, least=2)
TINY = Form("tiny", QUICK, QUICK, QUICK, QUICK, None, 0.01, {"W3": 210}, False, 10**6)
NATIVE = dr.engines()["native"].startswith("available")


class Missing:
    """A peer that is not installed."""

    key = "torch"
    title = "PyTorch"
    note = ""

    def suits(self, workload):
        return True

    def prepare(self, workload, data, threads):
        import_peer("no_such_library")


@pytest.fixture(scope="module", autouse=True)
def _small_products():
    """The products by which the machine's peak is measured take seconds; how they end is alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(floor, "_SIZES", (64, 96))
        yield


@pytest.fixture(scope="module")
def result(_small_products):
    peers = [PEERS["deltarule"], PEERS["reference"], Missing()]
    return run_form(TINY, peers, ["W1", "W3", "N1-200"], 1, lambda text: None)


def test_tiny_run_gives_positive_numbers(result):
    for comparison in result.comparisons:
        for name in ("deltarule", "reference"):
            entry = comparison.entries[name]
            assert entry.value > 0
            assert 0 < entry.best <= entry.value
            assert len(entry.samples) == QUICK.rounds
        assert comparison.entries["reference"].ratio > 0
    assert result["W3"].details["share_of_floor"] > 0


def test_result_names_the_engine_and_compares_all_kinds_of_work(result):
    assert result.machine["engines"] == dr.engines()
    keys = [comparison.key for comparison in result.comparisons]
    assert keys == ["W1", "W3", "restarts", "predict W3", "predict W3 bulk", "N1-200"]


def test_both_engines_do_the_same_work(result):
    for key in ("W1", "W3", "N1-200"):
        losses = [result[key].entries[name].loss for name in ("deltarule", "reference")]
        assert math.isclose(*losses, rel_tol=1e-4)


def test_missing_peer_is_reported_as_absent(result):
    assert result["W1"].entries["torch"].value is None
    (line,) = result.absences()
    assert line.startswith("PyTorch is absent from W1, W3, N1-200: no_such_library is not")
    assert line in result.to_markdown()


def test_a_peer_that_fails_is_reported_and_does_not_end_the_run():
    class Failing(Missing):
        def prepare(self, workload, data, threads):
            raise RuntimeError("out of order")

    peers = [PEERS["deltarule"], Failing()]
    result = run_form(TINY, peers, ["W1"], 1, lambda text: None)
    assert result.absences() == ["PyTorch is absent from W1: failed: RuntimeError: out of order"]
    assert result["W1"].entries["deltarule"].value > 0


def test_peers_are_left_out_once_the_time_is_spent():
    form = dataclasses.replace(TINY, limit=0)
    result = run_form(form, [PEERS["deltarule"], PEERS["reference"]], ["W1"], 1, lambda text: None)
    assert result["W1"].entries["deltarule"].value > 0
    assert "time was spent" in result["W1"].entries["reference"].absent


def test_environment_and_cores_are_given_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NPROC", raising=False)
    with confined(1):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["NPROC"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "NPROC" not in os.environ


def test_different_numbers_of_threads_in_one_process_are_owned_up_to(result, monkeypatch):
    monkeypatch.setattr(machine, "_used", {1})
    with confined(2):
        assert machine.mixed_threads()
    changed = dataclasses.replace(result, machine=result.machine | {"mixed_threads": True})
    assert "MIXED THREADS" in changed.to_markdown()


def test_json_has_the_keys_readers_rely_on(result, tmp_path):
    paths = write(result, tmp_path)
    read = json.loads(paths[0].read_text())
    assert {"form", "date", "machine", "peak", "comparisons", "notes", "seconds"} <= read.keys()
    assert {"cpu", "cores", "threads", "engines", "versions"} <= read["machine"].keys()
    w3 = next(c for c in read["comparisons"] if c["key"] == "W3")
    assert {"network", "batch_size", "rows", "floor", "share_of_floor"} <= w3["details"].keys()
    assert {"value", "samples", "ratio", "best", "loss"} <= w3["entries"]["deltarule"].keys()
    assert paths[1].read_text() == result.to_markdown()


@pytest.mark.skipif(not NATIVE, reason="the compiled core is not built")
def test_native_engine_is_what_is_measured_where_it_is_built():
    workload = WORKLOADS["W1"]
    session = PEERS["deltarule"].prepare(workload, make_data(workload), 1)
    assert session._trainer.engine.name == "native"


def test_unknown_workload_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown workload 'W9'.*W1, W2, W3, W4, W5, W6"):
        select_workloads(["W9"])


def test_narrow_networks_have_a_table_of_their_own(result):
    (headings, narrow), (_, others) = result.tables()
    assert [row[0] for row in narrow] == ["N1-200 2-8-1, batch 200"]
    assert [row[0].split()[0] for row in others] == ["W1", "W3", "restarts", "predict", "predict"]
    assert "share of floor" not in headings  # what is empty throughout is left out
    assert {len(row) for row in narrow} == {len(headings)}


def test_a_group_stands_for_its_workloads():
    keys = [workload.key for workload in select_workloads(["W6", "N2"])]
    assert keys == ["W6", "N2-sgd", "N2-1", "N2-32", "N2-200", "N2-all"]
    assert select_workloads(["W", "N"]) == select_workloads(None) == list(WORKLOADS.values())


def test_a_result_is_named_after_the_processor_and_its_vector_target(result, tmp_path):
    changed = dataclasses.replace(result, machine={**result.machine, "cpu": "A (R) B-1 "})
    target = result.machine["target"] or "reference"
    assert write(changed, tmp_path)[0].name == f"a-r-b-1-{target.replace('_', '-')}.json"


def test_the_chart_names_every_network_and_says_who_takes_how_long(tmp_path):
    pytest.importorskip("matplotlib")
    comparisons = []
    for key, slower in (("W3", 7.0), ("N1-32", 3.0), ("N1-200", 5.0)):
        workload = WORKLOADS[key]
        details = {"network": workload.network, "rows": workload.rows}
        details["batch_size"] = workload.batch_size
        comparison = Comparison(key, workload.title, "us/step", details=details)
        comparison.add_samples(
            {"deltarule": [2.0, 2.0], "jax": [40.0, 40.0], "jax-epochs": [2.0 * slower] * 2}
        )
        comparisons.append(comparison)
    path = plot.plot(Result("full", "", {}, comparisons=comparisons), tmp_path / "chart.svg")
    text = path.read_text()
    assert "64-100-10, batch 200" in text
    assert "2-8-1, batch 32" in text
    assert "2-8-1, batch 200" not in text  # two batch sizes say enough
    assert "JAX" in text
    assert "PyTorch" not in text
    assert plot._fastest(comparisons[0], ("jax", "jax-epochs")) == 7
    assert len(text) < 50_000


def test_shares_are_of_what_a_core_can_do_at_most(result):
    peak = result.peak["core_gflops"]
    if peak is None:
        assert not NATIVE
        return
    entry = result["N1-200"].entries["deltarule"]
    # 2-8-1: 24 weights, 6 operations for each of them and each row, less 2 in the first layer.
    flops = 200 * (6 * 24 - 2 * 16)
    assert entry.details["share_of_core"] == pytest.approx(1e-3 * flops / peak / entry.value)
    assert 0 < entry.details["share_of_core"] <= entry.details["best_share_of_core"] < 1
    assert result.peak["gflops"] >= peak


def test_unknown_peer_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match="did you mean 'torch'"):
        select_peers(["troch"])


def test_a_selection_always_begins_with_deltarule():
    assert [peer.key for peer in select_peers(["sklearn", "jax"])] == [
        "deltarule",
        "sklearn",
        "jax",
    ]


@pytest.mark.parametrize("key", [key for key in PEERS if key != "torch-compile"])
@pytest.mark.parametrize("workload", ["W1", "W3", "N1-sgd", "N3-32"])
def test_every_installed_peer_does_the_same_work(key, workload):
    workload = with_rows(WORKLOADS[workload], 16 if workload == "N1-sgd" else 416)
    data = make_data(workload)
    if not PEERS[key].suits(workload):
        pytest.skip("this way of use is not for this workload")
    try:
        session = PEERS[key].prepare(workload, data, 1)
    except Absent as reason:
        pytest.skip(str(reason))
    ours = PEERS["reference"].prepare(workload, data, 1)
    if key == "fann" and workload.optimizer != "sgd":
        pytest.skip("RPROP takes other steps than Adam")
    # Without shuffles the steps are the same: ten of full-batch descent, at most 48 otherwise,
    # agree in float32 up to eps * 48 * a few. (FANN keeps |tanh| below 0.98 where it takes
    # derivatives, which N1 does not reach.) Shuffles differ: what they make of three epochs is
    # less than half of the change by an epoch, 10 %.
    tolerance = 5e-2 if workload.shuffles and not workload.full_batch else 2e-5
    if "torch" in sys.modules:  # whose shuffles are drawn by chance
        sys.modules["torch"].manual_seed(0)
    epochs = 10 if workload.full_batch else 3
    assert math.isclose(session.run_epochs(epochs), ours.run_epochs(epochs), rel_tol=tolerance)
    session.reset()
    ours.reset()
    assert math.isclose(session.run_epochs(epochs), ours.run_epochs(epochs), rel_tol=tolerance)


def test_cold_start_runs_a_whole_process_and_measures_its_memory():
    workload = with_rows(WORKLOADS["W3"], 400)
    samples, reports, absent = cold_starts(workload, 1, 1, ["deltarule"], QUICK)
    assert not absent
    assert min(samples["deltarule"]) > 0
    assert reports["deltarule"]["above_mb"] > 0
    assert 0 < reports["deltarule"]["loss"] < 10


def test_rounds_are_interleaved_and_rotated():
    order = []
    tasks = {name: Task(lambda count, name=name: order.append(name)) for name in "AB"}
    interleave(tasks, Budget(turn=0, total=10, rounds=3))
    assert order == list("ABBAAB")


def test_floor_counts_what_the_specification_counts():
    # 64-100-10, 1797 rows in 9 steps: 6 flops per weight and row, less 2 in the first layer.
    workload = WORKLOADS["W3"]
    assert workload.flops == pytest.approx(1797 / 9 * (6 * 7400 - 2 * 6400))
    found = floor_of(workload, Peak(100.0, "", {}), 50.0)
    assert found.microseconds == pytest.approx(workload.flops / 100e3)
    assert found.bound == "arithmetic"
    assert floor_of(WORKLOADS["W2"], Peak(100.0, "", {}), 10.0).bound == "memory"


def test_data_and_initial_parameters_are_the_same_every_time():
    for workload in (WORKLOADS["W2"], with_rows(WORKLOADS["W5"], 64)):
        first, second = make_data(workload), make_data(workload)
        assert (first.X == second.X).all()
        assert (first.y == second.y).all()
        for (W, b), (V, c) in zip(
            initial_parameters(workload), initial_parameters(workload), strict=True
        ):
            assert (W == V).all()
            assert (b == c).all()
