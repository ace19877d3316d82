"""Reprocessing: two workers against one, linear in frames, memory, and a worker that is killed.

Run: ``python -m benchmarks.reprocess [FOLDER]``, on a machine with two cores that does nothing
else. Workers have one thread. The reference is the machine's own ceiling, measured in the same
rounds: two processes that know nothing of each other, each making a night of its own frame after
frame, against one. Long nights have small frames, so that 600 of them are done in minutes. Raw
nights stay in FOLDER for the next run where one is given.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from allsky360.archive import Archive, FrameRef
from allsky360.cluster import client_for
from allsky360.config import Settings
from allsky360.processing import process_archived_frame
from allsky360.reprocess.plan import plan_night
from allsky360.reprocess.run import NightResult, Progress, reprocess
from benchmarks.night_of_frames import CAMERA, NIGHT, make_night, settings_for

SPEED_UP, LINEAR = 1.8, 1.15
"""Marks: speed of two workers over one; cost a frame of the longest night over the shortest."""

ONE_THREAD = (
    "ALLSKY360_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
)  # fmt: skip
WARM = 4
"""Frames by which a process loads its machine code."""


class Watch:
    """Time and memory of a run; may kill a worker at a frame."""

    def __init__(self, client: object, kill_at: int = 0) -> None:
        self.client, self.kill_at = client, kill_at
        self.memory: list[tuple[int, float]] = []
        self.killed = 0

    def pids(self) -> list[int]:
        """Processes of the workers."""
        return list(self.client.run(os.getpid).values())  # type: ignore[attr-defined]

    def __call__(self, progress: Progress) -> None:
        """Look, and strike when it is time."""
        if progress.done % 10 == 0:
            tree = [psutil.Process(), *psutil.Process().children(recursive=True)]
            self.memory.append((progress.done, sum(p.memory_info().rss for p in tree) / 2**20))
        if progress.done == self.kill_at and not self.killed:
            self.killed = self.pids()[0]
            os.kill(self.killed, signal.SIGKILL)


def count_stages(client: object) -> None:
    """Start counting on the scheduler."""
    from distributed.diagnostics.plugin import SchedulerPlugin

    class Counter(SchedulerPlugin):
        name = "stages"

        def __init__(self) -> None:
            self.counts: dict[str, int] = {}

        def transition(
            self, key: object, start: str, finish: str, *_: object, **__: object
        ) -> None:
            if (start, finish) == ("processing", "memory"):
                stage = str(key).split("-")[1]
                self.counts[stage] = self.counts.get(stage, 0) + 1

    client.register_plugin(Counter())  # type: ignore[attr-defined]


def stages(client: object) -> dict[str, int]:
    """Return what was counted."""
    counts: Callable[..., dict[str, int]] = lambda dask_scheduler: dict(  # noqa: E731
        dask_scheduler.plugins["stages"].counts
    )
    return dict(client.run_on_scheduler(counts))  # type: ignore[attr-defined]


def again(
    client: object, root: Path, settings: Settings, watch: Watch | None = None
) -> tuple[float, NightResult]:
    """Make the night again; return seconds and what came of it."""
    job = plan_night(root, CAMERA, NIGHT, settings, {}, again=True)
    assert job is not None
    begin = time.perf_counter()
    (result,) = reprocess(client, root, [job], report=watch, drop_old=True)  # type: ignore[arg-type]
    seconds = time.perf_counter() - begin
    assert result.made == job.frames(root) > 0, result  # else the figures would say nothing
    return seconds, result


def raw_night(root: Path, frames: int, size: tuple[int, int], **how: Any) -> None:
    """Make a night of raw frames where it is not there yet."""
    if not root.exists() or Archive(root).count(CAMERA, NIGHT) != frames:
        shutil.rmtree(root, ignore_errors=True)
        make_night(root, frames, size=size, **how)


def alone(root: Path, frames: int, start: Any, seconds: Any) -> None:
    """Make a night frame after frame, as a process of its own; say how long it took."""
    settings = settings_for(root, dask={"gpu": "never"})
    for index in range(WARM // 2):
        process_archived_frame(root, FrameRef(CAMERA, NIGHT, index), settings)
    start.wait()
    begin = time.perf_counter()
    for index in range(frames):
        process_archived_frame(root, FrameRef(CAMERA, NIGHT, index), settings)
    seconds.put(time.perf_counter() - begin)


def side_by_side(roots: list[Path], frames: int) -> float:
    """Return how long the slower of processes takes that make a night each, at once."""
    context = multiprocessing.get_context("spawn")
    start, seconds = context.Barrier(len(roots)), context.Queue()
    made = [context.Process(target=alone, args=(r, frames, start, seconds)) for r in roots]
    for process in made:
        process.start()
    slowest = max(seconds.get() for _ in made)
    for process in made:
        process.join()
    return float(slowest)


def two_workers(folder: Path, work: Path, frames: int, size: tuple[int, int], rounds: int) -> None:
    """Compare one worker with two, in turn, beside the ceiling; then kill one of two."""
    raw = folder / f"with-lens-{size[0]}x{size[1]}-{frames}"
    raw_night(raw, frames, size)
    root, *twins = [shutil.copytree(raw, work / f"copy-{k}") for k in range(3)]
    settings = settings_for(root, dask={"gpu": "never"})
    print(f"{frames} frames of {size[0]}x{size[1]}, with lens and stars, {rounds} rounds:")
    took: dict[str, list[float]] = {k: [] for k in ("1 process", "2 processes", "1", "2")}
    raw_night(folder / f"with-lens-{size[0]}x{size[1]}-{WARM}", WARM, size)
    warm = shutil.copytree(folder / f"with-lens-{size[0]}x{size[1]}-{WARM}", work / "warm")
    with client_for(settings, 1) as one, client_for(settings, 2) as two:
        for client in (one, two):  # workers load their machine code
            again(client, warm, settings_for(warm, dask={"gpu": "never"}))
        for _ in range(rounds):
            took["1"].append(again(one, root, settings)[0])
            took["2"].append(again(two, root, settings)[0])
            took["1 process"].append(side_by_side(twins[:1], frames))
            took["2 processes"].append(side_by_side(twins, frames))
            print("  " + ", ".join(f"{k}: {v[-1]:.1f} s" for k, v in took.items()), flush=True)
        count_stages(two)
        watch = Watch(two, kill_at=frames // 2)
        killed_s, killed = again(two, root, settings, watch)
        done = stages(two)
    best = {name: min(s) for name, s in took.items()}
    ratio, ceiling = best["1"] / best["2"], 2 * best["1 process"] / best["2 processes"]
    each = {k: 1000 * v / frames for k, v in best.items()}
    print(f"  frame after frame in one process {each['1 process']:.0f} ms a frame; two such")
    print(f"    processes at once: {ceiling:.2f} x: more this machine cannot do")
    print(f"  1 worker  {best['1']:7.1f} s, {each['1']:.0f} ms a frame")
    print(
        f"  2 workers {best['2']:7.1f} s: {ratio:.2f} x (mark {SPEED_UP}), "
        f"{ratio / ceiling:.2f} of the ceiling"
    )
    twice = {s: n - frames for s, n in done.items() if n != frames}
    print(
        f"  a worker killed at frame {frames // 2}: {killed_s:.1f} s "
        f"({killed_s - best['2']:+.1f} s, {(killed_s - best['2']) / best['1'] * frames:.1f} frames "
        f"of one worker), {killed.frames} frames, {len(killed.failed)} failed; "
        f"done twice: {twice or 'nothing'}"
    )


def raw_long(folder: Path, frames: int, size: tuple[int, int]) -> Path:
    """Return a long raw night of small frames."""
    raw = folder / f"long-{size[0]}x{size[1]}-{frames}"
    raw_night(raw, frames, size, every_s=20.0, distinct=10)
    return raw


def processor_s() -> float:
    """Return processor seconds of this process and the workers so far."""
    tree = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(p.cpu_times()[:2]) for p in tree)


def long_nights(folder: Path, work: Path, lengths: list[int], size: tuple[int, int]) -> None:
    """Measure cost a frame and memory of nights of growing length, with two workers.

    Processor time is what counts: it hardly depends on who else is at work.
    """
    cost = {}
    for frames in lengths:
        raw = raw_long(folder, frames, size)
        root = shutil.copytree(raw, work / raw.name)
        settings = settings_for(root, dask={"gpu": "never"})
        with client_for(settings, 2) as client:
            warm = shutil.copytree(raw_long(folder, WARM, size), work / f"warm-{frames}")
            again(client, warm, settings_for(warm, dask={"gpu": "never"}))
            watch, before = Watch(client), processor_s()
            seconds, _ = again(client, root, settings, watch)
            cost[frames] = (processor_s() - before) / frames
        assert not Archive(root).unprocessed(CAMERA, NIGHT)
        third = next(m for n, m in watch.memory if n >= frames / 3)
        last = watch.memory[-1][1]
        print(
            f"{frames:4} frames of {size[0]}x{size[1]}, 2 workers: {seconds:.1f} s, "
            f"{1000 * cost[frames]:.0f} ms of processor a frame; memory of all processes "
            f"{third:.0f} MiB after a third, {last:.0f} MiB at the end ({last / third:.2f} x)",
            flush=True,
        )
    first, final = cost[lengths[0]], cost[lengths[-1]]
    print(
        f"  a frame of the longest night costs {final / first:.2f} x that of the shortest "
        f"(mark {LINEAR})"
    )


def pair(text: str) -> tuple[int, int]:
    """Read a size."""
    width, height = (int(n) for n in text.split("x"))
    return width, height


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="for the raw nights, kept")
    parser.add_argument("--frames", type=int, default=24, help="of the night with a lens; 0: none")
    parser.add_argument("--size", type=pair, default=(1608, 1104))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--long", type=int, nargs="*", default=[50, 200, 600], help="none: none")
    parser.add_argument("--long-size", type=pair, default=(240, 180))
    parser.add_argument("--raw-only", action="store_true", help="make the raw nights, no more")
    options = parser.parse_args()
    for name in ONE_THREAD:
        os.environ[name] = "1"
    with tempfile.TemporaryDirectory(prefix="benchmark-reprocess-") as temporary:
        folder = options.folder or Path(temporary)
        if options.raw_only:
            frames, (width, height) = options.frames, options.size
            for count in (frames, WARM):
                raw_night(folder / f"with-lens-{width}x{height}-{count}", count, options.size)
            for count in (WARM, *options.long):
                raw_long(folder, count, options.long_size)
            return
        if options.frames:
            two_workers(folder, Path(temporary), options.frames, options.size, options.rounds)
        if options.long:
            long_nights(folder, Path(temporary), options.long, options.long_size)


if __name__ == "__main__":
    main()
