"""Reprocessing: two workers against one, linear in frames, memory, and a worker that is killed.

Run: ``python -m benchmarks.reprocess [FOLDER]``, on a machine with two cores that does nothing
else. Workers have one thread. Frames are small, so that 600 of them are done in minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from allsky360.archive import Archive
from allsky360.cluster import client_for
from allsky360.config import Settings
from allsky360.reprocess.plan import plan_night
from allsky360.reprocess.run import NightResult, Progress, reprocess
from benchmarks.night_of_frames import CAMERA, NIGHT, make_night, settings_for

SPEED_UP, LINEAR = 1.8, 1.15
"""Marks: speed of two workers over one; time a frame of the longest night over the shortest."""

ROUNDS = 3


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


def two_workers(folder: Path, frames: int, size: tuple[int, ...]) -> None:
    """Compare one worker with two, in turn; then kill one of two."""
    root = folder / "with-lens"
    make_night(root, frames, size=(size[0], size[1]))
    settings = settings_for(root, dask={"gpu": "never"})
    with client_for(settings, 1) as one, client_for(settings, 2) as two:
        took: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(ROUNDS + 1):
            for workers, client in ((1, one), (2, two)):
                seconds, _ = again(client, root, settings)
                if turn:  # in the first, workers load their machine code
                    took[workers].append(seconds)
        count_stages(two)
        watch = Watch(two, kill_at=frames // 2)
        killed_s, killed = again(two, root, settings, watch)
        done = stages(two)
    best = {w: min(s) for w, s in took.items()}
    ratio = best[1] / best[2]
    print(f"{frames} frames of {size[0]}x{size[1]}, with lens and stars, best of {ROUNDS}:")
    print(f"  1 worker  {best[1]:7.1f} s, {1000 * best[1] / frames:.0f} ms a frame")
    print(f"  2 workers {best[2]:7.1f} s: {ratio:.2f} x (mark {SPEED_UP})")
    twice = {s: n - frames for s, n in done.items() if n != frames}
    print(
        f"  a worker killed at frame {frames // 2}: {killed_s:.1f} s, "
        f"{killed.frames} frames, {len(killed.failed)} failed; done twice: {twice or 'nothing'}"
    )


def long_nights(folder: Path, lengths: list[int], size: tuple[int, ...]) -> None:
    """Measure time a frame and memory of nights of growing length, with two workers."""
    per_frame = {}
    for frames in lengths:
        root = folder / f"long-{frames}"
        make_night(root, frames, size=(size[0], size[1]), every_s=20.0, distinct=10)
        settings = settings_for(root, dask={"gpu": "never"})
        with client_for(settings, 2) as client:
            if frames == lengths[0]:
                again(client, root, settings)
            watch = Watch(client)
            seconds, _ = again(client, root, settings, watch)
        assert not Archive(root).unprocessed(CAMERA, NIGHT)
        per_frame[frames] = seconds / frames
        third = next(m for n, m in watch.memory if n >= frames / 3)
        last = watch.memory[-1][1]
        print(
            f"{frames:4} frames of {size[0]}x{size[1]}, 2 workers: {seconds:.1f} s, "
            f"{1000 * per_frame[frames]:.0f} ms a frame; memory of all processes "
            f"{third:.0f} MiB after a third, {last:.0f} MiB at the end ({last / third:.2f} x)"
        )
    first, final = per_frame[lengths[0]], per_frame[lengths[-1]]
    print(
        f"  a frame of the longest night takes {final / first:.2f} x that of the shortest "
        f"(mark {LINEAR})"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path.cwd())
    parser.add_argument("--frames", type=int, default=30, help="of the night with a lens; 0: none")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--long", type=int, nargs="*", default=[50, 200, 600], help="none: none")
    parser.add_argument("--long-size", default="240x180")
    options = parser.parse_args()
    os.environ.setdefault("ALLSKY360_THREADS", "1")
    folder = Path(tempfile.mkdtemp(prefix="benchmark-", dir=options.folder))
    size = tuple(int(n) for n in options.size.split("x"))
    small = tuple(int(n) for n in options.long_size.split("x"))
    try:
        if options.frames:
            two_workers(folder, options.frames, size)
        if options.long:
            long_nights(folder, options.long, small)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
