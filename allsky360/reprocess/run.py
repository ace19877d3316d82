"""Make nights again over a Dask cluster: several at once, bounded, and resumable."""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allsky360.archive import Archive, ArchiveBusy
from allsky360.archive.durable import TryLock
from allsky360.archive.versions import drop, switch, write_record
from allsky360.cluster import ClusterError
from allsky360.errors import AllskyError
from allsky360.reprocess.places import Places
from allsky360.reprocess.plan import NightJob, record_whole
from allsky360.reprocess.relay import NightRelay, Stage
from allsky360.reprocess.remote import Recipe

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger(__name__)

WINDOW = 4
"""Frames of one night under way at once: enough for two workers never to wait."""

WORKERS_A_NIGHT = 2
"""Measuring and picturing go from frame to frame: a night keeps two or three workers busy."""


@dataclass
class NightResult:
    """What came of one night.

    Attributes
    ----------
    camera, night, version, before
        What was made, and what readers were shown before.
    frames
        Frames the version holds.
    made
        Of these, made in this run.
    failed
        Frames that could not be made, with the reason.
    switched
        Whether readers are shown the new version now.
    lost
        Frames the old version shows and the new one lacks: then it is not switched.
    error
        What ended the night early; empty when nothing did.
    """

    camera: str
    night: date
    version: str
    before: str
    frames: int = 0
    made: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    switched: bool = False
    lost: tuple[int, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a night is; ``done`` of ``total`` frames, ``failed`` among the rest."""

    camera: str
    night: date
    version: str
    done: int
    total: int
    failed: int


Report = Callable[[Progress], None]


class _Night:
    """One job while it runs."""

    def __init__(self, job: NightJob, root: Path, lock: TryLock, from_objects: bool) -> None:
        self.job, self.root, self.lock, self.from_objects = job, root, lock, from_objects
        self.total = Archive(root).count(job.camera, job.night)
        self.relay: NightRelay | None = None
        self.result = NightResult(job.camera, job.night, job.version, job.before)

    def begin(self, client: Client, watch: Any, places: Places, window: int, priority: int) -> None:
        job = self.job
        recipe = Recipe(
            self.root.absolute(), job.version, job.settings, job.lens_upto, self.from_objects
        )
        self._copy_raw()
        memory = job.record.start_memory
        self.relay = NightRelay(
            client,
            recipe,
            job.camera,
            job.night,
            deque(job.missing(self.root)),
            None if memory is None else dict(memory),
            watch,
            places,
            window,
            f"{job.camera}-{job.night.isoformat()}-{job.version}-{uuid.uuid4().hex[:8]}",
            priority,
        )

    def _copy_raw(self) -> None:
        """Let workers find what they need, where they read from the object store."""
        if self.from_objects:
            from allsky360.objects.push import push_night

            push_night(self.root, self.job.camera, self.job.night, self.job.settings.objects)

    def goes_on(self) -> bool:
        """Submit what can be; False where all is made, frames that came meanwhile included."""
        assert self.relay is not None
        self.relay.pump()
        if not self.relay.idle:
            return True
        tried = self.relay.failed
        new = [r for r in self.job.missing(self.root) if r.index not in tried]
        if new:
            self._copy_raw()
        self.relay.todo.extend(new)
        self.total = Archive(self.root).count(self.job.camera, self.job.night)
        self.relay.pump()
        return bool(new)

    def progress(self) -> Progress:
        assert self.relay is not None
        failed = len(self.relay.failed)
        left = len(self.relay.todo) + self.relay.under_way
        return Progress(
            self.job.camera,
            self.job.night,
            self.job.version,
            max(0, self.total - left - failed),
            self.total,
            failed,
        )


def reprocess(
    client: Client,
    root: Path,
    jobs: Sequence[NightJob],
    *,
    report: Report | None = None,
    drop_old: bool = False,
    switch_anyway: bool = False,
    window: int = WINDOW,
    from_objects: bool = False,
) -> list[NightResult]:
    """Make nights again; each is switched to its new version when that is whole.

    Killed at any moment, the next run with the same settings goes on where this one ended. Frames
    that arrive while a night is made are made too before it is switched.

    Parameters
    ----------
    client
        Of the cluster; its workers see the archive at the same path, unless ``from_objects``.
    root
        Folder of the archive.
    jobs
        From :func:`allsky360.reprocess.plan.plan_night`.
    report
        Told how far a night is, after every frame.
    drop_old
        Delete the version that was shown before, once the new one is.
    switch_anyway
        Switch even where the new version lacks frames that the old one shows.
    window
        Frames of one night under way at once.
    from_objects
        Workers do not see the archive: they read raw frames from ``objects.url`` and give what
        they make back to this process, which writes it.

    Returns
    -------
    list of NightResult
        In the order of ``jobs``. What ends one night early costs no other.

    Raises
    ------
    ClusterError
        The cluster went away; what is made is kept.
    """
    from distributed import as_completed

    places = Places(client)
    workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    at_once = max(1, -(-workers // WORKERS_A_NIGHT))
    waiting: deque[_Night] = deque()
    results: list[NightResult] = []
    for job in jobs:
        try:
            lock = TryLock(job.folder(root) / f".{job.version}.making.lock")
        except BlockingIOError:
            busy = ArchiveBusy(
                "another process makes this version.", mend="Wait for it, or stop it."
            )
            results.append(
                NightResult(job.camera, job.night, job.version, job.before, error=str(busy))
            )
            continue
        night = _Night(job, root, lock, from_objects)
        waiting.append(night)
        results.append(night.result)
    watched: dict[Future, tuple[NightRelay, Stage, int]] = {}
    active: list[_Night] = []
    coming: Any = as_completed(loop=client.loop, with_results=True, raise_errors=False)

    def watch(future: Future, relay: NightRelay, stage: Stage, index: int) -> None:
        watched[future] = (relay, stage, index)
        coming.add(future)

    def refill() -> None:
        while True:
            while waiting and len(active) < at_once:
                night = waiting.popleft()
                night.begin(client, watch, places, window, -1_000_000 * (len(jobs) - len(waiting)))
                active.append(night)
            ended = [n for n in active if not n.goes_on()]
            if not ended:
                return
            for night in ended:
                _finish(night, drop_old, switch_anyway)
                active.remove(night)
                night.lock.close()

    try:
        refill()
        while watched:
            future, result = next(coming)
            relay, stage, index = watched.pop(future)
            if future.status == "finished":
                try:
                    relay.arrived(stage, index, result)
                except AllskyError as refused:  # what came cannot be written here
                    relay.broke(stage, index, refused)
            elif future.status == "error":
                error = result[1] if isinstance(result, tuple) else RuntimeError(str(result))
                relay.broke(stage, index, error)
            else:
                raise ClusterError(
                    "the Dask cluster went away while nights were made again.",
                    mend="Start it and run the same command once more: it goes on.",
                )
            seen = next((n for n in active if n.relay is relay), None)
            del future
            refill()
            if report is not None and seen is not None and stage == "stored":
                report(seen.progress())
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"the Dask cluster went away while nights were made again: {error}.",
            mend="Start it and run the same command once more: it goes on.",
        ) from error
    finally:
        coming.clear()
        for night in [*active, *waiting]:
            night.lock.close()
    return results


def _finish(night: _Night, drop_old: bool, switch_anyway: bool) -> None:
    """Note what came of a night, and show it where it is whole."""
    try:
        _switch(night, drop_old, switch_anyway)
    except AllskyError as error:
        log.error("%s %s: %s", night.job.camera, night.job.night, error)
        night.result.error = str(error)


def _switch(night: _Night, drop_old: bool, switch_anyway: bool) -> None:
    assert night.relay is not None
    job, result, relay = night.job, night.result, night.relay
    result.failed, result.made = dict(relay.failed), relay.stored
    missing = {r.index for r in job.missing(night.root)}
    result.frames = night.total - len(missing)
    folder = job.folder(night.root)
    if job.version != job.before:
        old = Archive(night.root, job.before).unprocessed(job.camera, job.night)
        result.lost = tuple(sorted(missing - {r.index for r in old}))
    if result.lost and not switch_anyway:
        log.warning("%s %s: %s lacks %s", job.camera, job.night, job.version, result.lost)
        return
    if not result.frames:
        result.error = "no frame could be made"
        return
    write_record(folder, record_whole(job, result.frames, result.failed))
    switch(folder, job.version)
    result.switched = True
    if drop_old and job.before != job.version:
        drop(folder, job.before)
