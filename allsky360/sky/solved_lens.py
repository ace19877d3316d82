"""What is written of a solved lens into its file."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from allsky360.model import as_utc
from allsky360.sky.lens_file import LensFile
from allsky360.sky.solve import LensSolution


def lens_file_of(
    solution: LensSolution, *, camera: str, serial: int, solved: datetime | None = None
) -> LensFile:
    """Return what to write of a solution."""
    e = solution.evidence
    quality = {
        "stars": solution.stars,
        "fitted_stars": solution.fitted,
        "fitted_rms_px": solution.rms_px,
        "held_out_stars": e.held_out,
        "held_out_matched": e.matched,
        "held_out_rms_px": e.rms_px,
        "held_out_median_px": e.median_px,
        "match_radius_px": e.radius_px,
        "chance_rate": e.chance_rate,
        "log10_odds_against_chance": e.log10_odds,
        "rings": [
            {
                "altitude_deg": [r.low_deg, r.high_deg],
                "stars": r.stars,
                "rms_px": r.rms_px,
                "median_px": r.median_px,
            }
            for r in e.rings
        ],
    }
    return LensFile(
        lens=solution.lens,
        camera=camera,
        serial=serial,
        solved=as_utc(solved or datetime.now(UTC)),
        site=solution.site,
        frames=solution.whens,
        sigma={name: s for name, s in solution.sigma.items() if name in solution.free},
        quality=quality,
        software=_software(),
        warnings=solution.warnings,
    )


def _software() -> str:
    try:
        return f"allsky360 {version('allsky360')}"
    except PackageNotFoundError:
        return "allsky360"
