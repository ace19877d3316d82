"""Rows of an image shared out over the cores: compiled loops that release the GIL, in threads.

Not numba's own ``parallel=True``: its portable threading layer aborts the process when two threads
enter it at once, and the other layers need libraries that a plain wheel does not bring.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from numba import njit

SMALL = 64
"""Rows under which sharing out costs more than it saves."""


def compiled(function: Callable[..., Any]) -> Any:
    """Compile with numba, without the GIL; the machine code is cached beside the source.

    Division by zero gives inf or NaN as in NumPy: a test for it would keep loops from being
    vectorised.
    """
    fast = {"contract", "arcp", "reassoc", "nsz"}
    return njit(cache=True, fastmath=fast, nogil=True, error_model="numpy")(function)


@lru_cache(maxsize=1)
def threads() -> int:
    """Return how many cores one image may use: ``ALLSKY360_THREADS``, else all of this process."""
    asked = os.environ.get("ALLSKY360_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads(), thread_name_prefix="allsky360-band")


if hasattr(os, "register_at_fork"):
    # Threads do not survive a fork: a child that waited for its parent's would wait for ever.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def in_bands(kernel: Callable[..., Any], rows: int, *arguments: Any) -> list[Any]:
    """Call ``kernel(first, last, *arguments)`` for bands of rows that cover ``0 … rows``.

    Parameters
    ----------
    kernel
        A :func:`compiled` function that works on rows ``first`` to ``last - 1`` and writes only
        there. It must not call this function itself.
    rows
        Rows in all.

    Returns
    -------
    list
        What each band returned, in order.
    """
    count = min(threads(), rows // SMALL)
    if count < 2:
        return [kernel(0, rows, *arguments)]
    edges = [rows * k // count for k in range(count + 1)]
    if not kernel.signatures:  # type: ignore[attr-defined]
        # The first call compiles, here: threads that compile the same thing at once only wait.
        whole = [kernel(edges[0], edges[1], *arguments)]
        return whole + [kernel(edges[k], edges[k + 1], *arguments) for k in range(1, count)]
    jobs = [_pool().submit(kernel, edges[k], edges[k + 1], *arguments) for k in range(1, count)]
    first = kernel(edges[0], edges[1], *arguments)
    return [first, *(job.result() for job in jobs)]
