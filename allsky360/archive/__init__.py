"""The Zarr archive: layout, writing, reading, integrity check."""

from allsky360.archive.errors import ArchiveBusy, ArchiveError, ArchiveFull, NoSuchFrame, RawRemoved
from allsky360.archive.layout import FrameRef, camera_slug
from allsky360.archive.processed import ProcessedWriter
from allsky360.archive.raw import RawWriter
from allsky360.archive.reader import Archive, FrameRecord, StoredRow
from allsky360.archive.rows import Axis, Row
from allsky360.archive.verify import Problem, verify_night

__all__ = [
    "Archive",
    "ArchiveBusy",
    "ArchiveError",
    "ArchiveFull",
    "Axis",
    "FrameRecord",
    "FrameRef",
    "NoSuchFrame",
    "Problem",
    "ProcessedWriter",
    "RawRemoved",
    "RawWriter",
    "Row",
    "StoredRow",
    "camera_slug",
    "verify_night",
]
