"""How long something takes, on the host or on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable


def best(
    action: Callable[[], object], runs: int, backend: str = "numpy", *, warm: bool = True
) -> float:
    """Shortest of several runs in seconds, after one that compiles and warms up."""
    if warm:
        action()
    wait(backend)
    seconds = []
    for _ in range(max(runs, 1)):
        begin = time.perf_counter()
        action()
        wait(backend)
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def best_beside(
    action: Callable[[], object], beside: Callable[[], object], runs: int, backend: str = "numpy"
) -> tuple[float, float]:
    """Shortest run of each of two actions by turns, so that both see the same machine; seconds."""
    action()
    times = [
        (best(beside, 0, backend, warm=False), best(action, 0, backend, warm=False))
        for _ in range(runs)
    ]
    return min(t for _, t in times), min(t for t, _ in times)


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
