"""What happens when the GPU fails under a frame: the CPU makes it, and it is told.

The frame's record has a warning, ``logs/faults.jsonl`` a line (``gpu-out-of-memory``,
``gpu-context-lost``, ``gpu-error``). Where the context is lost, this process uses the CPU from then
on, and a Dask worker is started anew, at most every ten minutes, since a GPU that is broken for
good would otherwise have it start for every frame.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from allsky360.archive.journal import FaultLine, note_fault
from allsky360.arrays.gpu_faults import GpuFault, gpu_fault, lost, note_lost
from allsky360.config import Settings

T = TypeVar("T")

log = logging.getLogger(__name__)

RESTART_EVERY_S = 600.0


def cpu_only(settings: Settings) -> Settings:
    """Return settings with which a frame is developed on the CPU."""
    return settings.model_copy(update={"dask": settings.dask.model_copy(update={"gpu": "never"})})


def with_fallback(
    act: Callable[[Settings], T], settings: Settings, root: Path, camera: str
) -> tuple[T, tuple[str, ...]]:
    """Do something with the GPU, where there is one; with the CPU where the GPU fails.

    Parameters
    ----------
    act
        What to do; called with settings that allow the GPU or not.
    settings, root, camera
        The whole tree, the archive, and whose frame it is.

    Returns
    -------
    result, warnings
        What ``act`` returned, and what to tell of it.
    """
    try:
        result = act(settings)
    except Exception as error:
        fault = gpu_fault(error)
        if fault is None or settings.dask.gpu == "never":
            raise
        warning = tell(fault, root, camera)
    else:
        if lost():
            restart_worker(lost())
        return result, ()
    # outside of the except block: its traceback holds the arrays that filled the GPU
    free_memory()
    return act(cpu_only(settings)), (warning,)


def tell(fault: GpuFault, root: Path, camera: str) -> str:
    """Note a fault; return the warning for the frame's record."""
    log.error("%s: %s; the CPU goes on", fault.kind, fault.words)
    note_fault(root, FaultLine(datetime.now(UTC), camera, fault.kind, fault.words))
    if fault.kind == "gpu-context-lost":
        note_lost(fault.words)
        restart_worker(fault.words)
    return f"The GPU failed ({fault.kind}), the CPU made this frame: {fault.words}"


def free_memory() -> None:
    """Give back what CuPy keeps for later."""
    gc.collect()
    cupy: Any = sys.modules.get("cupy")
    if cupy is not None:
        with contextlib.suppress(Exception):  # a lost context refuses this, too
            cupy.get_default_memory_pool().free_all_blocks()
            cupy.get_default_pinned_memory_pool().free_all_blocks()


def restart_worker(why: str) -> bool:
    """Let the Dask worker that runs this end once its frame is handed back; return whether so."""
    distributed: Any = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        worker = distributed.get_worker()
    except ValueError:  # not in a worker
        return False
    stamp = Path(tempfile.gettempdir()) / f"allsky360-gpu-restart-{os.getuid()}"
    with contextlib.suppress(OSError):
        if time.time() - stamp.stat().st_mtime < RESTART_EVERY_S:
            return False
    with contextlib.suppress(OSError):
        stamp.touch()
    log.warning("the worker is started anew: %s", why)

    def close() -> None:
        worker.loop.add_callback(worker.close_gracefully, restart=True, reason="GPU context lost")

    worker.loop.add_callback(worker.loop.call_later, 1.0, close)
    return True
