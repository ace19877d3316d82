"""What measuring remembers from frame to frame: what clear air looks like, and the verdict so far.

Plain values that travel in each frame's record, like the picture's tone: any frame can be measured
again from the record of the one before, on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from allsky360.sky.brightness import SkyBrightness
from allsky360.sky.clouds import CloudMap
from allsky360.sky.ephemeris import SunMoon
from allsky360.sky.photometry import Photometry
from allsky360.sky.safety import SafetyState
from allsky360.sky.star_colours import StarBalance, remember_balance
from allsky360.sky.vignetting import Vignetting, pool_vignetting
from allsky360.sky.zero_point import ZeroPointPrior, remember

FEW_CLOUDS, LITTLE_UNKNOWN = 0.10, 0.25
"""Shares of the sky that a frame which teaches may have cloudy or untold."""

DARK_PACE = 0.02
"""Share by which a frame moves the remembered dark sky."""

ENOUGH_FRAMES = 5
"""Clear frames from which the remembered vignetting is used instead of being fitted."""


@dataclass(frozen=True)
class SkyMemory:
    """Of one camera.

    Attributes
    ----------
    zero_points
        By :func:`setting_of`: gain and binning.
    vignetting
        Mean over clear frames, None before the first.
    safety
        The verdict the frames so far add up to.
    balance
        White balance by the stars' colours, None before the first clear frame.
    dark_mag
        Zenith of clear moonless nights, V mag per square arcsecond; None before the first.
    """

    zero_points: Mapping[str, ZeroPointPrior] = field(default_factory=dict)
    vignetting: Vignetting | None = None
    safety: SafetyState = field(default_factory=SafetyState)
    balance: StarBalance | None = None
    dark_mag: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "zero_points": {k: asdict(v) for k, v in self.zero_points.items()},
            "vignetting": None if self.vignetting is None else asdict(self.vignetting),
            "balance": None if self.balance is None else asdict(self.balance),
            "dark_mag": self.dark_mag,
            "safety": self.safety.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SkyMemory:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError, TypeError, KeyError
            For anything else.
        """
        vignetting = data["vignetting"]
        balance = data.get("balance")  # records of older versions have none
        dark = data.get("dark_mag")
        return cls(
            {str(k): _prior(v) for k, v in data["zero_points"].items()},
            None if vignetting is None else Vignetting(**vignetting),
            SafetyState.from_json(data["safety"]),
            None if balance is None else StarBalance(**balance),
            None if dark is None else float(dark),
        )


def _prior(data: Mapping[str, Any]) -> ZeroPointPrior:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return ZeroPointPrior(**values)


def setting_of(gain: float | None, binning: int) -> str:
    """Name what a zero point belongs to."""
    return f"gain {gain or 0.0:g}, binning {binning}"


def learn(
    memory: SkyMemory,
    setting: str,
    stars: Photometry,
    clouds: CloudMap,
    balance: StarBalance | None = None,
) -> SkyMemory:
    """Return the memory after one more frame's photometry; only clear frames teach.

    Where the map shows hardly a cloud, fewer stars need to be in the fit's own clear class: lamps,
    trees and a lens unlike the simulated ones push real stars out of it.
    """
    if stars.fit is None:
        return memory
    clear = clouds.cloudy <= FEW_CLOUDS and clouds.unknown <= LITTLE_UNKNOWN
    if clear:
        memory = replace(memory, balance=remember_balance(memory.balance, balance))
    old = memory.zero_points.get(setting)
    new = remember(old, stars.fit, clear_share=0.4 if clear else 0.8)
    if new is None or new is old:
        return memory
    vignetting = memory.vignetting
    if stars.vignetting.frames:  # fitted in this frame, not given
        covariance = stars.fit.covariance[4:6, 4:6]
        vignetting = pool_vignetting([(stars.fit.vignetting, covariance)], prior=vignetting)
    zero_points = dict(memory.zero_points) | {setting: new}
    return replace(memory, zero_points=zero_points, vignetting=vignetting)


def remember_dark(
    memory: SkyMemory, clouds: CloudMap, sky: SkyBrightness, lights: SunMoon
) -> SkyMemory:
    """Return the memory after one more frame's sky; only clear, moonless darkness teaches.

    Slowly: the Milky Way overhead is no news of the site.
    """
    dark = lights.sun_altitude_deg < -18.0 and lights.moon_altitude_deg < -3.0
    if not dark or not math.isfinite(sky.zenith_mag) or sky.zenith_sigma > 0.2:
        return memory
    if clouds.cloudy > FEW_CLOUDS or clouds.unknown > LITTLE_UNKNOWN:
        return memory
    old = memory.dark_mag
    new = sky.zenith_mag if old is None else old + DARK_PACE * (sky.zenith_mag - old)
    return replace(memory, dark_mag=new)
