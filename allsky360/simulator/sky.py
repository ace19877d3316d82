"""The simulated sky: a frame source that renders what a real camera would see, with its truth."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.config import Settings
from allsky360.errors import AllskyError
from allsky360.model import Site, as_utc
from allsky360.simulator.clouds import CloudField
from allsky360.simulator.conditions import SkyConditions
from allsky360.simulator.photometry import bands_of, cfa_of
from allsky360.simulator.radiance import SUN_BV
from allsky360.simulator.render import enlarged, mosaic, render
from allsky360.simulator.scene import Scene, build_scene, landscape
from allsky360.simulator.sensor import SensorModel, crop_and_bin
from allsky360.simulator.source import ExposureRequest, SensorDescription, SimulatedFrame
from allsky360.simulator.view import View
from allsky360.sky.lens import LensModel, fisheye

Array = NDArray[np.float32]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FLAT_E = 0.35  # a flat field fills this share of the well on the axis


class SimulatorError(AllskyError):
    """A request no such camera could fulfil."""


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
        self._view: View | None = None

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
    def view(self) -> View:
        """The camera with its static maps, computed once."""
        with self._lock:
            if self._view is None:
                profile = landscape(self.seed, self.conditions.horizon_deg)
                self._view = View(
                    site=self.site,
                    lens=self.lens,
                    scene=build_scene(self.lens, profile),
                    bands=self.bands,
                    cfa=self.cfa,
                    conditions=self.conditions,
                    clouds=self.clouds,
                    zero_point_e_per_s=self.zero_point_e_per_s,
                    fwhm_px=self.fwhm_px,
                    seed=self.seed,
                )
            return self._view

    @property
    def scene(self) -> Scene:
        """Directions, vignetting and horizon of every pixel."""
        return self.view.scene

    def expose(self, request: ExposureRequest) -> SimulatedFrame:
        """Take one exposure.

        Raises
        ------
        SimulatorError
            When exposure time, region or binning are outside what the sensor can do.
        """
        self._check(request)
        rng = np.random.Generator(np.random.SFC64(self._entropy(request)))
        light, truth, transmission = self._light(request)
        pixels = self.model.read_out(light, request, rng)
        pattern = self._sensor.pattern
        cut, cut_pattern = crop_and_bin(pixels, pattern, request.roi, request.binning)
        arrays: dict[str, NDArray[Any]] = {}
        if self.truth_arrays and light is not None and transmission is not None:
            maps = {
                "expected_electrons": light,
                "cloud_transmission": enlarged(transmission, self.scene),
            }
            for name, full in maps.items():
                arrays[name] = crop_and_bin(full, pattern, request.roi, request.binning)[0]
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

    def _light(self, request: ExposureRequest) -> tuple[Array | None, dict[str, Any], Array | None]:
        """Return expected electrons of the whole sensor (None: shutter closed), truth, clouds."""
        if request.frame_type in ("bias", "dark"):
            return None, {}, None
        if request.frame_type == "flat":
            return self._flat(), {}, None
        return render(self.view, request)

    def _flat(self) -> Array:
        """Return an evenly lit panel: the lens's vignetting and each band's response to white."""
        scene = self.scene
        lens_only = np.asarray(scene.throughput / np.float32(np.max(scene.throughput)), np.float32)
        level = _FLAT_E * self._sensor.full_well_e
        white = np.array([b.colour_factor(SUN_BV) for b in self.bands])
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


__all__ = ["SimulatorError", "SkyConditions", "SkySource"]
