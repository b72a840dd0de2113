"""The command ``deltarule``, also as ``python -m deltarule``."""

from __future__ import annotations

import sys

_NEEDED = ("typer", "rich", "click")


def main() -> int:
    """Run the command line; return its exit status."""
    try:
        from deltarule.cli import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(
            f"deltarule: the command line needs {error.name}, which is not installed; "
            "install it with: pip install typer rich\n"
        )
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
