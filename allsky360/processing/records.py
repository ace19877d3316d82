"""What a frame's record says: how it came about, as plain JSON values."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from allsky360 import __version__
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.pipeline import Developed
from allsky360.model import Bracket, Exposure

if TYPE_CHECKING:
    from allsky360.measure.frame import Measurement
    from allsky360.sky.lens_file import LensFile


def provenance_of(
    bracket: Bracket, developed: Developed, parameters: ChainParameters
) -> dict[str, Any]:
    """Everything that says how a frame came about; plain JSON values."""
    record: dict[str, Any] = plain(
        {
            "software": f"allsky360 {__version__}",
            "processed": datetime.now(UTC).isoformat(),
            "camera": bracket.exposures[0].camera,
            "start": bracket.start.isoformat(),
            "exposures": [_exposure_record(e) for e in bracket.exposures],
            "parameters": asdict(parameters),
            "parameters_digest": parameters.digest(),
            "steps": [asdict(s) for s in developed.steps],
            "statistics": developed.statistics,
            "tone": developed.tone.to_json(),
            "warnings": list(developed.warnings),
        }
    )
    return record


def _exposure_record(exposure: Exposure) -> dict[str, Any]:
    return {
        "start": exposure.start.isoformat(),
        "exposure_s": exposure.exposure_s,
        "gain": exposure.gain,
        "offset": exposure.offset,
        "temperature_c": exposure.temperature_c,
        "pattern": exposure.pattern,
        "shape": list(exposure.pixels.shape),
        "metadata": exposure.metadata,
    }


def plain(value: Any) -> Any:
    """Replace what JSON cannot hold: NaN by null, tuples by lists, anything else by its text."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return str(value)


def sky_record(sky: Measurement | None, lens: LensFile | None) -> dict[str, Any]:
    """Return what a frame's record says about its measurement beside the numbers."""
    if sky is None:
        return {}
    about = None
    if lens is not None:
        about = {"serial": lens.serial, "solved": lens.solved.isoformat()}
    words: dict[str, Any] = plain(
        {"sky": sky.words | {"lens": about, "memory": sky.memory.to_json()}}
    )
    return words
