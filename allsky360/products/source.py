"""Where growing products take their frames from: one version of one night of the archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.archive import Archive, FrameRecord, FrameRef
from allsky360.archive.layout import picture_path
from allsky360.errors import AllskyError, in_words
from allsky360.imaging.filters.geometry import Affine, affine_of
from allsky360.lenses import current_lens
from allsky360.model import Site
from allsky360.products.frame import ProductFrame
from allsky360.sky.lens import LensModel
from allsky360.sky.lens_file import LensFile, read_lens, write_lens


class FrameUnusable(AllskyError):
    """A processed frame that no product can use; says why."""


@dataclass(frozen=True)
class PictureGeometry:
    """How the picture's pixels came from the whole frame's.

    Attributes
    ----------
    affine
        ``(2, 3)`` map from the frame's to the picture's pixels.
    frame_shape, picture_shape
        Rows, columns.
    """

    affine: Affine
    frame_shape: tuple[int, int]
    picture_shape: tuple[int, int]


def picture_geometry(provenance: Mapping[str, Any]) -> PictureGeometry:
    """Read from a frame's record what crop, turn and mirroring its profile did to the picture.

    Raises
    ------
    FrameUnusable
        The record does not tell.
    """
    try:
        height, width = provenance["exposures"][0]["shape"][:2]
        profiles = provenance["parameters"]["profiles"]
        tone: Mapping[str, Any] = next(
            (s["parameters"] for s in provenance["steps"] if s["name"] == "tone"), {}
        )
        chosen = next(iter(tone.get("profiles") or {}), next(iter(profiles)))
        steps = [(str(name), dict(keywords)) for name, keywords in profiles[chosen]]
        affine, shape = affine_of(steps, (int(height), int(width)))
    except (KeyError, IndexError, TypeError, ValueError, StopIteration) as error:
        raise FrameUnusable(
            f"its record does not say how the picture was cut: {in_words(error)}."
        ) from (error)
    return PictureGeometry(affine, (int(height), int(width)), shape)


def decode_picture(path: Path) -> NDArray[np.uint8]:
    """Decode a stored picture to ``(H, W, 3)`` uint8 RGB.

    Raises
    ------
    FrameUnusable
        It is missing or damaged.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise FrameUnusable(f"its picture cannot be read: {error.strerror or error}.") from error
    if not len(data) or data[-2:].tobytes() != b"\xff\xd9":
        raise FrameUnusable("its picture is cut short.")  # OpenCV would fill it up with grey
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        raise FrameUnusable("its picture is damaged.")
    return np.asarray(picture, np.uint8)


class NightFrames:
    """The frames of a night, read for products.

    Parameters
    ----------
    root, camera, night, version
        Which version of which night; ``camera`` is a slug.
    """

    def __init__(self, root: Path, camera: str, night: date, version: str) -> None:
        self.root, self.camera, self.night, self.version = root, camera, night, version
        self.archive = Archive(root, version)
        self.folder = root / camera / night.isoformat()
        self.site: Site | None = self.archive.site(camera, night)
        self.lens_files: dict[tuple[int, int], LensFile] = {}
        self._kept: Path | None = None

    @staticmethod
    def current(root: Path, camera: str, night: date) -> str:
        """Return the version that readers of a night see."""
        return Archive(root).version(camera, night)

    def records(self, start: int = 0, stop: int | None = None) -> list[FrameRecord]:
        """Frames ``start`` to ``stop``, processed or not."""
        return self.archive.frames(self.camera, self.night, start, stop)

    def unprocessed(self) -> int:
        """How many frames of the night are not processed."""
        return len(self.archive.unprocessed(self.camera, self.night))

    def keep_lenses(self, folder: Path | None = None) -> None:
        """Go on with the lenses a killed run used, and keep those of this one.

        Parameters
        ----------
        folder
            Where they are kept; given once.
        """
        if folder is not None:
            self._kept = folder
            for path in folder.glob("lens-*.json"):
                content = read_lens(path)
                self.lens_files[content.lens.height, content.lens.width] = content
        if self._kept is not None:
            for (height, width), content in self.lens_files.items():
                path = self._kept / f"lens-{width}x{height}.json"
                if not path.exists():
                    write_lens(path, content)

    def forget_lenses(self, folder: Path) -> None:
        """Remove the lenses that :meth:`keep_lenses` kept."""
        for path in folder.glob("lens-*.json"):
            path.unlink(missing_ok=True)

    def load(self, record: FrameRecord) -> ProductFrame:
        """Read a processed frame and decode its picture.

        Raises
        ------
        FrameUnusable
            Saying why no product can use it.
        """
        ref = record.ref
        picture = decode_picture(picture_path(self.folder, self.version, ref.index))
        try:
            provenance = self.archive.record(ref).get("provenance", {})
        except AllskyError as error:
            raise FrameUnusable(f"its record is damaged: {error.message}") from error
        exposures = provenance.get("exposures") or [{}]
        try:
            exposure_s = float(exposures[0].get("exposure_s", record.exposures_s[0]))
            begin = datetime.fromisoformat(exposures[0].get("start", record.time.isoformat()))
        except (IndexError, TypeError, ValueError, AttributeError) as error:
            raise FrameUnusable(f"its record is damaged: {in_words(error)}.") from error
        sensor_lens, lens, serial = self._lenses(provenance, picture.shape[:2])
        return ProductFrame(
            ref=ref,
            start=record.time,
            middle=begin + timedelta(seconds=0.5 * exposure_s),
            exposure_s=exposure_s,
            picture=picture,
            scalars=record.scalars,
            site=self.site,
            lens=lens,
            lens_serial=serial,
            sensor_lens=sensor_lens,
            linear=lambda: self.archive.linear(FrameRef(ref.camera, ref.night, ref.index)),
        )

    def _lenses(
        self, provenance: Mapping[str, Any], shape: tuple[int, ...]
    ) -> tuple[LensModel | None, LensModel | None, int]:
        """Lens of the frame and of the picture; none where the record does not fit the picture."""
        if not provenance:
            return None, None, 0
        geometry = picture_geometry(provenance)
        content = self.lens_file(*geometry.frame_shape)
        if content is None or geometry.picture_shape != tuple(shape):
            return None, None, 0
        height, width = geometry.picture_shape
        return content.lens, content.lens.moved(geometry.affine, width, height), content.serial

    def lens_file(self, height: int, width: int) -> LensFile | None:
        """Lens of the night for a frame size: the first found counts for all of the night."""
        known = self.lens_files.get((height, width))
        if known is None:
            try:
                known = current_lens(self.root, self.camera, width, height)
            except AllskyError as error:
                raise FrameUnusable(f"its lens cannot be read: {error.message}") from error
            if known is not None:
                self.lens_files[height, width] = known
        return known
