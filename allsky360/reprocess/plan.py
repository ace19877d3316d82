"""What is to be done for a night: which version, from which settings, which frames are missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from allsky360 import __version__
from allsky360.archive import Archive, FrameRef
from allsky360.archive.layout import current_version, night_folder
from allsky360.archive.products import LeftOut
from allsky360.archive.removed import removed
from allsky360.archive.versions import (
    VersionRecord,
    next_version,
    read_record,
    versions,
    write_record,
)
from allsky360.config import Settings
from allsky360.config_overrides import with_overrides
from allsky360.errors import AllskyError
from allsky360.imaging.filters.registry import FILTERS
from allsky360.imaging.parameters import parameters_from
from allsky360.imaging.tone import TONE_VERSION
from allsky360.lenses import lens_paths
from allsky360.masters import masters_in_use, masters_stamp
from allsky360.processing.chain import MEASURE_VERSION
from allsky360.processing.previous import memory_of_an_earlier_night


@dataclass(frozen=True)
class NightJob:
    """One night to make again.

    Attributes
    ----------
    camera, night
        Which; ``camera`` is a slug.
    record
        The version that is made.
    before
        The version readers are shown meanwhile; the same as ``record.version`` for a night that
        was never processed.
    resumed
        Whether the version was begun by an earlier run.
    settings
        With the version's changes.
    """

    camera: str
    night: date
    record: VersionRecord
    before: str
    resumed: bool
    settings: Settings

    @property
    def version(self) -> str:
        """Name of the version that is made."""
        return self.record.version

    @property
    def lens_upto(self) -> int:
        """Number of the newest lens file its frames may use."""
        return int(self.record.provenance["lens_serial"])

    def folder(self, root: Path) -> Path:
        """Folder of the night."""
        return night_folder(root, self.camera, self.night)

    def frames(self, root: Path) -> int:
        """Number of raw frames the night has by now."""
        return Archive(root).count(self.camera, self.night)

    def missing(self, root: Path) -> list[FrameRef]:
        """Frames the version lacks, oldest first; the night may have grown."""
        return Archive(root, self.version).unprocessed(self.camera, self.night)


def plan_night(
    root: Path,
    camera: str,
    night: date,
    settings: Settings,
    overrides: Mapping[str, Any],
    *,
    again: bool = False,
) -> NightJob | None:
    """Decide which version a night is made in, and begin it.

    A version begun with the same digest goes on. A version that is whole, shown and made with the
    same digest leaves nothing to do, unless ``again``.

    Returns
    -------
    NightJob or None
        None where nothing is to be done.

    Raises
    ------
    AllskyError
        The night's raw frames are gone, or the disk refuses.
    """
    folder = night_folder(root, camera, night)
    if "raw" in removed(folder):
        raise AllskyError(
            f"{camera} {night} cannot be made again: retention removed its raw frames.",
            mend="Mark nights you want to keep whole as favourites.",
        )
    changed = _with_masters_named(with_overrides(settings, overrides), root)
    provenance = _provenance(root, camera, changed)
    digest = digest_of(provenance)
    shown = current_version(folder)
    for name in reversed(versions(folder)):
        record = read_record(folder, name)
        if record is None or record.digest != digest:
            continue
        if record.whole_at is None:
            return NightJob(camera, night, record, shown, True, changed)
        if name == shown and not again:
            return None
    memory = memory_of_an_earlier_night(Archive(root), FrameRef(camera, night, 0))
    record = VersionRecord(
        version=next_version(folder),
        begun_at=datetime.now(UTC),
        digest=digest,
        overrides=dict(overrides),
        provenance=provenance,
        start_memory=None if memory is None else memory.to_json(),
    )
    write_record(folder, record)
    return NightJob(camera, night, record, shown, False, changed)


@dataclass(frozen=True)
class Plan:
    """What is to be done for several nights.

    Attributes
    ----------
    jobs
        Nights to make, oldest first.
    said
        A line a night, for people.
    failed
        Nights that cannot be made.
    """

    jobs: list[NightJob]
    said: list[str]
    failed: int


def plan_nights(
    root: Path,
    nights: Sequence[tuple[str, date]],
    settings: Settings,
    overrides: Mapping[str, Any],
    again: bool = False,
) -> Plan:
    """Plan every night; one that cannot be made again holds up no other.

    Raises
    ------
    SettingsError
        An override is wrong.
    """
    with_overrides(settings, overrides)  # a wrong one is no night's fault
    plan = Plan([], [], 0)
    for camera, night in nights:
        try:
            job = plan_night(root, camera, night, settings, overrides, again=again)
        except AllskyError as error:
            plan.said.append(f"{camera} {night}: {error}")
            plan = replace(plan, failed=plan.failed + 1)
            continue
        if job is None:
            plan.said.append(f"{camera} {night}: already made with these settings")
            continue
        plan.jobs.append(job)
        plan.said.append(describe(job, len(job.missing(root))))
    return plan


def _with_masters_named(settings: Settings, root: Path) -> Settings:
    """Name the folder of masters, so that a worker that has not got it fails and says so."""
    folder = masters_in_use(settings, root)
    if folder is None:
        return settings
    named = settings.processing.model_copy(update={"dark_root": folder.absolute()})
    return settings.model_copy(update={"processing": named})


def _provenance(root: Path, camera: str, settings: Settings) -> dict[str, Any]:
    """Collect everything that makes a frame what it is, beside its raw exposures."""
    lenses = lens_paths(root, camera)
    folder = masters_in_use(settings, root)
    stamp = masters_stamp(folder) if folder is not None else ()
    return {
        "software": f"allsky360 {__version__}",
        "parameters_digest": parameters_from(settings).digest(),
        "steps": {f.name: f.version for f in FILTERS.values()}
        | {"measure": MEASURE_VERSION, "tone": TONE_VERSION},
        "lens_serial": int(lenses[-1].stem) if lenses else 0,
        "lens_sha256": _sha256(lenses[-1].read_bytes()) if lenses else "",
        "masters": [list(entry) for entry in stamp],
        "site": settings.site.model_dump(mode="json"),
        "jpeg_quality": settings.processing.jpeg_quality,
        "overlay": settings.overlay.model_dump(mode="json"),
        "safety": settings.safety.model_dump(mode="json"),
    }


def digest_of(provenance: Mapping[str, Any]) -> str:
    """Short hash of what makes a version's frames what they are."""
    return _sha256(json.dumps(provenance, sort_keys=True).encode())[:16]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def describe(job: NightJob, missing: int) -> str:
    """One line about a job, for people."""
    words = "goes on" if job.resumed else "begins"
    changes = ", ".join(f"{k}={v}" for k, v in job.record.overrides.items())
    return f"{job.camera} {job.night}: {job.version} {words}, {missing} frames" + (
        f" ({changes})" if changes else ""
    )


def record_whole(job: NightJob, frames: int, failed: Mapping[int, str]) -> VersionRecord:
    """Return the job's record once its version is whole."""
    left = tuple(LeftOut(i, failed[i]) for i in sorted(failed))
    return replace(job.record, whole_at=datetime.now(UTC), frames=frames, failed=left)
