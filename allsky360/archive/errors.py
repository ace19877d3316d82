"""What can go wrong with the archive, by name."""

from __future__ import annotations

import errno
from pathlib import Path

from allsky360.errors import AllskyError

FULL = (errno.ENOSPC, errno.EDQUOT)


class ArchiveError(AllskyError):
    """Something is wrong with the archive."""

    name = "archive"


class ArchiveFull(ArchiveError):
    """The disk has no room left."""

    name = "archive-full"


class ArchiveBusy(ArchiveError):
    """Another process writes this camera's raw frames."""

    name = "archive-busy"


class UnknownSchema(ArchiveError):
    """A store's layout is of another time than this program: it is neither read nor touched."""

    name = "unknown-schema"


class NoSuchFrame(ArchiveError):
    """The archive holds no such camera, night or frame."""

    name = "no-such-frame"


class RawRemoved(NoSuchFrame):
    """The frame was processed, and its raw images have been removed since."""

    name = "raw-removed"


def archive_error(error: OSError, path: Path) -> ArchiveError:
    """Turn an operating-system error into one that names the path and the mend."""
    if error.errno in FULL:
        return ArchiveFull(
            f"{path}: the disk is full.", mend="Run 'allsky360 retention', or move storage.root."
        )
    return ArchiveError(
        f"{path}: {error.strerror or error}.", mend="Check the disk and the folder's permissions."
    )
