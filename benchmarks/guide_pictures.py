"""The pictures of the two guides, from the simulator's skies.

Each shows the same place twice, without a step on the left and with it on the right. All frames are
rendered, so anybody can make them again, and change the steps to see what happens.

Run: python -m benchmarks.guide_pictures [--out docs/pictures] [--only acdnr,profile-clear]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from allsky360.config import Settings
from allsky360.imaging.linear import linearise
from allsky360.imaging.steps import StepLog
from allsky360.model import Bracket
from benchmarks.contact_sheet import PLAIN, PLAIN_DAY, Bytes, Kitchen, fitted, labelled
from benchmarks.looks import simulated

SIDE = 400
QUALITY = 80
GHS = "stretch(method='ghs', intensity=1, background=0.22)"
QUIET = "acdnr(amount_luminance=0.75)"


@dataclass(frozen=True)
class Pair:
    """Two pictures of one scene.

    Attributes
    ----------
    scene
        Of :data:`benchmarks.looks.SCENES`.
    without, with_
        Steps of the left and the right one.
    place, side
        Middle (shares of height and width) and side in pixels of what is shown; None: all of it.
    changes
        Other parameters of the chain for both.
    special
        "one exposure": the left one is made of the longest exposure alone; "mono": both are made of
        every second green pixel, as a camera without colours would, and the place is where the two
        differ most.
    labels
        Texts over the two.
    """

    scene: str
    without: tuple[str, ...]
    with_: tuple[str, ...]
    place: tuple[float, float] | None = None
    side: int = SIDE
    changes: tuple[tuple[str, Any], ...] = ()
    special: str = ""
    labels: tuple[str, str] = ("without", "with")


def profile(name: str) -> tuple[str, ...]:
    """Return the default steps of a profile."""
    steps: tuple[str, ...] = getattr(Settings().processing.profiles, name)
    return steps


CAST = (("white_balance", "manual"), ("red", 1.15), ("blue", 1.35))
PAIRS = {
    "profile-clear": Pair("clear", PLAIN, profile("clear"), labels=("plain", "clear")),
    "profile-moonlit": Pair("moonlit", PLAIN, profile("moonlit"), labels=("plain", "moonlit")),
    "profile-cloudy": Pair("cloudy", PLAIN, profile("cloudy"), labels=("plain", "cloudy")),
    "profile-day": Pair("day", PLAIN_DAY, profile("day"), labels=("plain", "day")),
    "acdnr": Pair("clear", (GHS, "saturation"), (QUIET, GHS, "saturation"), (0.62, 0.46), 160),
    "median": Pair(
        "clear",
        (GHS,),
        ("median(size=5)", GHS),
        (0.5, 0.5),
        100,
        (("hot_pixel_sigma", 100.0),),
        "mono",
    ),
    "multiscale_median": Pair("clear", (GHS,), ("multiscale_median", GHS), (0.62, 0.46), 160),
    "neutralise": Pair("clear", PLAIN, ("neutralise", *PLAIN), changes=CAST),
    "scnr": Pair("clear", PLAIN, ("scnr(amount=1)", *PLAIN), changes=CAST),
    "gradient": Pair("moonlit", PLAIN, ("gradient", *PLAIN)),
    "dehaze": Pair("clear", (GHS, "saturation"), ("dehaze", GHS, "saturation")),
    "tone_map": Pair("moonlit", PLAIN, ("tone_map", *PLAIN)),
    "stretch": Pair("clear", PLAIN, (GHS, "saturation"), labels=("asinh", "ghs, intensity 1")),
    "fuse": Pair("dusk", PLAIN_DAY, ("fuse(background=0.45)", "saturation"),
                 labels=("stretch", "fuse")),
    "clarity": Pair("cloudy", (QUIET, *PLAIN), (QUIET, PLAIN[0], "clarity(amount=1)", PLAIN[1])),
    "local_histogram": Pair("day", PLAIN_DAY, (PLAIN_DAY[0], "local_histogram", "saturation")),
    "sharpen": Pair("clear", (QUIET, GHS), (QUIET, GHS, "sharpen"), (0.62, 0.46), 160),
    "saturation": Pair("clear", (GHS,), (GHS, "saturation"), (0.62, 0.46), 400),
    "gamma": Pair("clear", PLAIN, (*PLAIN, "gamma(value=1.4)")),
    "mask": Pair("day", PLAIN_DAY, (*PLAIN_DAY, "mask(soft_px=16)", "rotate(angle_deg=20)"),
                 labels=("without", "mask, then rotate")),
    "hdr-moon": Pair("moonlit", (QUIET, *PLAIN), (QUIET, *PLAIN), (0.72, 0.52), 260,
                     special="one exposure", labels=("longest exposure alone", "five merged")),
}  # fmt: skip


def draw(pair: Pair, kitchen: Kitchen) -> Bytes:
    """Make both pictures and put them side by side."""
    changes = dict(pair.changes)
    cooked = kitchen
    if "hot_pixel_sigma" in changes:
        bracket = grey(kitchen.look.bracket) if pair.special == "mono" else None
        sigmas = changes.pop("hot_pixel_sigma")
        cooked = kitchen_of(kitchen, bracket=bracket, hot_pixel_sigma=sigmas)
    left = cooked
    if pair.special == "one exposure":
        left = kitchen_of(kitchen, bracket=Bracket(kitchen.look.bracket.exposures[:1]))
    pictures = [left.picture(pair.without, **changes), cooked.picture(pair.with_, **changes)]
    if pair.special == "mono":
        change = np.abs(pictures[0].astype(int) - pictures[1]).sum(axis=2)
        h, w = change.shape
        inside = change[h // 4 : -h // 4, w // 3 : -w // 3]
        y, x = np.unravel_index(int(np.argmax(inside)), inside.shape)
        pair = replace(pair, place=((y + h // 4) / h, (x + w // 3) / w))
    halves = [labelled(cut(p, pair), t) for p, t in zip(pictures, pair.labels, strict=True)]
    gap = np.zeros((SIDE, 8, 3), np.uint8)
    return np.hstack([halves[0], gap, halves[1]])


def grey(bracket: Bracket) -> Bracket:
    """Return the green pixels of every second row (RGGB) as mono exposures."""
    return Bracket(
        tuple(
            replace(e, pixels=np.ascontiguousarray(e.pixels[0::2, 1::2]), pattern=None)
            for e in bracket.exposures
        )
    )


def kitchen_of(kitchen: Kitchen, *, bracket: Bracket | None = None, **changes: Any) -> Kitchen:
    """Return the same look, made linear in another way."""
    other = Kitchen.__new__(Kitchen)
    other.look = replace(kitchen.look, bracket=bracket or kitchen.look.bracket)
    other.parameters = replace(kitchen.parameters, **changes)
    other.frame = linearise(other.look.bracket, other.parameters, StepLog())
    return other


def cut(picture: Bytes, pair: Pair) -> Bytes:
    """Cut the place out and enlarge it, or shrink the middle square of the frame."""
    h, w = picture.shape[:2]
    if pair.place is None:
        left = (w - h) // 2
        return fitted(picture[:, left : left + h], SIDE, SIDE)
    side = pair.side
    top = min(max(round(pair.place[0] * h) - side // 2, 0), h - side)
    left = min(max(round(pair.place[1] * w) - side // 2, 0), w - side)
    part = picture[top : top + side, left : left + side]
    return np.asarray(cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))


def main() -> int:
    """Write all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--only", default="", help="names with commas")
    options = parser.parse_args()
    only = [n for n in options.only.split(",") if n] or list(PAIRS)
    options.out.mkdir(parents=True, exist_ok=True)
    total = 0
    for look in simulated(sorted({PAIRS[n].scene for n in only})):
        kitchen = Kitchen(look)
        for name in only:
            if PAIRS[name].scene != look.name:
                continue
            path = options.out / f"{name}.jpg"
            picture = draw(PAIRS[name], kitchen)[..., ::-1]
            cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            total += path.stat().st_size
            print(f"{path}  {path.stat().st_size / 1000:.0f} kB", flush=True)
    print(f"{total / 1e6:.2f} MB together")
    return 0


if __name__ == "__main__":
    sys.exit(main())
