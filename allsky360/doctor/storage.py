"""The archive and the disk it lies on."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from allsky360.archive import Archive, verify_night
from allsky360.archive.retention import is_short
from allsky360.config import Settings
from allsky360.doctor.finding import Finding
from allsky360.errors import AllskyError
from allsky360.offsite.state import read_state

#: file systems on which a rename after a sync is not what the archive's crash rule needs
DOUBTFUL = {"vfat", "exfat", "msdos", "ntfs", "ntfs3", "fuseblk", "9p", "tmpfs"}
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs"}
SLOW_SYNC_S = 0.5


def storage(settings: Settings) -> Iterator[Finding]:
    """Look at the folder, the disk and the newest night."""
    root = settings.storage.root
    if not root.exists():
        yield Finding("storage", "folder", "none", f"{root.absolute()} does not exist yet")
        return
    yield _writable(root)
    yield _file_system(root)
    yield _room(settings)
    yield from _offsite(settings)
    yield from _newest_night(root)


def _writable(root: Path) -> Finding:
    """Write, sync and rename a file, as each commit does."""
    try:
        began = time.perf_counter()
        with tempfile.NamedTemporaryFile(dir=root, prefix=".doctor-", delete=False) as file:
            file.write(b"allsky360")
            file.flush()
            os.fsync(file.fileno())
        took_s = time.perf_counter() - began
        Path(file.name).unlink()
    except OSError as error:
        mend = "Give the folder to the user that runs allsky360, or free space."
        return Finding("storage", "folder", "bad", f"{root}: {error.strerror or error}", mend)
    says = f"{root.absolute()}: a synced write takes {took_s * 1000:.0f} ms"
    if took_s > SLOW_SYNC_S:
        return Finding("storage", "folder", "doubt", says, "Use an SSD: SD cards wear out soon.")
    return Finding("storage", "folder", "good", says)


def _offsite(settings: Settings) -> Iterator[Finding]:
    """Say how far the off-site copy is."""
    if not settings.offsite.url:
        return
    state = read_state(settings.storage.root)
    if state is None or state.url != settings.offsite.url:
        says = f"nothing was copied to {settings.offsite.url} yet"
        yield Finding("storage", "off-site copy", "doubt", says, "Run 'allsky360 offsite copy'.")
        return
    says = (
        f"{state.safe_files} files safe, {state.waiting_files} waited at "
        f"{state.tried_at:%Y-%m-%d %H:%M} UTC"
    )
    if state.problem:
        yield Finding("storage", "off-site copy", "bad", f"{says}; {state.problem}", "See there.")
        return
    yield Finding("storage", "off-site copy", "good", says)


def _file_system(root: Path) -> Finding:
    kind = file_system(root)
    if kind in REMOTE:
        mend = "Keep the camera's archive on a local disk and copy it from there."
        return Finding("storage", "file system", "doubt", f"{kind}: a network disk", mend)
    if kind in DOUBTFUL:
        mend = "Use ext4, XFS or Btrfs: this one may lose frames in a power cut."
        return Finding("storage", "file system", "doubt", kind, mend)
    return Finding("storage", "file system", "good", kind or "unknown")


def file_system(path: Path) -> str:
    """Return the type of the file system a path lies on; empty where the kernel does not say."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    target = str(path.resolve())
    best, kind = "", ""
    for line in lines:
        fields = line.split()
        place = fields[1].replace("\\040", " ") if len(fields) > 2 else ""
        below = place == "/" or target == place or target.startswith(place + "/")
        if place and below and len(place) >= len(best):
            best, kind = place, fields[2]
    return kind


def _room(settings: Settings) -> Finding:
    root = settings.storage.root
    usage = shutil.disk_usage(root)
    floor = settings.storage.min_free_gb * 1e9
    says = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free"
    if usage.free < floor:
        mend = "Capture is paused. Free space, or see what 'allsky360 retention' may remove."
        return Finding("storage", "room", "bad", says, mend)
    if is_short(root, settings.retention, floor):
        mend = "The oldest nights give way; mark those to keep with 'allsky360 favourite NIGHT'."
        return Finding("storage", "room", "doubt", says, mend)
    return Finding("storage", "room", "good", says)


def _newest_night(root: Path) -> Iterator[Finding]:
    archive = Archive(root)
    try:
        newest = archive.latest()
    except AllskyError as error:
        yield Finding("storage", "archive", "bad", error.message, error.mend)
        return
    if newest is None:
        yield Finding("storage", "archive", "none", "it holds no frame yet")
        return
    age_s = (datetime.now(UTC) - newest.time).total_seconds()
    says = f"newest frame {newest.ref.id} of {newest.ref.camera}, {age_s:.0f} s old"
    yield Finding("storage", "archive", "good", says)
    night = root / newest.ref.camera / newest.ref.night.isoformat()
    problems = verify_night(night, deep=False)
    errors = [p for p in problems if p.severity == "error"]
    if errors:
        first = errors[0]
        says = f"{night.name} has {len(errors)} errors, first {first.where}: {first.what}"
        yield Finding("storage", "newest night", "bad", says, "Run 'allsky360 verify'.")
    else:
        yield Finding("storage", "newest night", "good", f"{night.name} is whole")
    waiting = len(archive.unprocessed(newest.ref.camera, newest.ref.night))
    if waiting > 20:
        mend = "Processing lags behind: look at the part dask, or take fewer filters."
        yield Finding("storage", "queue", "doubt", f"{waiting} frames wait for processing", mend)
    else:
        yield Finding("storage", "queue", "good", f"{waiting} frames wait for processing")
