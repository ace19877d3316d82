"""Star trails: the brightest and the mean of a night's dark frames, and comet tails."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.config_products import StarTrailSettings
from allsky360.products.files import write_jpeg, write_preview
from allsky360.products.frame import ProductFrame
from allsky360.products.gate import too_bright_or_cloudy
from allsky360.products.grower import Draft, NightContext
from allsky360.products.light import Comet, MaxAndSum

_SPARSE = 16
"""Every so many pixels are looked at to judge a picture's brightness."""


def why_not(frame: ProductFrame, settings: StarTrailSettings) -> str | None:
    """Return why a frame does not belong into star trails; None where it does."""
    reason = too_bright_or_cloudy(
        frame,
        sun_below_deg=settings.sun_below_deg,
        moon_below_deg=settings.moon_below_deg,
        moon_lit_above=settings.moon_lit_above,
        max_cloud_fraction=settings.max_cloud_fraction,
    )
    if reason is not None:
        return reason
    height, width = frame.picture.shape[:2]
    middle = frame.picture[height // 4 : 3 * height // 4 : _SPARSE, width // 4 : 3 * width // 4]
    if float(np.median(middle[:, ::_SPARSE])) > 255.0 * settings.max_median:
        return "the picture is too bright"
    return None


class StarTrails:
    """Grows the brightest and the mean; see :class:`allsky360.products.grower.Grower`."""

    name = "startrails"
    takes_late = True

    def __init__(self, settings: StarTrailSettings) -> None:
        self.settings = settings
        self.parameters: Mapping[str, Any] = settings.model_dump(
            mode="json", exclude={"enabled", "fade"}
        )

    def open(self, context: NightContext, work: Path, saved: Path | None) -> None:
        """Begin, or go on."""
        self.context = context
        self.light: MaxAndSum | None = None
        if saved is None:
            return
        state = json.loads((saved / "startrails.json").read_text())
        if state["shape"]:
            light = MaxAndSum(tuple(state["shape"]))
            for name in ("greatest", "partial", "total"):
                getattr(light, name)[:] = np.load(saved / f"{name}.npy")
            light.pending, light.count = int(state["pending"]), int(state["count"])
            self.light = light

    def add(self, frame: ProductFrame) -> str | None:
        """Take the frame's light."""
        reason = why_not(frame, self.settings)
        if reason is not None:
            return reason
        if self.light is None:
            self.light = MaxAndSum(frame.picture.shape)
        if frame.picture.shape != self.light.greatest.shape:
            return "its picture has another size"
        self.light.add(frame.picture)
        return None

    def save(self, folder: Path) -> None:
        """Write maxima and sums."""
        light = self.light
        state: dict[str, Any] = {"shape": None}
        if light is not None:
            light.settle()
            state = {
                "shape": list(light.greatest.shape),
                "pending": light.pending,
                "count": light.count,
            }
            for name in ("greatest", "partial", "total"):
                np.save(folder / f"{name}.npy", getattr(light, name))
        (folder / "startrails.json").write_text(json.dumps(state))

    def finish(self, *, complete: bool) -> Sequence[Draft]:
        """Write both pictures."""
        if self.light is None:
            return ()
        self.light.settle()
        return (
            self._draft("startrails", "Star trails", self.light.greatest),
            self._draft("startrails-mean", "Star trails, mean", self.light.mean()),
        )

    def _draft(self, name: str, title: str, picture: NDArray[np.uint8]) -> Draft:
        folder = self.context.folder
        files = (
            write_jpeg(folder, f"{name}.jpg", picture, quality=self.settings.quality),
            write_preview(folder, f"{name}-preview.jpg", picture),
        )
        return Draft("startrails", name, title, files, self.parameters)


class CometTrails:
    """Grows trails that fade like comet tails; order counts, so none is taken late."""

    name = "startrails-comet"
    takes_late = False

    def __init__(self, settings: StarTrailSettings) -> None:
        self.settings = settings
        self.parameters: Mapping[str, Any] = settings.model_dump(mode="json", exclude={"enabled"})

    def open(self, context: NightContext, work: Path, saved: Path | None) -> None:
        """Begin, or go on."""
        self.context = context
        self.comet: Comet | None = None
        if saved is not None and (saved / "trail.npy").exists():
            trail = np.load(saved / "trail.npy")
            self.comet = Comet(trail.shape, self.settings.fade)
            self.comet.trail[:] = trail

    def add(self, frame: ProductFrame) -> str | None:
        """Fade, and take the frame's light."""
        reason = why_not(frame, self.settings)
        if reason is not None:
            return reason
        if self.comet is None:
            self.comet = Comet(frame.picture.shape, self.settings.fade)
        if frame.picture.shape != self.comet.trail.shape:
            return "its picture has another size"
        self.comet.add(frame.picture)
        return None

    def save(self, folder: Path) -> None:
        """Write the trails as they fade."""
        if self.comet is not None:
            np.save(folder / "trail.npy", self.comet.trail)

    def finish(self, *, complete: bool) -> Sequence[Draft]:
        """Write the picture."""
        if self.comet is None:
            return ()
        picture, folder = self.comet.picture(), self.context.folder
        files = (
            write_jpeg(folder, f"{self.name}.jpg", picture, quality=self.settings.quality),
            write_preview(folder, f"{self.name}-preview.jpg", picture),
        )
        return (Draft("startrails", self.name, "Comet trails", files, self.parameters),)
