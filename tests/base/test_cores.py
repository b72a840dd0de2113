"""``threads=None`` counts the cores that this process may use."""

import os

import numpy as np
import pytest

import deltarule as dr
from deltarule.base.cores import asked_for, cores, of_container

MANY = 1 << 12


def container(folder, membership, files):
    """Write what a system says of its groups; return the cores that they may use."""
    (folder / "cgroup").write_text(membership)
    for name, text in files.items():
        path = folder / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return of_container(str(folder / "cgroup"), str(folder / "mount"))


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),  # one and a half
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, MANY),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "50000 100000\n"}, 1),
        ("0::/of/the/host\n", {"cpu.max": "400000 100000\n"}, 4),  # the mount is the group itself
        ("0::/../outside\n", {"cpu.max": "400000 100000\n", "../outside/cpu.max": "1 1\n"}, 4),
        ("1:name=systemd:/\n0::/a\n", {"unified/a/cpu.max": "500000 100000\n"}, 5),
        (
            "4:memory:/m\n2:cpu,cpuacct:/c\n",
            {
                "cpu,cpuacct/c/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/c/cpu.cfs_period_us": "100000\n",
                "memory/m/cpu.max": "1 1\n",
            },
            3,
        ),
        (
            "1:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            MANY,
        ),
        ("0::/\n", {"cpu.max": "100000 0\n"}, MANY),
        ("no such line\n", {"cpu.max": "damaged\n"}, MANY),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path, membership, files, expected):
    assert container(tmp_path, membership, files) == expected


def test_a_system_without_groups_limits_nothing(tmp_path):
    assert of_container(str(tmp_path / "absent"), str(tmp_path)) == MANY


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", 1),
        ("3", 3),
        (" 2 ", 2),
        ("4,2", 4),
        ("", MANY),
        ("0", MANY),
        ("-1", MANY),
        ("x", MANY),
    ],
)
def test_the_variable_of_openmp_counts(value, expected):
    assert asked_for({"OMP_NUM_THREADS": value}) == expected
    assert asked_for({}) == MANY


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_the_processors_that_a_process_is_bound_to_count(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert cores() == 1


def test_as_many_threads_as_cores_are_used_unless_more_are_asked_for(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    X = np.zeros((400, 100), dtype=np.float32)

    def used(threads):
        net = dr.Network([dr.Dense(100), dr.Dense(1)], inputs=100)
        trainer = dr.Trainer(net, "squared_error", engine="native", threads=threads)
        trainer.step(X, X[:, :1])
        return trainer._executor.threads_used

    assert used(None) == 1
    assert used(3) == 3
