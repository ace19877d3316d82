"""How long something takes, on the host or on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable


def best(action: Callable[[], object], runs: int, backend: str = "numpy") -> float:
    """Shortest of several runs in seconds, after one that compiles and warms up."""
    action()
    wait(backend)
    seconds = []
    for _ in range(runs):
        begin = time.perf_counter()
        action()
        wait(backend)
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def wait(backend: str) -> None:
    """Wait until the GPU has finished what it was given."""
    if backend == "cupy":
        import cupy

        cupy.cuda.Device().synchronize()


def device_name(backend: str) -> str:
    """Name the GPU, or the number of threads."""
    if backend == "cupy":
        import cupy

        return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())
    from allsky360.arrays.bands import threads

    return f"{threads()} threads"
