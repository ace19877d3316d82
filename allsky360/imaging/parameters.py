"""What the chain may be told: one frozen set of numbers, the same on every backend."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from allsky360.config import ProcessingSettings, Settings
from allsky360.config_steps import resolve_steps

ProfileStep = tuple[str, dict[str, Any]]
"""A filter's name and all its keywords."""


def default_profiles() -> dict[str, tuple[ProfileStep, ...]]:
    """Return the profiles of the default settings."""
    return profiles_from(ProcessingSettings())


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
        moves to them towards day, when the sky is blue; "stars" makes a Sun-like star white, day
        and night, once the stars of this camera are known, and is "grey-sky" until then.
    red, blue
        Gains of red and blue (green is 1) that make daylight white.
    tone_time_s
        Time constant with which the picture's brightness and colour follow the sky.
    banding
        Which lines' own levels are measured and taken off.
    profile
        Name of the profile, or "auto".
    profiles
        The steps of each profile, in order.
    """

    black_level_adu: float = 0.0
    saturation_adu: float | None = None
    gain_unit_db: float = 0.1
    debayer: Literal["edge-aware", "bilinear"] = "edge-aware"
    hot_pixel_sigma: float = 8.0
    white_balance: Literal["manual", "grey-sky", "stars"] = "grey-sky"
    red: float = 1.35
    blue: float = 1.65
    tone_time_s: float = 1800.0
    banding: Literal["keep", "rows", "rows and columns"] = "keep"
    profile: str = "auto"
    profiles: Mapping[str, tuple[ProfileStep, ...]] = field(default_factory=default_profiles)

    def digest(self) -> str:
        """Short hash that names these parameters in provenance."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def profiles_from(processing: ProcessingSettings) -> dict[str, tuple[ProfileStep, ...]]:
    """Resolve the steps of every profile."""
    profiles = processing.profiles
    return {
        name: resolve_steps(getattr(profiles, name), processing.filters)
        for name in type(profiles).model_fields
    }


def parameters_from(settings: Settings) -> ChainParameters:
    """Collect the chain's parameters from the settings tree."""
    p, c = settings.processing, settings.camera
    return ChainParameters(
        black_level_adu=c.black_level_adu,
        saturation_adu=c.saturation_adu,
        gain_unit_db=c.gain_unit_db,
        debayer=p.debayer,
        hot_pixel_sigma=p.hot_pixel_sigma,
        white_balance=p.white_balance.mode,
        red=p.white_balance.red,
        blue=p.white_balance.blue,
        tone_time_s=p.tone_time_s,
        banding=p.banding,
        profile=p.profile,
        profiles=profiles_from(p),
    )
