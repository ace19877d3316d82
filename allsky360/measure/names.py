"""Units and meanings of the numbers, as they stand in the archive (CF style)."""

from __future__ import annotations

DESCRIPTIONS: dict[str, dict[str, str]] = {
    "sun_altitude_deg": {"units": "degree", "long_name": "apparent altitude of the Sun"},
    "sun_azimuth_deg": {"units": "degree", "long_name": "azimuth of the Sun, north through east"},
    "moon_altitude_deg": {"units": "degree", "long_name": "apparent altitude of the Moon"},
    "moon_azimuth_deg": {"units": "degree", "long_name": "azimuth of the Moon, north through east"},
    "moon_illumination": {"units": "1", "long_name": "lit share of the Moon's disc"},
    "moon_phase_deg": {
        "units": "degree",
        "long_name": "elongation of the Moon in ecliptic longitude: 0 new, 180 full",
    },
    "sidereal_time_h": {"units": "hour", "long_name": "local apparent sidereal time"},
    "stars_found": {"units": "1", "long_name": "stars found in the frame"},
    "stars_matched": {"units": "1", "long_name": "found stars matched with the catalogue"},
    "stars_detected": {"units": "1", "long_name": "catalogue stars whose flux is above 5 sigma"},
    "fwhm_px": {"units": "pixel", "long_name": "width of the stars' images at half maximum"},
    "lens_residual_px": {
        "units": "pixel",
        "long_name": "median distance of matched stars from where the lens model puts them",
    },
    "zero_point_mag": {
        "units": "mag",
        "long_name": "V magnitude of a full well a second, above the atmosphere",
    },
    "extinction_mag": {"units": "mag", "long_name": "extinction per airmass in V"},
    "star_scatter_mag": {"units": "mag", "long_name": "scatter of bright stars about the fit"},
    "limiting_mag": {"units": "mag", "long_name": "V of a 5 sigma star at the zenith"},
    "sky_brightness_mag_arcsec2": {
        "units": "mag arcsec-2",
        "long_name": "V sky brightness within 7.5 degrees of the zenith",
    },
    "white_balance_red_stars": {
        "units": "1",
        "long_name": "gain of red that makes a Sun-like star (B-V 0.65) white, by this frame",
    },
    "white_balance_blue_stars": {
        "units": "1",
        "long_name": "gain of blue that makes a Sun-like star (B-V 0.65) white, by this frame",
    },
    "transients": {
        "units": "1",
        "long_name": "streaks in the frame: meteors, satellites, aircraft; missing if not searched",
    },
    "cloud_fraction": {"units": "1", "long_name": "cloudy share of the sky that could be told"},
    "sky_clear": {"units": "1", "long_name": "share of the sky known to be clear"},
    "sky_cloudy": {"units": "1", "long_name": "share of the sky known to be cloudy"},
    "sky_unknown": {"units": "1", "long_name": "share of the sky that cannot be told"},
}
"""Attributes of each measured variable."""


def descriptions() -> dict[str, dict[str, str]]:
    """Return the attributes of all variables, those of their standard errors included."""
    out = {name: dict(what) for name, what in DESCRIPTIONS.items()}
    for name in (
        "fwhm_px",
        "zero_point_mag",
        "extinction_mag",
        "limiting_mag",
        "lens_residual_px",
        "sky_brightness_mag_arcsec2",
        "white_balance_red_stars",
        "white_balance_blue_stars",
        "cloud_fraction",
    ):
        sigma = f"{name}_sigma"
        out[name]["ancillary_variables"] = sigma
        out[sigma] = {
            "units": DESCRIPTIONS[name]["units"],
            "long_name": f"standard deviation of {DESCRIPTIONS[name]['long_name']}",
        }
    return out
