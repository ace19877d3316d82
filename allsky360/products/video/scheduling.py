"""Keep encoders from taking the machine for themselves."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

TASKS = Path("/proc/self/task")


@contextlib.contextmanager
def as_scheduled() -> Iterator[None]:
    """Give every thread of this process, new ones too, the scheduling it had before the block.

    SVT-AV1 (4.1) opened by root gives its threads, and the one that opens it, the highest real-time
    priority, for good and for every child process: on two cores nothing else runs then, the
    camera's owner included. Does nothing where threads cannot be listed.
    """
    before = _policies()
    try:
        yield
    finally:
        caller = before.get(threading.get_native_id())
        for task, policy in _policies().items():
            if before.get(task, caller) == os.SCHED_OTHER != policy:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.sched_setscheduler(task, os.SCHED_OTHER, os.sched_param(0))


def _policies() -> dict[int, int]:
    found: dict[int, int] = {}
    if not hasattr(os, "sched_getscheduler") or not TASKS.is_dir():
        return found
    for task in TASKS.iterdir():
        with contextlib.suppress(ProcessLookupError):
            found[int(task.name)] = os.sched_getscheduler(int(task.name))
    return found
