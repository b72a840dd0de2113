"""What the package tells by logging; a handler that fails ends nothing."""

from __future__ import annotations

import logging
from contextlib import suppress

_logger = logging.getLogger("deltarule")


def warn(message: str, *values: object, error: BaseException | None = None) -> None:
    """Log a warning, with the traceback of an error where there is one."""
    with suppress(Exception):  # a handler of the user's that raises, a stream that is closed
        _logger.warning(message, *values, exc_info=error)
