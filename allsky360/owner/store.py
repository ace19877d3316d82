"""Hands brackets to the archive in a thread of its own, and holds what the disk cannot take yet."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from allsky360.archive.durable import make_folder, sync_folder
from allsky360.archive.errors import FULL, ArchiveFull
from allsky360.archive.layout import camera_slug
from allsky360.errors import AllskyError
from allsky360.model import Bracket
from allsky360.owner.parts import StoredFrame, Writer, WriterFactory

log = logging.getLogger(__name__)

#: Brackets that may wait for the disk; beyond that the camera waits.
QUEUE = 2
#: Tries for an error that is not about the disk as a whole before the bracket is put aside.
TRIES = 4
#: A disk that was mounted read-only, closed, or unplugged: it may come back, and nothing is lost.
CLOSED = frozenset(
    {
        *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENODEV, errno.ENXIO),
        *(errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN),
    }
)


class DiskFull(AllskyError):
    """The archive's disk has less room than the settings ask for."""

    name = "disk-full"


class NotWritable(AllskyError):
    """The archive's folder cannot be reached or not be written."""

    name = "not-writable"


class ArchiveFault(AllskyError):
    """The archive could not take a bracket."""

    name = "archive"


@dataclass
class Job:
    """One bracket on its way to disk.

    ``scalars`` is called in the writer's thread, where slow arithmetic delays no exposure.
    """

    bracket: Bracket
    scalars: Callable[[], Mapping[str, float]]
    done: asyncio.Future[StoredFrame] = field(default_factory=asyncio.Future)


class Store:
    """Bounded queue in front of the raw archive. Nothing put into it is dropped.

    Parameters
    ----------
    factory
        Makes the writer for a camera.
    root
        ``storage.root``.
    min_free_gb
        Free space below which :meth:`check_room` refuses.
    on_fault
        Told of each new fault, and with None when it is over.
    after
        Called in the writer's thread after each commit.
    recheck_s
        Pause before a full or failing disk is tried again.
    """

    def __init__(
        self,
        factory: WriterFactory,
        root: Path,
        min_free_gb: float,
        *,
        on_fault: Callable[[AllskyError | None], None],
        after: Callable[[], None],
        recheck_s: float = 5.0,
    ) -> None:
        self._factory = factory
        self._root = root
        self._min_free = min_free_gb * 1e9
        self._on_fault = on_fault
        self._after = after
        self.recheck_s = recheck_s
        self._queue: asyncio.Queue[Job] = asyncio.Queue(QUEUE)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="raw-writer")
        self._writer: Writer | None = None
        self._task: asyncio.Task[None] | None = None
        self._giving_up = asyncio.Event()
        #: Brackets handed in and not yet durable.
        self.backlog = 0

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._work(), name="raw-store")

    async def stop(self, grace_s: float = 5.0) -> None:
        """Write what waits, put aside what cannot be written in time, and close."""
        if self._task is None:
            return
        try:
            async with asyncio.timeout(grace_s):
                await self._queue.join()
        except TimeoutError:
            self._giving_up.set()
            await self._queue.join()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        writer, self._writer = self._writer, None
        if writer is not None:
            await self._close(writer)
        self._thread.shutdown()

    async def put(self, job: Job) -> None:
        """Queue a bracket; waits while the queue is full."""
        self.backlog += 1
        await self._queue.put(job)

    def check_room(self) -> None:
        """Refuse when nothing could be written, or less than ``storage.min_free_gb`` is left."""
        try:
            folder = next(p for p in (self._root, *self._root.absolute().parents) if p.exists())
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise NotWritable(
                f"{self._root}: {error.strerror}.", mend="Check that the disk is mounted."
            ) from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise NotWritable(
                f"storage.root {self._root} cannot be written ({folder} is closed to us).",
                mend="Mend its permissions or mount, or choose another; capture resumes by itself.",
            )
        if free < self._min_free:
            raise DiskFull(
                f"{self._root} has {free / 1e9:.2f} GB left, less than storage.min_free_gb = "
                f"{self._min_free / 1e9:g}.",
                mend="Delete old nights or move storage.root; capture resumes by itself.",
            )

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            try:
                frame = await self._commit(job)
                if not job.done.done():
                    job.done.set_result(frame)
            except Exception as error:  # this task must outlive whatever a bracket brings
                if not isinstance(error, AllskyError):
                    log.exception("a bracket could not be stored")
                    error = describe(error, self._root)
                if not job.done.done():
                    job.done.set_exception(error)
                    job.done.exception()  # read once: a caller that hung up will not
            finally:
                self.backlog -= 1
                self._queue.task_done()

    async def _commit(self, job: Job) -> StoredFrame:
        failures = 0
        while True:
            try:
                frame: StoredFrame = await self._in_thread(self._write, job)
            except Exception as error:
                fault = describe(error, self._root)
                if not isinstance(fault, DiskFull | NotWritable):
                    failures += 1
                    log.exception("the archive did not take a bracket")
                self._on_fault(fault)
                if failures >= TRIES or self._giving_up.is_set():
                    raise await self._put_aside(job, fault) from error
                await self._pause()
                continue
            self._on_fault(None)
            return frame

    def _write(self, job: Job) -> StoredFrame:
        if self._writer is None:
            self._writer = self._factory(job.bracket.exposures[0].camera)
        frame = self._writer.append(job.bracket, job.scalars())
        try:
            self._after()
        except Exception:
            # The frame is safe; whatever this was, writing it again would store it twice.
            log.exception("the exposure memory for a restart was not written")
        return frame

    async def _put_aside(self, job: Job, fault: AllskyError) -> AllskyError:
        """Save a bracket the archive refuses as a plain file, and go on with a fresh writer."""
        broken, self._writer = self._writer, None
        if broken is not None:
            await self._close(broken)  # lets go of the archive's lock
        folder = self._root / camera_slug(job.bracket.exposures[0].camera) / "rescue"
        path = folder / f"{job.bracket.start:%Y%m%dT%H%M%S.%fZ}.npz"
        try:
            await self._in_thread(save_bracket, path, job.bracket)
        except OSError as error:
            log.error("a bracket is lost: %s; and %s: %s", fault, path, error)
            return ArchiveFault(f"A bracket is lost: {fault} And {path}: {error}.")
        self._on_fault(None)
        return ArchiveFault(f"{fault.message} The bracket was put aside as {path}.")

    async def _close(self, writer: Writer) -> None:
        try:
            await self._in_thread(writer.close)
        except (AllskyError, OSError) as error:  # every frame is committed already
            log.warning("closing the archive: %s", error)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self.recheck_s):
                await self._giving_up.wait()
        except TimeoutError:
            return

    async def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


def describe(error: Exception, root: Path) -> AllskyError:
    """Name what went wrong with the archive."""
    cause = error if isinstance(error, OSError) else error.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    if number in FULL or isinstance(error, ArchiveFull):
        return DiskFull(
            f"{root}: the disk is full.",
            mend="Delete old nights or move storage.root; capture resumes by itself.",
        )
    if number in CLOSED:
        return NotWritable(
            f"{root}: {os.strerror(number)}.",
            mend="Mend its permissions or mount; capture resumes by itself.",
        )
    if isinstance(error, AllskyError):
        return ArchiveFault(error.message, mend=error.mend)
    return ArchiveFault(f"{root}: {type(error).__name__}: {error}.")


def save_bracket(path: Path, bracket: Bracket) -> None:
    """Write a bracket as NumPy file: ``pixels_0…`` and a JSON header of all else."""
    header = [
        {f.name: getattr(e, f.name) for f in fields(e) if f.name != "pixels"}
        | {"start": e.start.isoformat()}
        for e in bracket.exposures
    ]
    make_folder(path.parent)
    arrays = {f"pixels_{i}": e.pixels for i, e in enumerate(bracket.exposures)}
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            np.savez(file, header=np.array(json.dumps(header, default=str)), **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError:
        part.unlink(missing_ok=True)  # half a file helps nobody and takes room
        raise


__all__ = ["ArchiveFault", "DiskFull", "Job", "NotWritable", "Store", "describe", "save_bracket"]
