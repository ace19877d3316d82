"""A frame source that serves a folder of real frames, in order and over again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.camera.files import read_exposures
from allsky360.errors import AllskyError
from allsky360.model import BayerPattern, Exposure
from allsky360.simulator.sensor import crop_and_bin
from allsky360.simulator.source import ExposureRequest, SensorDescription, SimulatedFrame

log = logging.getLogger(__name__)

REPLAYED_CAMERA = "All-sky Replay"


class ReplayError(AllskyError):
    """The folder to replay holds nothing that can be replayed."""


class ReplaySource:
    """Serves the FITS, RAW, DNG, PNG and TIFF frames of a folder, looping.

    A replayed frame keeps its own pixels: what exposure, gain or frame type is asked for changes
    nothing, and its truth says so. The first readable frame fixes the sensor; frames of another
    size or colour pattern, and files that cannot be read, are skipped with a warning.

    Parameters
    ----------
    folder
        Files are taken in the order of their names; sub-folders are not entered.

    Raises
    ------
    ReplayError
        When no file of the folder can be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._warned: set[Path] = set()
        first, _ = next(self._frames_once(), (None, folder))
        if first is None:
            raise ReplayError(
                f"simulator.replay_dir {folder} holds no frame that can be read.",
                mend="Name a folder with FITS, RAW, DNG, 16-bit PNG or TIFF files.",
            )
        pixels, pattern = mosaic_of(first)
        height, width = pixels.shape
        self._sensor = SensorDescription(
            name=REPLAYED_CAMERA,
            width=width,
            height=height,
            pattern=pattern,
            bits=16,
            egain_at_zero=first.egain or 1.0,
            has_cooler=False,
        )
        self._frames = self._frames_forever()

    @property
    def sensor(self) -> SensorDescription:
        """The sensor the first frame came from, as far as the file says."""
        return self._sensor

    def expose(self, request: ExposureRequest) -> SimulatedFrame:
        """Return the next frame, cut and binned as asked, otherwise as it was recorded."""
        try:
            exposure, path = next(self._frames)
        except ReplayError:
            self._frames = self._frames_forever()  # the files may come back
            raise
        pixels, pattern = mosaic_of(exposure)
        cut, cut_pattern = crop_and_bin(pixels, pattern, request.roi, request.binning)
        truth: dict[str, Any] = {
            "replayed": True,
            "scaled_to_request": False,
            "file": str(path),
            "recorded": {
                "camera": exposure.camera,
                "start": exposure.start.isoformat(),
                "exposure_s": exposure.exposure_s,
                "gain": exposure.gain,
                "temperature_c": exposure.temperature_c,
                "remosaicked": exposure.pixels.ndim == 3,
            },
        }
        return SimulatedFrame(cut, cut_pattern, truth)

    def _frames_once(self) -> Iterator[tuple[Exposure, Path]]:
        """Yield every readable exposure of the folder."""
        try:
            paths = sorted(p for p in self._folder.iterdir() if p.is_file())
        except OSError as error:
            raise ReplayError(
                f"cannot read simulator.replay_dir {self._folder}: {error.strerror}.",
                mend="Name a folder with frames, or leave it out.",
            ) from error
        for path in paths:
            try:
                for exposure in read_exposures(path):
                    yield exposure, path
            except AllskyError as error:
                self._warn(path, str(error))

    def _frames_forever(self) -> Iterator[tuple[Exposure, Path]]:
        shape = (self._sensor.height, self._sensor.width)
        while True:
            served = 0
            for exposure, path in self._frames_once():
                if exposure.pixels.shape[:2] != shape or mosaic_of(exposure)[1] != (
                    self._sensor.pattern
                ):
                    self._warn(path, f"{path} is of another size or pattern than the first frame.")
                    continue
                served += 1
                yield exposure, path
            if not served:
                raise ReplayError(
                    f"no frame is left to replay in {self._folder}.", mend="Put the files back."
                )

    def _warn(self, path: Path, words: str) -> None:
        if path not in self._warned:
            self._warned.add(path)
            log.warning("replay skips a file: %s", words)


def mosaic_of(exposure: Exposure) -> tuple[NDArray[np.uint16], BayerPattern | None]:
    """Return the mosaic a camera would have read out, at 16 bits, and its pattern.

    8-bit values are spread over the 16-bit range; a colour picture is sampled as RGGB, since a
    camera delivers one value a pixel.
    """
    pixels = exposure.pixels
    wide = pixels.astype(np.uint16) * 257 if pixels.dtype == np.uint8 else pixels.astype(np.uint16)
    if wide.ndim == 2:
        return wide, exposure.pattern
    mosaic = wide[..., 1].copy()
    mosaic[0::2, 0::2] = wide[0::2, 0::2, 0]
    mosaic[1::2, 1::2] = wide[1::2, 1::2, 2]
    return mosaic, "RGGB"
