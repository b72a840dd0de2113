"""Whether this checkout computes the same bits as another commit: 40 networks.

    python tests/trajectories/compare.py COMMIT

builds COMMIT in build/trajectories/ and compares digests of all weights, losses and metrics:
natively on one and two threads, on each vector target, and in the reference engine. The exit status
is 1 where any differs.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIGESTS = Path(__file__).parent / "digests.py"


def installation(commit):
    """Return the interpreter of an environment that has deltarule as of a commit."""
    name = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", f"{commit}^{{commit}}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    place = ROOT / "build" / "trajectories" / name
    python = place / "bin" / "python"
    if not (place / "done").exists():
        venv.create(place, with_pip=True, clear=True)
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            subprocess.run(["git", "clone", "-q", ROOT, source], check=True)
            subprocess.run(["git", "-C", source, "checkout", "-q", name], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", source], check=True)
        (place / "done").touch()
    return python


def digests(python, target):
    environment = os.environ | {"DELTARULE_TARGET": target}
    run = subprocess.run(
        [python, DIGESTS],
        check=True,
        capture_output=True,
        text=True,
        cwd=tempfile.gettempdir(),
        env=environment,
    )
    return json.loads(run.stdout)


def main(commit):
    from deltarule.engines import native

    before = installation(commit)
    wrong = 0
    for target in native.core().targets():
        old, new = digests(before, target), digests(sys.executable, target)
        differ = [name for name in old if old[name] != new.get(name)]
        wrong += len(differ)
        print(f"{target:9} {len(old) - len(differ)} of {len(old)} trajectories as in {commit}")
        for name in differ:
            print(f"          differs: {name}")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    raise SystemExit(main(sys.argv[1]))
