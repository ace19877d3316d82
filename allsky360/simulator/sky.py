"""The simulated sky: a frame source that renders what a real camera would see, with its truth."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.config import Settings
from allsky360.errors import AllskyError
from allsky360.model import Site, as_utc
from allsky360.simulator import radiance as glow
from allsky360.simulator.bodies import (
    SUN_RADIUS_DEG,
    SUN_V,
    apparent_sun_moon,
    moon_phase_angle_deg,
    moon_v,
    planets,
)
from allsky360.simulator.clouds import CloudField
from allsky360.simulator.photometry import (
    airmass,
    bands_of,
    cfa_of,
    flux,
    mag_arcsec2,
    radiance,
)
from allsky360.simulator.points import add_profile, disc_profile, draw_points, glare_profile
from allsky360.simulator.scene import Scene, build_scene, landscape, vignetting
from allsky360.simulator.sensor import SensorModel, crop_and_bin
from allsky360.simulator.source import ExposureRequest, SensorDescription, SimulatedFrame
from allsky360.simulator.transients import TransientRates, transients_during
from allsky360.sky.catalogue import altaz_of, apparent_altaz, horizon_vectors, load_catalogue
from allsky360.sky.ephemeris import SunMoon, horizon_rotation
from allsky360.sky.lens import LensModel, fisheye
from allsky360.sky.refraction import pressure_mbar

Array = NDArray[np.float32]
Float = NDArray[np.float64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STARS_SET_DEG = 2.0  # with the Sun above this no star adds a countable electron
_GLARE_SHARE = 0.03
_FLAT_E = 0.35  # a flat field fills this share of the well on the axis

DEFAULT_DOMES = (
    glow.LightDome(azimuth_deg=128.0, strength=2.2, width_deg=30.0),
    glow.LightDome(azimuth_deg=296.0, strength=0.8, width_deg=22.0, height_deg=7.0),
)


class SimulatorError(AllskyError):
    """A request no such camera could fulfil."""


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
    domes: tuple[glow.LightDome, ...] = DEFAULT_DOMES
    milky_way: bool = True
    bodies: bool = True
    stars: bool = True
    horizon_deg: float = 2.5
    max_v: float = 8.0
    truth_max_v: float = 5.5
    transients: TransientRates = field(default_factory=TransientRates)


class SkySource:
    """Renders the sky above a site as one camera sees it.

    Equal requests give equal frames, pixel for pixel: everything is a function of the seed and of
    the request. Safe to call from several threads.

    Parameters
    ----------
    site
        Where the camera stands.
    sensor
        Default: a 1608 x 1104 colour sensor of 9 micrometre pixels.
    lens
        Default: :func:`allsky360.sky.lens.fisheye` with a slight rotation and tilt.
    seed
        Clouds, landscape, hot pixels, transients and noise.
    cloud_cover, zenith_mag_arcsec2
        Shorthands for the fields of ``conditions``.
    conditions
        Everything else about the sky.
    zero_point_e_per_s
        Electrons a second from a V = 0, B-V = 0 star above the atmosphere, summed over its image,
        as if every pixel were green. 12 000 is a lens of 1.7 mm aperture: 0.023 cm2 x 1000
        photons/s/cm2/A x 850 A x 0.6 efficiency.
    truth_arrays
        Put ``expected_electrons`` and ``cloud_transmission`` into every frame's ``arrays``.
    """

    def __init__(
        self,
        site: Site,
        sensor: SensorDescription | None = None,
        lens: LensModel | None = None,
        seed: int = 1,
        cloud_cover: float | None = None,
        zenith_mag_arcsec2: float | None = None,
        *,
        conditions: SkyConditions | None = None,
        zero_point_e_per_s: float = 12_000.0,
        fwhm_px: float = 2.3,
        truth_arrays: bool = False,
    ) -> None:
        conditions = conditions or SkyConditions()
        if cloud_cover is not None:
            conditions = replace(conditions, cloud_cover=cloud_cover)
        if zenith_mag_arcsec2 is not None:
            conditions = replace(conditions, zenith_mag_arcsec2=zenith_mag_arcsec2)
        self.site = site
        self.conditions = conditions
        self.seed = seed
        self.zero_point_e_per_s = zero_point_e_per_s
        self.fwhm_px = fwhm_px
        self.truth_arrays = truth_arrays
        self._sensor = sensor or SensorDescription()
        self.lens = lens or fisheye(
            self._sensor.width,
            self._sensor.height,
            rotation_deg=7.0,
            tilt_north_deg=0.8,
            tilt_east_deg=-0.5,
        )
        if (self.lens.width, self.lens.height) != (self._sensor.width, self._sensor.height):
            raise SimulatorError(
                f"the lens model is for {self.lens.width} x {self.lens.height} pixels, the sensor "
                f"has {self._sensor.width} x {self._sensor.height}."
            )
        self.model = SensorModel(self._sensor, seed)
        self.bands = bands_of(self._sensor.pattern)
        self.cfa = cfa_of(self._sensor.pattern)
        self.clouds = CloudField(seed=seed, cover=conditions.cloud_cover)
        self._lock = threading.Lock()
        self._scene: Scene | None = None

    @classmethod
    def from_settings(cls, settings: Settings, site: Site) -> SkySource:
        """Return the source the settings describe."""
        s = settings.simulator
        default = SensorDescription()
        sensor = replace(
            default,
            width=s.width,
            height=s.height,
            pixel_um=round(default.pixel_um * default.width / s.width, 3),
        )
        return cls(
            site,
            sensor,
            seed=s.seed,
            cloud_cover=s.cloud_cover,
            zenith_mag_arcsec2=s.zenith_mag_arcsec2,
        )

    @property
    def sensor(self) -> SensorDescription:
        """The sensor the frames come from."""
        return self._sensor

    @property
    def scene(self) -> Scene:
        """Static maps of this camera, computed once."""
        with self._lock:
            if self._scene is None:
                profile = landscape(self.seed, self.conditions.horizon_deg)
                self._scene = build_scene(self.lens, profile)
            return self._scene

    def expose(self, request: ExposureRequest) -> SimulatedFrame:
        """Take one exposure.

        Raises
        ------
        SimulatorError
            When exposure time, region or binning are outside what the sensor can do.
        """
        self._check(request)
        rng = np.random.Generator(np.random.SFC64(self._entropy(request)))
        light, truth, arrays = self._light(request)
        pixels = self.model.read_out(light, request, rng)
        pattern = self._sensor.pattern
        cut, cut_pattern = crop_and_bin(pixels, pattern, request.roi, request.binning)
        if self.truth_arrays and light is not None:
            arrays["expected_electrons"] = light
            arrays = {
                k: crop_and_bin(v, pattern, request.roi, request.binning)[0]
                for k, v in arrays.items()
            }
        else:
            arrays = {}
        return SimulatedFrame(cut, cut_pattern, self._truth(request, truth), arrays)

    def expected_electrons(self, request: ExposureRequest) -> Array:
        """Return the noiseless photoelectrons of each pixel, ``(H, W)`` float32 as delivered.

        Light only: no dark current, no full-well limit. Zero for bias and dark frames.
        """
        self._check(request)
        light, _, _ = self._light(request)
        if light is None:
            light = np.zeros((self._sensor.height, self._sensor.width), dtype=np.float32)
        return crop_and_bin(light, self._sensor.pattern, request.roi, request.binning)[0]

    def _check(self, request: ExposureRequest) -> None:
        d = self._sensor
        if request.frame_type != "bias" and not 0 <= request.exposure_s <= d.max_exposure_s:
            raise SimulatorError(
                f"an exposure of {request.exposure_s} s was asked of {d.name}.",
                mend=f"It can take 0 to {d.max_exposure_s} s.",
            )
        left, top, width, height = request.roi or (0, 0, d.width, d.height)
        fits = min(left, top) >= 0 and left + width <= d.width and top + height <= d.height
        cell = (1 if d.pattern is None else 2) * request.binning
        if not fits or request.binning < 1 or width < cell or height < cell:
            raise SimulatorError(
                f"region {request.roi} binned {request.binning} does not fit {d.name}.",
                mend=f"The sensor has {d.width} x {d.height} pixels.",
            )

    def _entropy(self, request: ExposureRequest) -> list[int]:
        start_us = round((as_utc(request.start) - _EPOCH).total_seconds() * 1e6)
        kind = ("light", "bias", "dark", "flat").index(request.frame_type)
        exposure_us = round(request.exposure_s * 1e6)
        return [self.seed, start_us & (2**63 - 1), exposure_us, round(request.gain * 1000), kind]

    def _light(
        self, request: ExposureRequest
    ) -> tuple[Array | None, dict[str, Any], dict[str, NDArray[Any]]]:
        """Return expected electrons of the whole sensor (None: shutter closed), truth, maps."""
        if request.frame_type in ("bias", "dark"):
            return None, {}, {}
        if request.frame_type == "flat":
            return self._flat(), {}, {}
        return render(self, request)

    def _flat(self) -> Array:
        """Return an evenly lit panel: the lens's vignetting and each band's response to white."""
        scene = self.scene
        lens_only = scene.throughput / np.float32(scene.throughput.max())
        level = _FLAT_E * self._sensor.full_well_e
        white = np.array([b.colour_factor(glow.SUN_BV) for b in self.bands])
        return mosaic([lens_only * np.float32(level * w / white.max()) for w in white], self.cfa)

    def _truth(self, request: ExposureRequest, sky: dict[str, Any]) -> dict[str, Any]:
        left, top, width, height = request.roi or (0, 0, self._sensor.width, self._sensor.height)
        lens = self.lens.cropped(left, top, width, height).binned(request.binning)
        return {
            "start": as_utc(request.start).isoformat(),
            "middle": as_utc(request.middle).isoformat(),
            "exposure_s": request.exposure_s,
            "gain": request.gain,
            "offset": request.offset,
            "temperature_c": request.temperature_c,
            "frame_type": request.frame_type,
            "seed": self.seed,
            "site": {
                "name": self.site.name,
                "latitude_deg": self.site.latitude_deg,
                "longitude_deg": self.site.longitude_deg,
                "elevation_m": self.site.elevation_m,
            },
            "zero_point_e_per_s": self.zero_point_e_per_s,
            "bands": [b.name for b in self.bands],
            "lens": lens.as_dict(),
            "sensor": self.model.truth(request),
            **sky,
        }


def mosaic(planes: Sequence[Array], cfa: NDArray[np.int64]) -> Array:
    """Return one mosaic from a full-size plane a band."""
    if len(planes) == 1:
        return planes[0]
    image = np.empty_like(planes[0])
    for j in (0, 1):
        for i in (0, 1):
            image[j::2, i::2] = planes[int(cfa[j, i])][j::2, i::2]
    return image


def render(
    source: SkySource, request: ExposureRequest
) -> tuple[Array, dict[str, Any], dict[str, NDArray[Any]]]:
    """Return expected electrons ``(H, W)`` float32, truth and truth maps of one light frame."""
    scene, when = source.scene, request.middle
    lights = apparent_sun_moon(source.site, when)
    if source.conditions.bodies:
        shown = lights
    else:
        shown = replace(lights, sun_altitude_deg=-90.0, moon_altitude_deg=-90.0)
    depth = source.clouds.optical_depth(scene.grid.vectors, when)
    transmission = np.exp(-depth)
    planes, v_plane = sky_planes(source, when, shown, transmission)

    scale = np.float32(source.zero_point_e_per_s * request.exposure_s)
    full = [_enlarged(p, scene) for p in planes]
    image = mosaic(full, source.cfa)
    ground = [0.10 * float(np.mean(p[scene.grid.up > 0.1])) for p in planes]
    ground_tile = np.array([ground[k] for k in source.cfa.ravel()], np.float32).reshape(2, 2)
    for j in (0, 1):
        for i in (0, 1):
            part, sky = image[j::2, i::2], scene.sky[j::2, i::2]
            part -= ground_tile[j, i]
            part *= sky
            part += ground_tile[j, i]
    image *= scene.throughput
    image *= scale

    truth: dict[str, Any] = {
        "sun": {"altitude_deg": lights.sun_altitude_deg, "azimuth_deg": lights.sun_azimuth_deg},
        "moon": {
            "altitude_deg": lights.moon_altitude_deg,
            "azimuth_deg": lights.moon_azimuth_deg,
            "illumination": lights.moon_illumination,
        },
        "sky_v_mag_arcsec2_zenith": float(mag_arcsec2(v_plane[scene.grid.zenith])),
        "cloud_fraction": cloud_fraction(scene, depth),
    }
    points = _points(source, request, shown, transmission)
    if points["x"].size:
        draw_points(
            image, points["x"], points["y"], points["e"], source.cfa, fwhm_px=source.fwhm_px
        )
    truth["stars"] = _listed(source, request, points)
    truth["planets"] = points["planets"]
    truth["transients"] = _draw_transients(source, request, lights, transmission, image)
    _draw_sun_and_moon(source, request, shown, transmission, image)
    maps: dict[str, NDArray[Any]] = {}
    if source.truth_arrays:
        maps["cloud_transmission"] = _enlarged(transmission, scene)
    return image, truth, maps


def sky_planes(
    source: SkySource, when: datetime, lights: SunMoon, transmission: Array
) -> tuple[list[Array], Array]:
    """Return the background radiance of each band and of V on the coarse grid."""
    grid, c = source.scene.grid, source.conditions
    sun = horizon_vectors(
        np.array(lights.sun_altitude_deg), np.array(lights.sun_azimuth_deg)
    ).astype(np.float32)
    moon = horizon_vectors(
        np.array(lights.moon_altitude_deg), np.array(lights.moon_azimuth_deg)
    ).astype(np.float32)
    turn = np.radians(grid.azimuth_deg - np.float32(lights.sun_azimuth_deg))
    natural, town = glow.night_sky(
        grid.up, grid.airmass, grid.azimuth_deg, c.zenith_mag_arcsec2, c.domes
    )
    parts: list[tuple[Array, float | Array]] = [(natural, glow.NIGHT_BV), (town, glow.TOWN_BV)]
    dark = float(radiance(c.zenith_mag_arcsec2))
    lit_from_below = max(0.0, 10 ** (0.4 * (21.9 - c.zenith_mag_arcsec2)) - 1.0)
    cloud: list[tuple[float | Array, float]] = [
        (0.5 * dark, glow.NIGHT_BV),
        (dark * min(lit_from_below, 20.0) + 0.6 * town, glow.TOWN_BV),
    ]
    if c.milky_way and lights.sun_altitude_deg < -6.0:
        icrs = grid.vectors @ horizon_rotation(source.site, when).astype(np.float32)
        dimming = 10.0 ** (-0.4 * glow.K_V * grid.airmass)
        parts.append((glow.milky_way(icrs) * dimming, glow.MILKY_WAY_BV))
    if lights.moon_altitude_deg > -1.5:
        moonlit = glow.moonlit_sky(
            grid.vectors @ moon,
            grid.airmass,
            lights.moon_altitude_deg,
            moon_phase_angle_deg(lights),
        )
        parts.append((moonlit, glow.MOONLIT_SKY_BV))
        cloud.append((2.0 * float(np.median(moonlit)), 0.6))
    if lights.sun_altitude_deg > -19.0:
        sunlit, bv = glow.sunlit_sky(
            grid.up, grid.vectors @ sun, np.cos(turn), lights.sun_altitude_deg
        )
        parts.append((sunlit, bv))
        low = float(np.clip((lights.sun_altitude_deg + 6.0) / 12.0, 0.0, 1.0))
        cloud.append(
            (0.7 * sunlit + (0.4 + 2.4 * low) * float(np.median(sunlit)), 0.45 + 0.15 * low)
        )

    # Thick cloud is darker underneath; what it hides it replaces by its own light.
    body = (1.0 - transmission) * (0.7 + 0.3 * transmission)
    v_plane = transmission * sum(p for p, _ in parts) + body * sum(p for p, _ in cloud)
    planes = []
    for band in source.bands:
        clear = sum(p * band.colour_factor(bv).astype(np.float32) for p, bv in parts)
        hidden = sum(p * np.float32(band.colour_factor(bv)) for p, bv in cloud)
        planes.append(np.asarray(transmission * clear + body * hidden, dtype=np.float32))
    return planes, np.asarray(v_plane, dtype=np.float32)


def cloud_fraction(scene: Scene, depth: Array) -> float:
    """Return the share of the sky above 10 degrees with an optical depth over 0.3."""
    weight = scene.grid.solid_angle * (scene.grid.up > np.sin(np.radians(10.0)))
    return float(np.sum(weight * (depth > 0.3)) / np.sum(weight))


def _enlarged(plane: Array, scene: Scene) -> Array:
    step = scene.grid.step
    size = (plane.shape[1] * step, plane.shape[0] * step)
    big = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(big[: scene.lens.height, : scene.lens.width], dtype=np.float32)


def _sampled(plane: Array, scene: Scene, x: Float, y: Float) -> Float:
    """Return a coarse plane at pixel positions."""
    step = scene.grid.step
    gx = ((np.asarray(x) - (step - 1) / 2) / step).astype(np.float32).reshape(1, -1)
    gy = ((np.asarray(y) - (step - 1) / 2) / step).astype(np.float32).reshape(1, -1)
    if gx.size == 0:
        return np.empty(0)
    out = []
    for first in range(0, gx.size, 30_000):  # OpenCV's remap takes no wider rows
        part = slice(first, first + 30_000)
        out.append(
            cv2.remap(
                plane, gx[:, part], gy[:, part], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        )
    return np.concatenate(out, axis=1).ravel().astype(np.float64)


def electrons_of(
    source: SkySource, exposure_s: float, v_mag: Float, bv: Float, altitude_deg: Float
) -> Float:
    """Return the electrons ``(N, bands)`` of sources above the atmosphere, cloudless, unvignetted.

    Extinction scales with the pressure at the site.
    """
    thin = pressure_mbar(source.site.elevation_m) / 1013.25
    x = airmass(altitude_deg) * thin
    light = source.zero_point_e_per_s * exposure_s * flux(v_mag)
    return np.stack(
        [light * b.colour_factor(bv) * flux(b.extinction * x) for b in source.bands], axis=-1
    )


def _seen(
    source: SkySource, transmission: Array, altitude: Float, azimuth: Float
) -> tuple[Float, Float, NDArray[np.bool_], Float]:
    """Return pixel, visibility, and what lens and cloud leave of a point source's light."""
    scene = source.scene
    x, y, visible = source.lens.project(altitude, azimuth)
    visible &= altitude > scene.horizon_deg(azimuth)
    theta = np.degrees(source.lens.theta(np.hypot(x - source.lens.cx, y - source.lens.cy)))
    left = np.where(visible, vignetting(theta), 0.0)
    safe_x, safe_y = np.nan_to_num(x), np.nan_to_num(y)
    left = left * _sampled(transmission, scene, safe_x, safe_y).reshape(left.shape)
    return x, y, visible, left


def _points(
    source: SkySource, request: ExposureRequest, lights: SunMoon, transmission: Array
) -> dict[str, Any]:
    """Return stars and planets as point sources."""
    c = source.conditions
    none = np.empty(0)
    empty = {"x": none, "y": none, "e": np.empty((0, len(source.bands))), "planets": []}
    if lights.sun_altitude_deg > _STARS_SET_DEG:
        return {**empty, "hip": none, "v": none, "bv": none, "altitude": none, "azimuth": none}
    stars = load_catalogue(c.max_v if c.stars else -10.0)
    altitude, azimuth = apparent_altaz(stars, source.site, request.middle)
    wandering = planets(source.site, request.middle) if c.bodies else ()
    alt = np.concatenate([altitude, [p.altitude_deg for p in wandering]])
    az = np.concatenate([azimuth, [p.azimuth_deg for p in wandering]])
    v = np.concatenate([stars.v_mag, [p.v_mag for p in wandering]])
    bv = np.concatenate([stars.bv, [p.bv for p in wandering]])
    hip = np.concatenate([stars.hip, np.zeros(len(wandering), dtype=np.int32)])
    up = alt > -1.0
    index = np.concatenate([np.full(len(stars), -1), np.arange(len(wandering))])[up]
    alt, az, v, bv, hip = alt[up], az[up], v[up], bv[up], hip[up]
    x, y, visible, left = _seen(source, transmission, alt, az)
    e = electrons_of(source, request.exposure_s, v, bv, alt) * left[:, None]
    keep = np.flatnonzero(visible)
    listed = [
        {
            "name": wandering[index[k]].name,
            "x": float(x[k]),
            "y": float(y[k]),
            "altitude_deg": float(alt[k]),
            "azimuth_deg": float(az[k]),
            "v_mag": float(v[k]),
            "electrons": [float(value) for value in e[k]],
        }
        for k in keep[index[keep] >= 0]
    ]
    return {
        "x": x[keep],
        "y": y[keep],
        "e": e[keep],
        "hip": hip[keep],
        "v": v[keep],
        "bv": bv[keep],
        "altitude": alt[keep],
        "azimuth": az[keep],
        "planets": _delivered(source, request, listed),
    }


def _delivered(
    source: SkySource, request: ExposureRequest, listed: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Move x and y of truth entries into the delivered frame."""
    for entry in listed:
        entry["x"], entry["y"] = _to_frame(request, entry["x"], entry["y"])
    return listed


def _to_frame(request: ExposureRequest, x: Any, y: Any) -> tuple[Any, Any]:
    """Return whole-sensor pixel positions in the delivered (cropped, binned) frame."""
    left, top = (request.roi or (0, 0, 0, 0))[:2]
    shift = (request.binning - 1) / 2
    return (x - left - shift) / request.binning, (y - top - shift) / request.binning


def _listed(
    source: SkySource, request: ExposureRequest, points: dict[str, Any]
) -> dict[str, list[Any]]:
    """Return the truth's star table, column by column."""
    part = np.flatnonzero((points["hip"] > 0) & (points["v"] <= source.conditions.truth_max_v))
    x, y = _to_frame(request, points["x"][part], points["y"][part])
    return {
        "hip": [int(h) for h in points["hip"][part]],
        "x": np.round(x, 3).tolist(),
        "y": np.round(y, 3).tolist(),
        "altitude_deg": np.round(points["altitude"][part], 4).tolist(),
        "azimuth_deg": np.round(points["azimuth"][part], 4).tolist(),
        "v_mag": np.round(points["v"][part], 3).tolist(),
        "bv": np.round(points["bv"][part], 3).tolist(),
        "electrons": np.round(points["e"][part], 2).tolist(),
    }


def _draw_transients(
    source: SkySource,
    request: ExposureRequest,
    lights: SunMoon,
    transmission: Array,
    image: Array,
) -> list[dict[str, Any]]:
    truth = []
    found = transients_during(
        source.seed,
        request.start,
        request.exposure_s,
        source.conditions.transients,
        lights.sun_altitude_deg,
    )
    for streak in found:
        altitude, azimuth = altaz_of(streak.vectors)
        x, y, visible, left = _seen(source, transmission, altitude, azimuth)
        if not visible.any():
            continue
        bv = np.full(altitude.size, streak.bv)
        e = electrons_of(source, 1.0, streak.v_mag, bv, altitude)
        e *= (streak.seconds * left)[:, None]
        draw_points(image, x[visible], y[visible], e[visible], source.cfa, fwhm_px=source.fwhm_px)
        ends = np.flatnonzero(visible)[[0, -1]]
        fx, fy = _to_frame(request, x[ends], y[ends])
        truth.append(
            {
                "kind": streak.kind,
                "x": [float(v) for v in fx],
                "y": [float(v) for v in fy],
                "altitude_deg": [float(altitude[k]) for k in ends],
                "azimuth_deg": [float(azimuth[k]) for k in ends],
                "v_mag": float(np.min(streak.v_mag)),
                "electrons": [float(v) for v in e[visible].sum(axis=0)],
            }
        )
    return truth


def _draw_sun_and_moon(
    source: SkySource,
    request: ExposureRequest,
    lights: SunMoon,
    transmission: Array,
    image: Array,
) -> None:
    """Add the discs of Sun and Moon and the light the lens scatters around them."""
    phase = moon_phase_angle_deg(lights)
    sun_at = (lights.sun_altitude_deg, lights.sun_azimuth_deg)
    moon_at = (lights.moon_altitude_deg, lights.moon_azimuth_deg)
    per_px = np.degrees(1.0 / source.lens.focal_px)
    for (alt, az), v, bv, radius, phase_angle in (
        (sun_at, SUN_V, glow.SUN_BV, SUN_RADIUS_DEG, 0.0),
        (moon_at, moon_v(phase), glow.MOON_BV, lights.moon_radius_deg, phase),
    ):
        if alt < -0.5:
            continue
        altitude, azimuth = np.array([alt]), np.array([az])
        x, y, visible, left = _seen(source, transmission, altitude, azimuth)
        if not visible[0]:
            continue
        e = electrons_of(source, request.exposure_s, np.array([v]), np.array([bv]), altitude)[0]
        e = e * left[0]
        toward = _toward(source, (alt, az), sun_at)
        disc, i, j = disc_profile(float(x[0]), float(y[0]), radius / per_px, toward, phase_angle)
        add_profile(image, disc, i, j, e * (1.0 - _GLARE_SHARE), source.cfa)
        reach = max(40, round(0.2 * min(source.lens.width, source.lens.height)))
        halo, i, j = glare_profile(float(x[0]), float(y[0]), reach)
        add_profile(image, halo, i, j, e * _GLARE_SHARE, source.cfa)


def _toward(
    source: SkySource, here: tuple[float, float], there: tuple[float, float]
) -> tuple[float, float]:
    """Return the unit vector in the picture that points from one direction to another."""
    a = horizon_vectors(np.array(here[0]), np.array(here[1]))
    b = horizon_vectors(np.array(there[0]), np.array(there[1]))
    step = a + 0.002 * (b - a * float(a @ b))
    alt, az = altaz_of(np.stack([a, step / np.linalg.norm(step)]))
    x, y, _ = source.lens.project(alt, az)
    dx, dy = float(x[1] - x[0]), float(y[1] - y[0])
    length = float(np.hypot(dx, dy))
    return (dx / length, dy / length) if length > 0 and np.isfinite(length) else (1.0, 0.0)
