"""Between a solution and a camera's lens files: written as the newest, and read back.

Apart from :mod:`allsky360.lenses`, which only reads, because a solution brings the solver along.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.archive.durable import locked, make_folder
from allsky360.errors import in_words
from allsky360.lenses import LensStoreError, lens_folder, lens_paths
from allsky360.sky.lens_file import LensFile, LensFileError, write_lens
from allsky360.sky.solve import LensSolution
from allsky360.sky.solve_check import Evidence, RingResidual
from allsky360.sky.solve_fit import NAMES
from allsky360.sky.solved_lens import lens_file_of


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
        raise LensStoreError(
            f"cannot write into {folder}: {error.strerror}.",
            mend="Free space, or give the folder to the user that runs this.",
        ) from error
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

    Raises
    ------
    LensFileError
        What it says of its quality is no such thing.
    """
    try:
        return _solution(content)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise LensFileError(
            f"lens file {content.serial} of {content.camera} has a quality that cannot be read: "
            f"{in_words(error)}.",
            mend="Solve the lens again.",
        ) from error


def _solution(content: LensFile) -> LensSolution:
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
