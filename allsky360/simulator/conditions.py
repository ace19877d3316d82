"""What the sky above the simulated camera is like."""

from __future__ import annotations

from dataclasses import dataclass, field

from allsky360.simulator.radiance import LightDome
from allsky360.simulator.transients import TransientRates

DEFAULT_DOMES = (
    LightDome(azimuth_deg=128.0, strength=2.2, width_deg=30.0),
    LightDome(azimuth_deg=296.0, strength=0.8, width_deg=22.0, height_deg=7.0),
)


@dataclass(frozen=True)
class SkyConditions:
    """The sky above the simulated camera.

    Attributes
    ----------
    cloud_cover
        Mean fraction of the sky under cloud, 0 to 1.
    zenith_mag_arcsec2
        Moonless brightness of the zenith, V, without the Milky Way.
    domes
        Light domes on the horizon.
    milky_way, bodies, stars
        Whether these are drawn; for tests that want an empty sky.
    horizon_deg
        Mean height of the landscape.
    max_v
        Faintest catalogue star drawn.
    truth_max_v
        Faintest star listed in the truth.
    transients
        Meteors, satellites and aircraft an hour.
    """

    cloud_cover: float = 0.15
    zenith_mag_arcsec2: float = 21.3
    domes: tuple[LightDome, ...] = DEFAULT_DOMES
    milky_way: bool = True
    bodies: bool = True
    stars: bool = True
    horizon_deg: float = 2.5
    max_v: float = 8.0
    truth_max_v: float = 5.5
    transients: TransientRates = field(default_factory=TransientRates)
