"""The newest verdict on the sky of a camera, for observatory scripts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from allsky360.archive import Archive, FrameRef
from allsky360.errors import AllskyError
from allsky360.sky.safety import Safety, SafetyRules, SafetyState, safety_at

LOOK_BACK = 20
"""Frames searched backwards for the newest measured one."""


def current_safety(
    root: Path, now: datetime, camera: str | None = None, rules: SafetyRules | None = None
) -> Safety:
    """Return the verdict at an instant: "unknown" wherever there is no fresh measurement.

    Parameters
    ----------
    root
        Folder of the archive.
    now
        UTC.
    camera
        Slug or device name; None takes the camera with the newest frame.
    rules
        How old a verdict may be.
    """
    archive = Archive(root)
    latest = archive.latest(None if camera is None else archive.slug(camera))
    if latest is None:
        return Safety("unknown", "no frame has been taken", None)
    ref = latest.ref
    for index in range(ref.index, max(ref.index - LOOK_BACK, -1), -1):
        try:
            record = archive.record(FrameRef(ref.camera, ref.night, index))
            state = SafetyState.from_json(record["provenance"]["sky"]["memory"]["safety"])
        except (AllskyError, OSError, KeyError, TypeError, ValueError, AttributeError):
            continue  # not processed yet, or not measured: an older one decides, by its age
        return safety_at(state, now, rules or SafetyRules())
    return Safety("unknown", f"none of the last {LOOK_BACK} frames was measured", None)
