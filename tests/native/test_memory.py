"""How much memory training takes, above that of an interpreter that has imported the library.

At most: data + parameters * (2 + state arrays of the optimizer), + parameters for each of a whole
gradient, best weights and averaging, where asked for, + twice the activations of a chunk + 16 MB.
"""

import json
import subprocess
import sys

import pytest

MB = 1e6
SLACK = 16 * MB

SCRIPT = """
import json, sys
import numpy as np, numpy.random, deltarule as dr

def status(field):
    with open("/proc/self/status") as lines:
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))

parts, start, highest = {}, status("VmRSS"), 0

def part_done(name):
    # how far this part rose above where it began, and what it kept
    global highest
    parts[name] = {"peak": status("VmHWM") - part_done.began, "kept": status("VmRSS") - start}
    highest = max(highest, status("VmHWM"))
    begin()

def begin():
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")  # the peak is what there is now
    part_done.began = status("VmRSS")

begin()
case = json.loads(sys.argv[1])
widths, n = case["widths"], case["n"]
rng = np.random.default_rng(0)
X = rng.random((n, widths[0]), dtype=np.float32)
y = rng.integers(0, widths[-1], n)
part_done("data")
layers = [dr.Dense(w, "relu") for w in widths[1:-1]] + [dr.Dense(widths[-1], "softmax")]
net = dr.Network(layers, inputs=widths[0], seed=0)
part_done("network")
callbacks = [dr.EarlyStopping("loss")] if case["best"] else []
trainer = dr.Trainer(net, loss="cross_entropy", optimizer=case["optimizer"], engine="native",
                     clip=dr.ClipNorm(1.0) if case["clip"] else None, threads=2)
part_done("trainer")
trainer.run(X, y, batch_size=case["batch"], epochs=1, progress=False, callbacks=callbacks)
part_done("run")
print(json.dumps({
    "parts": parts, "total": highest - start,
    "data": X.nbytes + y.nbytes, "vector": net.vector.nbytes,
    "states": len(trainer._executor.optimizer_state),
}))
"""

CASES = {
    # W6 of the benchmarks
    "wide": dict(widths=[1024, 2048, 2048, 10], batch=512, n=2048, optimizer="adam"),
    "small": dict(widths=[64, 256, 256, 10], batch=128, n=20_000, optimizer="adam"),
    "wide, clipped by norm": dict(
        widths=[1024, 2048, 2048, 10], batch=512, n=2048, optimizer="adam", clip=True
    ),
    "wide, best weights kept": dict(
        widths=[1024, 2048, 2048, 10], batch=512, n=2048, optimizer="adam", best=True
    ),
    "wide, without optimizer state": dict(
        widths=[1024, 2048, 2048, 10], batch=512, n=2048, optimizer="sgd"
    ),
}


def measured(case):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(case)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
@pytest.mark.parametrize("name", CASES)
def test_memory_stays_within_its_budget(name):
    case = {"clip": False, "best": False} | CASES[name]
    found = measured(case)
    activations = 4 * case["batch"] * sum(case["widths"])  # a whole batch is one chunk here
    copies = 2 + found["states"] + case["clip"] + case["best"]
    budget = found["data"] + copies * found["vector"] + 2 * activations + SLACK
    megabytes = {
        part: {what: round(size / MB) for what, size in sizes.items()}
        for part, sizes in found["parts"].items()
    }
    assert found["total"] <= budget, (
        f"{name}: {found['total'] / MB:.0f} MB, at most {budget / MB:.0f} MB = "
        f"data {found['data'] / MB:.0f} + {copies} * parameters {found['vector'] / MB:.0f} + "
        f"2 * activations {activations / MB:.0f} + {SLACK / MB:.0f}; by part: {megabytes}"
    )
