"""Small archives of made-up processed nights, quickly written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.archive import FrameRef, ProcessedWriter, RawWriter
from allsky360.imaging.encode import encode_jpeg
from allsky360.imaging.parameters import ChainParameters
from allsky360.model import Bracket, Exposure, Site
from allsky360.processing.records import plain
from tests.conftest import utc

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)
EVENING = utc("2026-11-22T20:00:00")
NIGHT = date(2026, 11, 22)
CAMERA = "cam"
EXPOSURE_S = 8.0

Painter = Callable[[int, datetime], NDArray[np.uint8]]


def provenance(shape: tuple[int, int], start: datetime) -> dict[str, Any]:
    """What a frame's record says about a picture of the whole frame of ``shape``."""
    parameters = ChainParameters(profiles={"clear": (("stretch", {}),)})
    return dict(
        plain(
            {
                "exposures": [
                    {
                        "start": start.isoformat(),
                        "exposure_s": EXPOSURE_S,
                        "shape": list(shape),
                    }
                ],
                "parameters": asdict(parameters),
                "steps": [{"name": "tone", "version": 1, "parameters": {"profiles": {"clear": 1}}}],
            }
        )
    )


class Night:
    """A night whose frames come and are processed one by one.

    Parameters
    ----------
    root
        Folder of the archive.
    paint
        Picture of a frame, from its number and start.
    cadence_s
        Seconds between frames.
    """

    def __init__(
        self, root: Path, paint: Painter, *, cadence_s: float = 10.0, start: datetime = EVENING
    ) -> None:
        self.root, self.paint, self.cadence_s, self.begin = root, paint, cadence_s, start
        self.raw = RawWriter(root, CAMERA, SITE)
        self.count = 0

    def start(self, index: int) -> datetime:
        return self.begin + timedelta(seconds=self.cadence_s * index)

    def take(self, frames: int = 1) -> None:
        """Store raw frames; their pixels are of no interest."""
        for _ in range(frames):
            exposure = Exposure(
                np.zeros((4, 4), np.uint16), None, self.start(self.count), EXPOSURE_S, camera=CAMERA
            )
            self.raw.append(Bracket((exposure,)), {})
            self.count += 1

    def process(
        self,
        *indices: int,
        scalars: dict[str, float] | None = None,
        linear: NDArray[np.float32] | None = None,
    ) -> None:
        """Store what processing would make of frames."""
        writer = ProcessedWriter(self.root, CAMERA, NIGHT)
        for index in indices:
            picture = self.paint(index, self.start(index))
            writer.write(
                FrameRef(CAMERA, NIGHT, index),
                time=self.start(index),
                linear=np.zeros((2, 2, 3), np.float32) if linear is None else linear,
                picture_jpeg=encode_jpeg(picture, quality=95),
                scalars={"sun_altitude_deg": -40.0} | (scalars or {}),
                provenance=provenance(picture.shape[:2], self.start(index)),
                site=SITE,
            )
