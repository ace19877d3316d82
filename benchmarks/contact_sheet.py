"""Before and after of every filter and of the four presets, to be looked at.

One PNG a filter and group of frames: the whole frame without and with the filter, and places of it
at 100 %, without and with. "Without" is the plain chain (stretch and a little colour), the same for
all; each filter has its default settings, the stretch its other curve, ghs. The presets are shown
beside the plain chain, and beside what a simple camera program makes: the same frame brought to 8
bits first and improved there.

Run: python -m benchmarks.contact_sheet --out DIR [--data ../shared/data] [--only acdnr,clear]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.config import Settings
from allsky360.config_steps import resolve_steps
from allsky360.imaging.display import render_picture
from allsky360.imaging.filters.registry import FILTERS
from allsky360.imaging.linear import LinearFrame, linearise
from allsky360.imaging.parameters import ChainParameters, parameters_from
from allsky360.imaging.steps import StepLog
from benchmarks.looks import Look, real, simulated

Bytes = NDArray[np.uint8]

PLAIN = ("stretch(background=0.2)", "saturation")
PLAIN_DAY = ("stretch(background=0.45)", "saturation")
STEPS = {
    "crop": "crop(left=200, top=100, width=900, height=700)",
    "flip": "flip(horizontal=True)",
    "mask": "mask(outside=(0.1, 0.1, 0.2))",
    "rotate": "rotate(angle_deg=25)",
}
"""How filters are shown that do nothing, or little, by default."""
WIDE, CLOSE, ROWS = 620, 430, 4


@dataclass
class Kitchen:
    """Frames, made linear once, and pictures of them by any list of steps."""

    look: Look
    parameters: ChainParameters = field(init=False)
    frame: LinearFrame = field(init=False)

    def __post_init__(self) -> None:
        settings = Settings(camera={"black_level_adu": self.look.black_level_adu})  # type: ignore[arg-type]
        self.parameters = parameters_from(settings)
        self.frame = linearise(self.look.bracket, self.parameters, StepLog())

    def picture(self, steps: tuple[str, ...], **changes: Any) -> Bytes:
        """Picture by these steps, with other parameters of the display branch where given."""
        resolved = resolve_steps(steps, Settings().processing.filters)
        name = self.look.profile
        parameters = replace(self.parameters, profile=name, profiles={name: resolved}, **changes)
        shown = render_picture(self.frame, parameters, StepLog(), hints=self.look.hints)
        return np.asarray(shown.pixels)

    def plain(self) -> tuple[str, ...]:
        """Return the steps every comparison starts from."""
        return PLAIN_DAY if self.look.profile == "day" else PLAIN


def with_filter(plain: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Put a filter where it belongs among the plain steps."""
    step = STEPS.get(name, name)
    if name == "saturation":
        return (plain[0], "saturation(amount=2)")
    if name == "stretch":
        return (plain[0].replace("stretch(", "stretch(method='ghs', "), *plain[1:])
    if name == "fuse":
        level = ", background=0.45" if "0.45" in plain[0] else ""
        return (f"fuse(brightest_ev=1{level})", *plain[1:])
    return (step, *plain) if FILTERS[name].domain == "linear" else (plain[0], step, *plain[1:])


def eight_bit_chain(look: Look) -> Bytes:
    """What a plain camera program makes: 8 bits first, then contrast, denoising, sharpening.

    The longest exposure, bilinear debayering, grey-world balance, a percentile stretch to 8 bits,
    then CLAHE on lightness, a median, an unsharp mask and more saturation in HSV.
    """
    exposure = look.bracket.exposures[0]
    raw = exposure.pixels.astype(np.float32) - look.black_level_adu
    full = (exposure.saturation_adu or float(raw.max())) - look.black_level_adu
    codes = {"RGGB": cv2.COLOR_BayerBG2BGR_EA}
    if exposure.pattern is not None:
        sixteen = (np.clip(raw / full, 0, 1) * 65535).astype(np.uint16)
        image = cv2.cvtColor(sixteen, codes[exposure.pattern]).astype(np.float32)[..., ::-1]
    else:
        image = raw if raw.ndim == 3 else np.repeat(raw[..., None], 3, axis=2)
    h, w = image.shape[:2]
    middle = image[h // 3 : -h // 3, w // 3 : -w // 3].reshape(-1, 3)
    image = image * (np.median(middle) / np.maximum(np.median(middle, axis=0), 1e-3))
    low, high = np.percentile(image[::4, ::4], [1.0, 99.7])
    eight = (255 * np.clip((image - low) / max(high - low, 1e-6), 0, 1) ** 0.6).astype(np.uint8)
    lab = cv2.cvtColor(eight, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(lab[..., 0]))
    eight = cv2.medianBlur(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 3)
    eight = cv2.addWeighted(eight, 1.8, cv2.GaussianBlur(eight, (0, 0), 2.0), -0.8, 0)
    hsv = cv2.cvtColor(eight, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.4, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


# -- sheets ---------------------------------------------------------------------------------------


def row_of(look: Look, pictures: list[tuple[str, Bytes]], places: int) -> Bytes:
    """One row: all pictures small, then each place at 100 % in all of them."""
    cells = [labelled(fitted(p, WIDE, CLOSE), f"{look.name}: {label}") for label, p in pictures]
    for place in look.places[:places]:
        cells += [labelled(close(p, place), f"{label}, 100 %") for label, p in pictures]
    return np.hstack(cells)


def fitted(picture: Bytes, width: int, height: int) -> Bytes:
    """Shrink into a box, black around."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else 0)
    box = np.zeros((height, width, 3), np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    box[top : top + size[1], left : left + size[0]] = small
    return box


def close(picture: Bytes, place: tuple[float, float]) -> Bytes:
    """Cut a square at 100 %, or less where the picture is small."""
    h, w = picture.shape[:2]
    side = min(CLOSE, h, w)
    top = min(max(round(place[0] * h) - side // 2, 0), h - side)
    left = min(max(round(place[1] * w) - side // 2, 0), w - side)
    return fitted(picture[top : top + side, left : left + side], CLOSE, CLOSE)


def labelled(cell: Bytes, text: str) -> Bytes:
    """Write a line over the top left corner."""
    cell = cell.copy()
    for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(cell, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thick, cv2.LINE_AA)
    return cell


def write(path: Path, rows: list[Bytes]) -> None:
    """Stack rows into one PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wide = max(r.shape[1] for r in rows)
    padded = [np.pad(r, ((2, 2), (0, wide - r.shape[1]), (0, 0))) for r in rows]
    cv2.imwrite(str(path), np.vstack(padded)[..., ::-1])
    print(path, flush=True)


def sheets(kitchens: list[Kitchen], out: Path, group: str, only: list[str]) -> None:
    """Write the sheets of one group of frames."""
    plain = [k.picture(k.plain()) for k in kitchens]
    for name in sorted(FILTERS):
        if only and name not in only:
            continue
        rows = []
        for kitchen, before in zip(kitchens, plain, strict=True):
            after = kitchen.picture(with_filter(kitchen.plain(), name))
            rows.append(row_of(kitchen.look, [("without", before), (name, after)], 1))
        write(out / f"{name}-{group}.png", rows)
    if not only or "profiles" in only:
        rows = []
        for kitchen, before in zip(kitchens, plain, strict=True):
            profile = getattr(Settings().processing.profiles, kitchen.look.profile)
            after = kitchen.picture(profile)
            rival = eight_bit_chain(kitchen.look)
            shown = [("8 bits", rival), ("plain", before), (kitchen.look.profile, after)]
            rows.append(row_of(kitchen.look, shown, 1))
        write(out / f"profiles-{group}.png", rows)


def batches(looks: Iterator[Look], size: int) -> Iterator[list[Kitchen]]:
    """Make frames linear, a few at a time."""
    while batch := [Kitchen(look) for look in islice(looks, size)]:
        yield batch


def main() -> int:
    """Write all sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of real frames")
    parser.add_argument("--only", default="", help="filters, frames, or 'profiles'; with commas")
    options = parser.parse_args()
    words = [w for w in options.only.split(",") if w]
    only = [w for w in words if w in FILTERS or w == "profiles"]
    names = [w for w in words if w not in only] or None
    looks = simulated(names)
    if options.data is not None:
        looks = chain(looks, real(options.data, names))
    for number, kitchens in enumerate(batches(looks, ROWS), 1):
        sheets(kitchens, options.out, str(number), only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
