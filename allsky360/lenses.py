"""The lens files of an archive: one series a camera, the newest counts.

``<storage.root>/<camera>/lens/0001.json``, ``0002.json``, … Nothing is overwritten, so that every
frame's record can name the file it was measured with. Beside the fields of a lens file they hold
the covariance of the parameters (``quality.covariance``): without it a tilt and a shift of the
centre, which nearly cancel, would hide every drift.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.archive.durable import locked, make_folder
from allsky360.archive.layout import is_slug
from allsky360.errors import AllskyError
from allsky360.sky.lens_file import LensFile, lens_file_of, read_lens, write_lens
from allsky360.sky.solve import LensSolution
from allsky360.sky.solve_check import Evidence, RingResidual
from allsky360.sky.solve_fit import NAMES

_NAME = re.compile(r"(\d{4,})\.json")


class LensStoreError(AllskyError):
    """A camera's lens files cannot be used."""


def lens_folder(root: Path, camera: str) -> Path:
    """Return the folder of a camera's lens files; ``camera`` is a slug."""
    if not is_slug(camera):
        raise LensStoreError(f"{camera!r} is not a camera name of this archive.")
    return root / camera / "lens"


def lens_paths(root: Path, camera: str) -> list[Path]:
    """List a camera's lens files, oldest first."""
    folder = lens_folder(root, camera)
    if not folder.is_dir():
        return []
    found = [(int(m[1]), p) for p in folder.iterdir() if (m := _NAME.fullmatch(p.name))]
    return [p for _, p in sorted(found)]


def current_lens(
    root: Path, camera: str, width: int, height: int, *, upto: int | None = None
) -> LensFile | None:
    """Return the newest lens file for frames of a size; None where there is none.

    ``upto`` leaves out lens files with a greater number.

    Raises
    ------
    LensFileError
        The newest file cannot be read.
    """
    for path in reversed(lens_paths(root, camera)):
        if upto is not None and int(path.stem) > upto:
            continue
        content = _read(path, path.stat().st_mtime_ns)
        if (content.lens.width, content.lens.height) == (width, height):
            return content
    return None


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> LensFile:
    return read_lens(path)


def newest_lens(root: Path, camera: str) -> LensFile | None:
    """Return the newest lens file of any frame size; None where there is none."""
    paths = lens_paths(root, camera)
    return _read(paths[-1], paths[-1].stat().st_mtime_ns) if paths else None


def save_lens(root: Path, camera: str, solution: LensSolution) -> LensFile:
    """Write a solution as the camera's newest lens file."""
    folder = lens_folder(root, camera)
    try:
        make_folder(folder)
        with locked(folder / ".lock"):  # two programs must not take the same number
            paths = lens_paths(root, camera)
            serial = int(paths[-1].stem) + 1 if paths else 1
            content = content_of(solution, camera=camera, serial=serial)
            write_lens(folder / f"{serial:04d}.json", content)
    except OSError as error:
        raise LensStoreError(f"cannot write into {folder}: {error.strerror}.") from error
    return content


def content_of(solution: LensSolution, *, camera: str, serial: int) -> LensFile:
    """Return what to write of a solution, its covariance included."""
    content = lens_file_of(solution, camera=camera, serial=serial)
    upper = solution.covariance[np.triu_indices(len(NAMES))]
    packed = {"of": list(NAMES), "upper": [float(f"{v:.6g}") for v in upper]}
    return replace(content, quality={**content.quality, "covariance": packed})


def solution_of(content: LensFile) -> LensSolution:
    """Return the solution a lens file was written of, as far as the file tells.

    A file without the covariance gives the parameters' own variances: then a drift's sigma comes
    out too large, never too small.
    """
    q = content.quality
    rings = tuple(
        RingResidual(
            float(r["altitude_deg"][0]),
            float(r["altitude_deg"][1]),
            int(r["stars"]),
            _value(r, "rms_px"),
            _value(r, "median_px"),
        )
        for r in q.get("rings", ())
    )
    return LensSolution(
        lens=content.lens,
        site=content.site,
        whens=content.frames,
        stars=int(q.get("stars", 0)),
        fitted=int(q.get("fitted_stars", 0)),
        rms_px=_value(q, "fitted_rms_px"),
        evidence=Evidence(
            held_out=int(q.get("held_out_stars", 0)),
            matched=int(q.get("held_out_matched", 0)),
            chance_rate=_value(q, "chance_rate"),
            log10_odds=_value(q, "log10_odds_against_chance"),
            rms_px=_value(q, "held_out_rms_px"),
            median_px=_value(q, "held_out_median_px"),
            radius_px=_value(q, "match_radius_px"),
            rings=rings,
        ),
        free=tuple(name for name in NAMES if name in content.sigma),
        covariance=_covariance(content),
        warnings=content.warnings,
    )


def _covariance(content: LensFile) -> NDArray[np.float64]:
    packed = content.quality.get("covariance")
    upper = packed.get("upper", ()) if isinstance(packed, dict) else ()
    n = len(NAMES)
    if (
        isinstance(packed, dict)
        and packed.get("of") == list(NAMES)
        and len(upper) == n * (n + 1) // 2
    ):
        out = np.zeros((n, n))
        out[np.triu_indices(n)] = np.asarray(upper, np.float64)
        return out + np.triu(out, 1).T
    return np.diag([content.sigma.get(name, 0.0) ** 2 for name in NAMES])


def _value(values: Any, name: str) -> float:
    """Return a number of a file; what it does not know is NaN."""
    value = values.get(name)
    return float("nan") if value is None else float(value)
