"""Peak memory of this process since its libraries were imported; standard library only."""

import contextlib
import json
import resource
import sys
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")


def arguments() -> dict[str, Any]:
    """Return the job that the parent process asks for."""
    job: dict[str, Any] = json.loads(sys.argv[2])
    return job


class Memory:
    """Starts when it is made; the peak is measured from then on."""

    def __init__(self) -> None:
        # getrusage's peak survives exec, so a child would inherit its parent's; on Linux the
        # kernel's own mark can be set back to the present.
        self._linux = _STATUS.exists()
        if self._linux:
            # Where this is not allowed, the peak of the imports counts if it was higher.
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
        self._before = self._read("VmRSS")

    def report(self, loss: float) -> None:
        """Print the loss and the megabytes above the imported interpreter."""
        peak = self._read("VmHWM")
        sys.stdout.write(
            json.dumps({"loss": loss, "imported_mb": self._before, "above_mb": peak - self._before})
        )

    def _read(self, field: str) -> float:
        if self._linux:
            lines = _STATUS.read_text().splitlines()
            return next(int(s.split()[1]) for s in lines if s.startswith(field)) * 1024 / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
