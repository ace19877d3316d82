"""What the chain may be told: one frozen set of numbers, the same on every backend."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from allsky360.config import Settings


@dataclass(frozen=True)
class ChainParameters:
    """Parameters of :func:`allsky360.imaging.pipeline.develop`.

    Attributes
    ----------
    black_level_adu
        Pedestal of a dark pixel, used where no master bias or dark fits.
    saturation_adu
        Overrides the exposure's own saturation level.
    gain_unit_db
        Decibels per unit of the camera's gain.
    debayer
        Demosaic method.
    hot_pixel_sigma
        Noise sigmas by which a defect stands out.
    white_balance
        "manual" takes ``red`` and ``blue`` always; "grey-sky" makes the night sky nearly grey and
        moves to them towards day, when the sky is blue.
    red, blue
        Gains of red and blue (green is 1) that make daylight white.
    target_background
        Display level (sRGB code over 255) of the night sky.
    saturation
        Factor on colour differences in the picture. Camera colours are paler than the eye's: their
        filters overlap.
    tone_time_s
        Time constant with which the picture's brightness and colour follow the sky.
    """

    black_level_adu: float = 0.0
    saturation_adu: float | None = None
    gain_unit_db: float = 0.1
    debayer: Literal["edge-aware", "bilinear"] = "edge-aware"
    hot_pixel_sigma: float = 8.0
    white_balance: Literal["manual", "grey-sky"] = "grey-sky"
    red: float = 1.35
    blue: float = 1.65
    target_background: float = 0.20
    saturation: float = 1.6
    tone_time_s: float = 90.0

    def digest(self) -> str:
        """Short hash that names these parameters in provenance."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def parameters_from(settings: Settings) -> ChainParameters:
    """Collect the chain's parameters from the settings tree."""
    p, c = settings.processing, settings.camera
    values: dict[str, Any] = {
        "black_level_adu": c.black_level_adu,
        "saturation_adu": c.saturation_adu,
        "gain_unit_db": c.gain_unit_db,
        "debayer": p.debayer,
        "hot_pixel_sigma": p.hot_pixel_sigma,
        "white_balance": p.white_balance.mode,
        "red": p.white_balance.red,
        "blue": p.white_balance.blue,
        "target_background": p.target_background,
        "saturation": p.saturation,
    }
    return ChainParameters(**values)
