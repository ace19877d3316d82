"""Calibration frames: biases, darks and flats taken between two bursts, written as FITS files."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from allsky360.archive.layout import camera_slug
from allsky360.masters_write import write_frame
from allsky360.model import Exposure, FrameType

FOLDER = "calibration"


@dataclass(frozen=True)
class FrameSet:
    """Frames of one kind that are asked for.

    Attributes
    ----------
    kind
        "bias", "dark" or "flat".
    exposure_s
        Of each; a bias takes the camera's shortest.
    count
        How many.
    gain
        Camera units; None keeps what is set.
    """

    kind: FrameType
    exposure_s: float
    count: int
    gain: float | None = None


def frame_path(root: Path, camera: str, run_id: str, wanted: FrameSet, number: int) -> Path:
    """Return where one frame goes."""
    run = re.sub(r"[^A-Za-z0-9_-]+", "-", run_id).strip("-")[:60] or "run"
    time = "" if wanted.kind == "bias" else f"-{wanted.exposure_s:g}s"
    gain = "" if wanted.gain is None else f"-g{wanted.gain:g}"
    name = f"{wanted.kind}{time}{gain}-{number:04d}.fits"
    return root / camera_slug(camera) / FOLDER / run / name


async def store(root: Path, shot: Exposure, run_id: str, wanted: FrameSet, number: int) -> Path:
    """Write one frame, durable on return; gives its path."""
    path = frame_path(root, shot.camera, run_id, wanted, number)
    await asyncio.to_thread(write_frame, path, shot)
    return path
