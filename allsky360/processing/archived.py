"""One archived frame: raw to linear, numbers, picture, and back into the archive."""

from __future__ import annotations

import logging
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allsky360.config import Settings
from allsky360.config_overrides import with_overrides
from allsky360.errors import AllskyError
from allsky360.processing.gpu_fallback import with_fallback
from allsky360.processing.previous import previous
from allsky360.processing.stages import (
    FramePackage,
    begin_frame,
    measure_begun,
    package_of,
    picture_measured,
    store_package,
    with_warnings,
)

if TYPE_CHECKING:
    from allsky360.archive import FrameRef

log = logging.getLogger(__name__)


def process_archived_frame(root: Path, ref: FrameRef, settings: Settings) -> dict[str, Any]:
    """Develop one archived bracket and store linear frame, picture, numbers and provenance.

    What a Dask worker runs. Running it again writes the same frame again. It goes into the night's
    current version, made as that version is.

    Parameters
    ----------
    root
        Folder of the archive.
    ref
        The frame.
    settings
        The whole tree.

    Returns
    -------
    dict
        Small record: camera, night, index, seconds, warnings and the statistics.
    """
    from allsky360.archive import Archive

    archive = Archive(root)
    version, settings = current_version_of(root, ref.camera, ref.night, settings)
    before = previous(archive, ref)

    def make(allowed: Settings) -> FramePackage:
        begun = begin_frame(root, ref, allowed)
        measured = measure_begun(begun, before.memory, settings)
        pictured = picture_measured(measured, before.tone, before.memory, settings)
        return package_of(pictured, settings)

    package, told = with_fallback(make, settings, root, ref.camera)
    return store_package(with_warnings(package, told), root, version)


def current_version_of(
    root: Path, camera: str, night: date, settings: Settings
) -> tuple[str, Settings]:
    """Return a night's current version, and the settings with what that version changed."""
    from allsky360.archive.layout import current_version, night_folder
    from allsky360.archive.versions import read_record

    folder = night_folder(root, camera, night)
    version = current_version(folder)
    try:
        record = read_record(folder, version)
        return version, with_overrides(settings, record.overrides if record else {})
    except AllskyError as error:  # the frame is made with the plain settings rather than not at all
        log.warning("%s %s is not made as the rest of %s: %s", camera, night, version, error)
        return version, settings
