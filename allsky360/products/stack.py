"""The deep stack: a night's dark frames laid over each other as the stars stood at one instant."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.config_products import StackSettings
from allsky360.products.clipped_mean import ClippedMean
from allsky360.products.derotate import Derotation, resample
from allsky360.products.files import write_jpeg, write_png16, write_preview
from allsky360.products.frame import ProductFrame
from allsky360.products.gate import too_bright_or_cloudy
from allsky360.products.grower import Draft, NightContext
from allsky360.products.light import light_of_codes
from allsky360.sky.lens import LensModel
from allsky360.sky.night import night_times

SKY_CODE = 0.11
"""Level of the sky's background in the picture, of 1."""
FADE = (0.04, 0.2)
"""Shares of the frames, between which a pixel fades in: near the horizon few frames show it, and
where one of them ends the mean jumps."""
LIGHT = {
    "picture": "pictures, decoded from sRGB: linear as far as their tone curve is straight",
    "linear": "the archive's reduced linear frames, divided by their exposure",
}


@dataclass(frozen=True, eq=False)
class Layer:
    """What of a frame is stacked: light, and the lens that shows it."""

    light: NDArray[np.float32]
    lens: LensModel


def layer_of(frame: ProductFrame, source: str) -> Layer | str:
    """Return a frame's light, or why there is none."""
    if source == "picture":
        if frame.lens is None:
            return "there is no lens for its picture"
        # LUT of the whole picture: one pass, no float64
        light = cv2.LUT(frame.picture, light_of_codes())
        return Layer(np.asarray(light, np.float32), frame.lens)
    linear = frame.linear()
    if frame.sensor_lens is None or linear is None:
        return "there is no lens for it" if linear is not None else "it has no linear frame"
    factor = round(frame.sensor_lens.width / linear.shape[1])
    lens = frame.sensor_lens.binned(factor)
    if (lens.height, lens.width) != linear.shape[:2]:
        return "its linear frame does not fit its lens"
    colour = linear if linear.shape[2] == 3 else np.repeat(linear[..., :1], 3, axis=2)
    return Layer(colour / np.float32(max(frame.exposure_s, 1e-6)), lens)


def reference_of(first: ProductFrame) -> datetime:
    """Return the middle of the night's darkness, or of the first frame where that is later."""
    if first.site is None:
        return first.middle
    night = night_times(first.site, first.ref.night)
    for dark in (night.astronomical, night.nautical, night.civil):
        if dark.begins is not None and dark.ends is not None:
            return max(dark.begins + (dark.ends - dark.begins) / 2, first.middle)
    return max(night.midnight, first.middle)


class Stack:
    """Grows the stack; see :class:`allsky360.products.grower.Grower`."""

    name = "stack"
    takes_late = False

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.parameters: Mapping[str, Any] = settings.model_dump(mode="json", exclude={"enabled"})

    def open(self, context: NightContext, work: Path, saved: Path | None) -> None:
        """Begin, or go on."""
        self.context = context
        self.mean: ClippedMean | None = None
        self.reference: datetime | None = None
        self.lens: LensModel | None = None
        self.lens_serial = 0
        self._turn: Derotation | None = None
        if saved is None:
            return
        state = json.loads((saved / "stack.json").read_text())
        if state["reference"] is None:
            return
        self.reference = datetime.fromisoformat(state["reference"])
        self.lens = LensModel(**state["lens"])
        self.lens_serial = int(state["lens_serial"])
        self.mean = ClippedMean((self.lens.height, self.lens.width, 3), self.settings.clip_sigma)
        self.mean.noise = float(state["noise"])
        for name in ClippedMean.ARRAYS:
            getattr(self.mean, name)[:] = np.load(saved / f"{name}.npy")

    def add(self, frame: ProductFrame) -> str | None:
        """Turn the frame to the reference and take its light."""
        s = self.settings
        reason = too_bright_or_cloudy(
            frame,
            sun_below_deg=s.sun_below_deg,
            moon_below_deg=s.moon_below_deg,
            moon_lit_above=s.moon_lit_above,
            max_cloud_fraction=s.max_cloud_fraction,
        )
        if reason is not None:
            return reason
        if frame.site is None:
            return "the site is not known"
        reference = self.reference or reference_of(frame)
        if abs(frame.middle - reference) > timedelta(hours=s.hours / 2):
            return "it is too far from the reference"
        layer = layer_of(frame, s.source)
        if isinstance(layer, str):
            return layer
        lens = self.lens or layer.lens
        if (layer.lens.height, layer.lens.width) != (lens.height, lens.width):
            return "its picture has another size"
        turn = self._turn or Derotation(lens, frame.site, reference, s.min_altitude_deg)
        x, y = turn.map_to(frame.middle, layer.lens)
        turned = resample(layer.light, x, y)
        if self.mean is None:
            self.mean = ClippedMean(turned.shape, s.clip_sigma)
            self.lens, self.reference = lens, reference
            self.lens_serial = frame.lens_serial
        self._turn = turn
        self.mean.add(turned)
        return None

    def save(self, folder: Path) -> None:
        """Write mean, spread and counts."""
        state: dict[str, Any] = {"reference": None}
        if self.mean is not None and self.reference is not None and self.lens is not None:
            state = {
                "reference": self.reference.isoformat(),
                "lens": self.lens.as_dict(),
                "lens_serial": self.lens_serial,
                "noise": self.mean.noise,
            }
            for name in ClippedMean.ARRAYS:
                np.save(folder / f"{name}.npy", getattr(self.mean, name))
        (folder / "stack.json").write_text(json.dumps(state))

    def finish(self, *, complete: bool) -> Sequence[Draft]:
        """Write the picture, and when the night is whole its light as 16-bit numbers."""
        if self.mean is None or self.reference is None or self.lens is None:
            return ()
        folder = self.context.folder
        picture, noise, top = developed(self.mean.mean, self.mean.count)
        files = [
            write_jpeg(
                folder, "stack.jpg", picture, quality=self.settings.quality,
                description=f"stars as at {self.reference.isoformat()}",
            ),
            write_preview(folder, "stack-preview.jpg", picture),
        ]  # fmt: skip
        most = float(self.mean.mean.max()) or 1.0
        if complete:
            files.append(write_png16(folder, "stack-linear.png", self.mean.mean, most))
        seen = self.mean.count[::8, ::8, 1]
        parameters = {
            **self.parameters,
            "light": LIGHT[self.settings.source],
            "reference": self.reference.isoformat(),
            "lens": self.lens.as_dict(),
            "frames_at_most": int(seen.max()),
            "frames_median": float(np.median(seen[seen > 0])) if (seen > 0).any() else 0.0,
            "left_out_share": _share(self.mean),
            "picture_bends_at": noise,
            "picture_white": top,
            "linear_full_scale": most,
        }
        about = {"lens_serial": self.lens_serial or None}
        return (Draft("stack", "stack", "Deep stack", tuple(files), parameters, about),)


def _share(mean: ClippedMean) -> float:
    left, taken = int(mean.left[::4, ::4].sum()), int(mean.count[::4, ::4].sum())
    return left / (left + taken) if left + taken else 0.0


def developed(
    light: NDArray[np.float32], count: NDArray[np.uint16]
) -> tuple[NDArray[np.uint8], float, float]:
    """Return a stack as a picture: sky dark, faint stars lifted, bright ones not burnt.

    Most of the sky's own light, smoothed over some hundred pixels, is taken off each band; what
    is left goes through ``asinh`` (Lupton et al. 2004), which bends at four times the noise.

    Returns
    -------
    picture
        ``(H, W, 3)`` uint8.
    noise, top
        Light where the curve bends, and that which becomes white.
    """
    seen = count.min(axis=2) > 0
    if not seen.any():
        return np.zeros(light.shape, np.uint8), 0.0, 1.0
    sky = _sky(light, seen)
    rest = (light[::5, ::5] - sky[::5, ::5])[seen[::5, ::5]].mean(axis=1)
    noise = float(max(4 * 1.4826 * np.median(np.abs(rest - np.median(rest))), 1e-6))
    top = float(max(np.percentile(rest, 99.95), 20 * noise))
    out = np.empty(light.shape, np.uint8)
    most = max(int(count.max()), 1)
    for row in range(0, len(light), 64):  # in pieces: a night's products share the memory
        part = slice(row, row + 64)
        bent = np.arcsinh((light[part] - sky[part]) / noise) / np.arcsinh(top / noise)
        share = np.clip((count[part] / most - FADE[0]) / (FADE[1] - FADE[0]), 0.0, 1.0)
        share *= share * (3.0 - 2.0 * share)
        codes = 255.0 * share * (SKY_CODE + (1.0 - SKY_CODE) * bent)
        out[part] = np.where(seen[part][..., None], np.clip(codes, 0, 255), 0).astype(np.uint8)
    return out, noise, top


def _sky(light: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return what of the sky's light is taken off, same shape: four fifths of its slow part."""
    height, width = seen.shape
    size = (max(1, width // 16), max(1, height // 16))
    weight = seen.astype(np.float32)
    known = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    blocks = cv2.resize(light * weight[..., None], size, interpolation=cv2.INTER_AREA)
    blocks = np.minimum(blocks, cv2.medianBlur(blocks, 5))  # blocks with bright stars are not sky
    smooth = (
        cv2.GaussianBlur(blocks, (0, 0), 5.0)
        / np.maximum(cv2.GaussianBlur(known, (0, 0), 5.0), 1e-3)[..., None]
    )
    darkest = np.percentile(smooth[known > 0.9], 5.0, axis=0) if (known > 0.9).any() else 0.0
    slow = (0.8 * smooth + 0.2 * darkest).astype(np.float32)
    return np.asarray(cv2.resize(slow, (width, height), interpolation=cv2.INTER_LINEAR))
