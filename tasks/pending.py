"""Find frames that were stored but not processed, and process them in batches on Dask."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from allsky360.config import Settings
from allsky360.errors import AllskyError
from tasks.burst import run_log
from tasks.handover import frame_key, submit_frame

if TYPE_CHECKING:
    from allsky360.archive import FrameRef

FIRST_PAUSE = timedelta(minutes=4)
LONGEST_PAUSE = timedelta(days=1)
FRAME_TIMEOUT_S = 120.0


@task(
    name="process-batch",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=[5, 15, 30],
)
def process_batch(settings: Settings, frames: Sequence[str], refs: Any) -> dict[str, Any]:
    """Process one batch on the cluster; retried when the cluster is away.

    Frames that fail are named in the record and do not fail the batch: the others are done.

    Parameters
    ----------
    frames
        Keys of the frames, for the UI.
    refs
        A :class:`Batch`, opaque to Prefect.

    Raises
    ------
    ClusterError
        No Dask scheduler answers.
    TimeoutError
        The cluster did not finish the batch in time; it goes on by itself.
    """
    from distributed import wait

    from allsky360.cluster import connect

    log = run_log()
    with connect(settings) as client, client.as_current():
        futures = {frame_key(r): submit_frame(client, settings, r) for r in refs.frames}
        wait(list(futures.values()), timeout=FRAME_TIMEOUT_S * len(frames))
        errors = {
            key: f"{type(error).__name__}: {error}"
            for key, future in futures.items()
            if (error := future.exception(timeout=5)) is not None
        }
    for key, error in errors.items():
        log.error("%s failed: %s", key, error)
    return {"processed": len(frames) - len(errors), "errors": errors}


def batch_limit_s(frames: int) -> float:
    """Return how long :func:`process_batch` may take with all tries before it counts as hung."""
    return (process_batch.retries + 1) * (FRAME_TIMEOUT_S * frames + 60.0) + 600.0


class Batch:
    """Frames of one task. A plain class: Prefect must not walk it."""

    def __init__(self, frames: Sequence[FrameRef]) -> None:
        self.frames = tuple(frames)
        self.keys = [frame_key(f) for f in self.frames]


def pending_frames(settings: Settings, nights: int) -> list[FrameRef]:
    """List unprocessed frames of the newest nights of every camera, in the order of capture.

    In order, because a frame's picture and its judgement of the sky go on from the frame before.
    A night that cannot be read is left out: it holds up no other.

    Frames of a running burst may be among them. They cost nothing: a frame has the same Dask key
    whoever hands it over, so that the second joins the first, and writing is idempotent.
    """
    from allsky360.archive import Archive

    archive = Archive(settings.storage.root)
    found: list[FrameRef] = []
    for camera in archive.cameras():
        for night in sorted(archive.nights(camera))[-nights:]:
            try:
                found += sorted(archive.unprocessed(camera, night), key=lambda ref: ref.index)
            except (AllskyError, OSError) as error:
                run_log().error("%s %s is left out: %s", camera, night, error)
    return found


def batches(frames: Sequence[FrameRef], size: int) -> Iterator[Batch]:
    """Cut frames into batches of at most ``size``."""
    for start in range(0, len(frames), size):
        yield Batch(frames[start : start + size])


class Failures:
    """When to try a frame again that failed before: after 4 minutes, 8, 16 … at most a day.

    Kept in one small file, so that a frame that can never be processed does not cost a try every
    five minutes for ever, and none is ever given up.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, dict[str, Any]] = {}
        try:
            self._known = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:  # it is only a memory: begin anew
            run_log().warning("%s is unreadable (%s); begun anew", file, error)

    def due(self, key: str, now: datetime) -> bool:
        """Return whether a frame may be tried now."""
        entry = self._known.get(key)
        return entry is None or datetime.fromisoformat(entry["not_before"]) <= now

    def note(self, tried: Sequence[str], errors: dict[str, str], now: datetime) -> None:
        """Remember what failed, forget what succeeded, write the file."""
        for key in tried:
            if key not in errors:
                self._known.pop(key, None)
                continue
            count = int(self._known.get(key, {}).get("failures", 0)) + 1
            pause = min(FIRST_PAUSE * 2 ** min(count - 1, 20), LONGEST_PAUSE)
            self._known[key] = {
                "failures": count,
                "not_before": (now + pause).isoformat(),
                "error": errors[key],
            }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".partial")
        fresh.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
        os.replace(fresh, self._file)


def failures_of(settings: Settings) -> Failures:
    """Return the memory of failed frames of this archive."""
    return Failures(settings.storage.root / "prefect" / "failed-frames.json")


def due_frames(frames: Sequence[FrameRef], failures: Failures, now: datetime) -> list[FrameRef]:
    """Leave out the frames that failed a short while ago."""
    return [f for f in frames if failures.due(frame_key(f), now)]


def utc_now() -> datetime:
    """Return the wall clock: pauses between tries are real time, also in a rehearsal."""
    return datetime.now(UTC)
