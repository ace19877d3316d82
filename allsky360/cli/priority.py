"""Who comes first on a machine that is short of cores."""

from __future__ import annotations

import contextlib
import os

FIRST = -5


def come_first() -> None:
    """Let this process go before the others, where it may: an exposure cannot be taken later."""
    with contextlib.suppress(OSError):  # without the right, as the others
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
