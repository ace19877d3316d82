"""Where things of the sky stand in a frame's picture: its lens model, moved as the picture was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.api.addresses import frame_id
from allsky360.api.problems import NoLens, NotProcessed
from allsky360.api.service import Service
from allsky360.api.store import FrameInfo
from allsky360.errors import AllskyError
from allsky360.lenses import lens_paths
from allsky360.model import Site
from allsky360.sky.lens import LensError, LensModel


@dataclass(frozen=True)
class View:
    """A frame's picture as something to look at the sky through.

    Attributes
    ----------
    lens
        Of the stored picture, in its pixels.
    site
        Where it was taken.
    when
        UTC middle of the longest exposure.
    """

    lens: LensModel
    site: Site
    when: datetime

    def sized(self, width: int, height: int) -> LensModel:
        """Return the lens for the picture at another size.

        Raises
        ------
        NoLens
            The shapes differ by more than rounding to whole pixels: the lens is another picture's.
        """
        lens = self.lens
        if (width, height) == (lens.width, lens.height):
            return lens
        across = width / lens.width
        if abs(across * lens.height - height) > max(1.0, 0.01 * height):
            raise NoLens(
                f"The picture is {width} x {height}, the lens model is for {lens.width} x "
                f"{lens.height}: they have not the same shape."
            )
        return lens.resized(width, height)


def view_of(service: Service, frame: FrameInfo) -> View:
    """Return how a frame's picture shows the sky.

    Raises
    ------
    NotProcessed, NoLens
        There is no picture, no lens, or no site.
    """
    if not frame.processed:
        raise NotProcessed(
            f"Frame {frame_id(frame)} is not processed yet.",
            mend="Its raw exposures are stored; the rest follows when it is processed.",
        )
    site = service.site_of(frame.camera, frame.night)
    if site is None:
        raise NoLens("The site is not known.", mend="Set site.latitude_deg and longitude_deg.")
    provenance = service.store.provenance(frame)
    raw = _raw_lens(service, frame, provenance)
    return View(_moved(raw, provenance), site, middle_of(frame))


def middle_of(frame: FrameInfo) -> datetime:
    """UTC middle of a frame's longest exposure."""
    return frame.time + timedelta(seconds=0.5 * max(frame.exposures_s, default=0.0))


def _raw_lens(service: Service, frame: FrameInfo, provenance: Mapping[str, Any]) -> LensModel:
    """The lens the frame was measured with; where it was without, the newest of its size."""
    root, camera = service.store.root, frame.camera
    size = _raw_size(provenance)
    about = _at(provenance, "sky", "lens")
    serial = about.get("serial") if isinstance(about, Mapping) else None
    for path in reversed(lens_paths(root, camera)):
        if serial is not None and path.stem != f"{serial:04d}":
            continue
        try:
            lens = service.lens_file(path).lens
        except AllskyError:
            continue  # a damaged file: an older one may do
        if size is None or (lens.width, lens.height) == size:
            return lens
    raise NoLens(
        f"No lens model is known for frame {frame_id(frame)}.",
        mend="Let a clear night be calibrated, or run 'allsky360 sky calibrate'.",
    )


def _raw_size(provenance: Mapping[str, Any]) -> tuple[int, int] | None:
    exposures = provenance.get("exposures")
    try:
        height, width = exposures[0]["shape"][:2]  # type: ignore[index]
        return int(width), int(height)
    except (LookupError, TypeError, ValueError):
        return None


def picture_map(
    service: Service, frame: FrameInfo
) -> Callable[[float, float], tuple[float, float]]:
    """Return the map from a pixel of the raw frame to where it is in the stored picture."""
    provenance = service.store.provenance(frame)
    size = _raw_size(provenance)
    if size is None:
        return lambda x, y: (x, y)
    affine, _ = _affine(provenance, size)

    def move(x: float, y: float) -> tuple[float, float]:
        moved = affine @ (x, y, 1.0)
        return float(moved[0]), float(moved[1])

    return move


def _moved(lens: LensModel, provenance: Mapping[str, Any]) -> LensModel:
    """Follow the picture's crop, turn and mirroring, as its record names them."""
    affine, (width, height) = _affine(provenance, (lens.width, lens.height))
    if np.array_equal(affine, np.eye(2, 3)) and (width, height) == (lens.width, lens.height):
        return lens
    try:
        return lens.moved(affine, width, height)
    except LensError as error:
        raise NoLens(f"The picture's geometry cannot be followed: {error}.") from error


def _affine(
    provenance: Mapping[str, Any], size: tuple[int, int]
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return the map from the raw frame to the picture, and the picture's width and height."""
    from allsky360.imaging.filters.geometry import affine_of

    profiles = _at(provenance, "parameters", "profiles")
    if not isinstance(profiles, Mapping) or not profiles:
        return np.eye(2, 3), size
    chosen = next(
        (
            names
            for step in provenance.get("steps", ())
            if isinstance(step, Mapping)
            and step.get("name") == "tone"
            and isinstance(names := _at(step, "parameters", "profiles"), Mapping)
            and names
        ),
        {},
    )
    name = next(iter(chosen), next(iter(profiles)))
    try:
        steps = [(str(s[0]), dict(s[1])) for s in profiles[name]]
        affine, (height, width) = affine_of(steps, (size[1], size[0]))
    except (LookupError, TypeError, ValueError) as error:
        raise NoLens(f"The picture's geometry cannot be followed: {error}.") from error
    return np.asarray(affine, np.float64), (width, height)


def _at(tree: Any, *path: str) -> Any:
    for key in path:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(key)
    return tree
