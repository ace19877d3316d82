"""Products of a folder of pictures, without an archive: for other people's sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from allsky360.archive.layout import FrameRef
from allsky360.camera.files import read_exposures
from allsky360.config import Settings
from allsky360.errors import AllskyError
from allsky360.model import Exposure, Site
from allsky360.products.frame import ProductFrame
from allsky360.products.grower import Draft, Grower, NightContext
from allsky360.sky.lens import LensModel

CAMERA = "pictures"


@dataclass
class PicturesReport:
    """What :func:`grow_pictures` did."""

    drafts: list[Draft] = field(default_factory=list)
    used: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


def eight_bit(exposure: Exposure) -> NDArray[np.uint8]:
    """Return an 8-bit colour picture of what was read.

    Raises
    ------
    AllskyError
        It holds deeper numbers: how bright they should be is not for products to say.
    """
    pixels = exposure.pixels
    if pixels.dtype != np.uint8:
        raise AllskyError(
            f"it has {pixels.dtype} pixels, no picture.",
            mend="Develop the files with 'allsky360 process' first.",
        )
    if pixels.ndim == 2:
        return np.asarray(np.repeat(pixels[..., None], 3, axis=2), np.uint8)
    return np.ascontiguousarray(pixels, np.uint8)


def frames_of(
    paths: Sequence[Path], site: Site | None, lens: LensModel | None
) -> Iterator[ProductFrame | tuple[str, str]]:
    """Yield the pictures in order of time as frames; a path and a reason where one is unusable."""
    known: list[tuple[Exposure, Path]] = []
    for path in paths:
        try:
            exposure = next(iter(read_exposures(path)), None)
        except (AllskyError, OSError) as error:
            yield str(path), str(error)
            continue
        if exposure is None:
            yield str(path), "it holds no image"
            continue
        # only its time is kept: a folder may hold more pictures than there is memory
        blank = np.zeros((1, 1), np.uint8)
        known.append((_without(exposure, blank), path))
    known.sort(key=lambda item: item[0].start)
    for index, (about, path) in enumerate(known):
        try:
            exposure = next(iter(read_exposures(path)))
            picture = eight_bit(exposure)
        except (AllskyError, OSError, StopIteration) as error:
            yield str(path), str(error)
            continue
        night = site.night_of(about.start) if site is not None else about.start.date()
        fits = lens is not None and (lens.height, lens.width) == picture.shape[:2]
        yield ProductFrame(
            ref=FrameRef(CAMERA, night, index),
            start=about.start,
            middle=about.start + timedelta(seconds=0.5 * about.exposure_s),
            exposure_s=about.exposure_s,
            picture=picture,
            site=site,
            lens=lens if fits else None,
            lens_serial=1 if fits else 0,
            sensor_lens=lens if fits else None,
        )


def _without(exposure: Exposure, pixels: NDArray[np.uint8]) -> Exposure:
    from dataclasses import replace

    return replace(exposure, pixels=pixels, pattern=None, metadata={})


def grow_pictures(
    paths: Sequence[Path],
    out: Path,
    settings: Settings,
    growers: Sequence[Grower],
    *,
    site: Site | None = None,
    lens: LensModel | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PicturesReport:
    """Make products of pictures and write their files into a folder.

    Raises
    ------
    AllskyError
        No picture could be used.
    """
    report = PicturesReport()
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".products-", dir=out) as name:
        started = False
        for done, found in enumerate(frames_of(paths, site, lens)):
            if isinstance(found, tuple):
                report.left_out.append(found)
                continue
            if not started:
                context = NightContext(out, CAMERA, found.ref.night, "files", site, settings, out)
                for grower in growers:
                    work = Path(name) / grower.name
                    work.mkdir()
                    grower.open(context, work, None)
                started = True
            reasons = {grower.name: grower.add(found) for grower in growers}
            report.used += any(reason is None for reason in reasons.values())
            report.left_out += [
                (f"frame {found.ref.index}, {product}", reason)
                for product, reason in reasons.items()
                if reason is not None
            ]
            if progress is not None:
                progress(done + 1, len(paths))
        if not started:
            words = "; ".join(f"{path}: {reason}" for path, reason in report.left_out[:3])
            raise AllskyError(f"no picture can be used: {words}")
        for grower in growers:
            report.drafts += grower.finish(complete=True)
    return report
