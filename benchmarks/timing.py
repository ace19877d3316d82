"""How long something takes, on the host or on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """Shortest of several runs.

    Attributes
    ----------
    wall_s
        By the clock: longer where other processes want the same cores.
    processor_s
        Of all threads together: what other processes take is not in it.
    """

    wall_s: float
    processor_s: float


def best_times(
    action: Callable[[], object], runs: int, backend: str = "numpy", *, warm: bool = True
) -> Times:
    """Shortest of several runs, after one that compiles and warms up."""
    if warm:
        action()
    wait(backend)
    wall, processor = [], []
    for _ in range(max(runs, 1)):
        begin, used = time.perf_counter(), time.process_time()
        action()
        wait(backend)
        wall.append(time.perf_counter() - begin)
        processor.append(time.process_time() - used)
    return Times(min(wall), min(processor))


def best(action: Callable[[], object], runs: int, backend: str = "numpy") -> float:
    """Shortest of several runs by the clock, seconds."""
    return best_times(action, runs, backend).wall_s


def best_beside(
    action: Callable[[], object], beside: Callable[[], object], runs: int, backend: str = "numpy"
) -> tuple[Times, Times]:
    """Shortest run of each of two actions by turns, so that both see the same machine."""
    action()
    turns = [
        [best_times(one, 0, backend, warm=False) for one in (action, beside)] for _ in range(runs)
    ]
    first, second = (
        Times(min(t.wall_s for t in times), min(t.processor_s for t in times))
        for times in zip(*turns, strict=True)
    )
    return first, second


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
