"""What really was in each frame, written beside it."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from allsky360.errors import AllskyError
from allsky360.simulator.source import ExposureRequest, SimulatedFrame


class TruthError(AllskyError):
    """The truth of a frame cannot be written."""


def truth_record(
    camera: str, request: ExposureRequest, frame: SimulatedFrame, bits: int
) -> dict[str, Any]:
    """Return the truth of one frame as plain values: what was asked, what came, what was there."""
    return {
        "camera": camera,
        "start": request.start.isoformat(),
        "exposure_s": request.exposure_s,
        "gain": request.gain,
        "offset": request.offset,
        "temperature_c": request.temperature_c,
        "frame_type": request.frame_type,
        "binning": request.binning,
        "roi": list(request.roi) if request.roi else None,
        "bits_per_pixel": bits,
        "shape": list(frame.pixels.shape),
        "pattern": frame.pattern,
        "truth": frame.truth,
    }


def truth_name(request: ExposureRequest) -> str:
    """Return the file name stem of a frame's truth: its start, to the microsecond."""
    return request.start.strftime("%Y%m%dT%H%M%S.%fZ")


def write_truth(
    folder: Path, request: ExposureRequest, record: dict[str, Any], frame: SimulatedFrame
) -> Path:
    """Write ``<start>.json``, and ``<start>.npz`` before it when the frame has truth maps.

    Each file appears whole or not at all.

    Raises
    ------
    TruthError
        Naming folder and reason.
    """
    stem = truth_name(request)
    target = folder / f"{stem}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if frame.arrays:
            packed = io.BytesIO()
            np.savez(packed, **frame.arrays)  # type: ignore[arg-type]
            _write_whole(folder / f"{stem}.npz", packed.getvalue())
            record = record | {"arrays": f"{stem}.npz"}
        _write_whole(target, json.dumps(record, indent=1, allow_nan=False).encode())
    except (OSError, ValueError) as error:
        raise TruthError(
            f"cannot write the frame's truth {target}: {error}.",
            mend="Mend simulator.truth_dir or leave it out.",
        ) from error
    return target


def _write_whole(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
