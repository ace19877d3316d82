"""Who comes first on a machine that is short of cores."""

from __future__ import annotations

import contextlib
import os

FIRST = -5


def come_first() -> None:
    """Let this process go before its siblings, where it may: no exposure can be taken later."""
    with contextlib.suppress(OSError):  # without the right, as the others
        os.nice(FIRST)
