"""A small archive whose every picture tells where it looks: the truth that pages are held to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.archive import FrameRef, ProcessedWriter, RawWriter
from allsky360.archive.products import (
    FramesUsed,
    ProductFile,
    ProductRecord,
    products_folder,
    write_product,
)
from allsky360.archive.rows import Row
from allsky360.measure.memory import SkyMemory
from allsky360.measure.names import descriptions
from allsky360.model import Bracket, Exposure, Site
from allsky360.processing.records import plain
from allsky360.processing.rows import cell_axis
from allsky360.sky.lens import LensModel, fisheye
from allsky360.sky.lens_file import LensFile, write_lens
from allsky360.sky.sky_cells import sky_cells

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)
DEVICE, CAMERA = "Truth Camera", "truth-camera"
WIDTH, HEIGHT = 400, 300
LENS = replace(
    fisheye(WIDTH, HEIGHT, rotation_deg=30.0, tilt_north_deg=1.5, tilt_east_deg=-1.0),
    cx=204.0,
    cy=147.0,
)
DUSK = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
NIGHT, CLOUDY_NIGHT = date(2026, 11, 22), date(2026, 11, 21)
FRAMES, CLOUDY_FRAMES = 14, 5
STEP = timedelta(minutes=10)
NOW = DUSK + (FRAMES - 1) * STEP + timedelta(seconds=40)


def direction_picture(lens: LensModel = LENS) -> NDArray[np.uint8]:
    """Colour every pixel by where it looks, RGB: altitude, sine and cosine of azimuth."""
    altitude, azimuth = lens.unproject(*lens.pixel_grid())
    down = np.cos(np.radians(altitude))
    rgb = np.stack(
        [
            40 + 200 * altitude / 90,
            128 + 100 * down * np.sin(np.radians(azimuth)),
            128 + 100 * down * np.cos(np.radians(azimuth)),
        ],
        axis=-1,
    )
    rgb[~(altitude > 0)] = 0
    return np.asarray(np.clip(np.nan_to_num(rgb), 0, 255), np.uint8)


def jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """Encode with full chroma, so that colours stay where they are."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, 97, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), flags)[1])


DARK = jpeg(direction_picture() // 4)
"""Stands for the frame before it is stretched."""


def cell_values(index: int) -> dict[str, NDArray[Any]]:
    """Map values of a frame: cloudy in the east, unknown low down, brighter to the south."""
    cells = sky_cells()
    az, alt = cells.azimuth_deg, cells.altitude_deg
    state = np.where((az > 45) & (az < 135), 1, 0).astype(np.int8)
    state[alt < 15] = -1
    chance = np.where(state < 0, 0.5, np.where(state == 1, 0.9, 0.05)).astype(np.float32)
    mag = (21.0 + 0.5 * np.cos(np.radians(az)) + 0.01 * index).astype(np.float32)
    return {
        "cloud_state": state,
        "cloud_chance": chance,
        "cell_transparency": (1 - chance).astype(np.float32),
        "cell_brightness_mag_arcsec2": mag,
    }


@dataclass
class Truth:
    """The archive, to be filled frame by frame."""

    root: Path
    picture: bytes

    @classmethod
    def begin(cls, root: Path) -> Truth:
        """Start an empty archive."""
        return cls(root, jpeg(direction_picture()))

    def shoot(self, when: datetime, *, process: bool = True, **scalars: float) -> FrameRef:
        """Capture, and process, one frame."""
        pixels = np.random.default_rng(int(when.timestamp())).integers(
            600, 700, (HEIGHT, WIDTH), dtype=np.uint16
        )
        shots = tuple(
            Exposure(pixels, "RGGB", when, s, gain=100.0, temperature_c=-8.0, camera=DEVICE)
            for s in (20.0, 2.5)
        )
        writer = RawWriter(self.root, DEVICE, SITE)
        try:
            ref = writer.append(Bracket(shots), {"level": 0.1})
        finally:
            writer.close()
        if process:
            self.process(ref, when, scalars)
        return ref

    def process(self, ref: FrameRef, when: datetime, scalars: Mapping[str, float]) -> None:
        """Write what processing writes."""
        cells = sky_cells()
        axis = cell_axis(cells.size_deg, cells.lowest_deg)
        numbers = {
            "sun_altitude_deg": -30.0 - ref.index,
            "cloud_fraction": 0.25,
            "cloud_fraction_sigma": 0.02,
            "sky_clear": 0.7,
            "sky_brightness_mag_arcsec2": 20.5 + 0.05 * ref.index,
            "stars_found": 300.0 + 10 * ref.index,
            **scalars,
        }
        ProcessedWriter(self.root, ref.camera, ref.night).write(
            ref,
            time=when,
            linear=np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.float32),
            picture_jpeg=self.picture,
            scalars=numbers,
            provenance={
                "software": "allsky360 test",
                "parameters_digest": "0123456789abcdef",
                "exposures": [{"shape": [HEIGHT, WIDTH]}],
                "steps": [
                    {"name": "black-level", "version": 1, "seconds": 0.01, "parameters": {}},
                    {"name": "stretch", "version": 2, "seconds": 0.03, "parameters": {"a": 0.5}},
                ],
                "sky": {
                    "safety": "safe",
                    "safety_reason": "clear",
                    "lens": {"serial": 1, "solved": "2026-11-20T00:00:00+00:00"},
                    "memory": plain(SkyMemory().to_json()),
                },
            },
            site=SITE,
            rows={
                name: Row(axis, values, {"units": "1", "long_name": name})
                for name, values in cell_values(ref.index).items()
            },
            descriptions=descriptions(),
            steps={"01-stretch": self.picture, "00-black-level": DARK}
            if ref.index % 4 == 0
            else {},
        )

    def night(self) -> None:
        """Write two nights, a lens, a meteor, a video and a keogram."""
        for i in range(CLOUDY_FRAMES):
            self.shoot(DUSK - timedelta(days=1) + i * STEP, cloud_fraction=0.9, sky_clear=0.05)
        refs = [
            self.shoot(DUSK + i * STEP, transients=2.0 if i == 4 else 0.0) for i in range(FRAMES)
        ]
        self.lens()
        self.transients(refs[4])
        self.products(refs)

    def lens(self) -> None:
        """Write the lens as solved."""
        folder = self.root / CAMERA / "lens"
        folder.mkdir(parents=True)
        rings = [
            {"altitude_deg": [0.0, 45.0], "stars": 40, "rms_px": 0.5, "median_px": 0.4},
            {"altitude_deg": [45.0, 90.0], "stars": 60, "rms_px": 0.3, "median_px": 0.2},
        ]
        quality = {
            "stars": 500,
            "held_out_stars": 100,
            "held_out_rms_px": 0.41,
            "held_out_median_px": 0.3,
            "rings": rings,
        }
        content = LensFile(
            LENS, CAMERA, 1, DUSK, SITE, (DUSK,), {"focal_px": 0.01, "cx": 0.02}, quality, "test"
        )
        write_lens(folder / "0001.json", content)

    def transients(self, ref: FrameRef) -> None:
        """Put a meteor and a satellite into a frame's record."""
        path = self.root / CAMERA / str(ref.night) / "v0001" / "frames" / f"{ref.index:06d}.json"
        record = json.loads(path.read_bytes())
        time = (DUSK + ref.index * STEP + timedelta(seconds=7)).isoformat()
        record["transients"] = [
            _transient("m1", "meteor", time, (150, 120), (210, 160), -2.5),
            _transient("s1", "satellite", time, (220, 100), (260, 180), 3.0),
        ]
        path.write_text(json.dumps(record))

    def products(self, refs: list[FrameRef]) -> None:
        """Write a keogram and a time-lapse that can be sought."""
        folder = products_folder(self.root, CAMERA, NIGHT, "v0001")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "keogram.jpg").write_bytes(self.picture)
        (folder / "timelapse.jpg").write_bytes(self.picture)
        video(folder / "timelapse.mp4")
        used = FramesUsed(used=len(refs), first=0, last=len(refs) - 1)
        files: dict[str, tuple[ProductFile, ...]] = {
            "keogram": (ProductFile("keogram.jpg", "main", "image/jpeg"),),
            "timelapse": (
                ProductFile("timelapse.mp4", "main", "video/mp4", duration_s=4.0),
                ProductFile("timelapse.jpg", "preview", "image/jpeg"),
            ),
        }
        for name, those in files.items():
            record = ProductRecord(
                kind=name,
                name=name,
                title=name.capitalize(),
                camera=CAMERA,
                night=NIGHT,
                version="v0001",
                created_at=DUSK,
                complete=True,
                files=those,
                frames=used,
                parameters={"fps": 10},
                provenance={},
            )
            write_product(self.root, record)


def video(path: Path) -> None:
    """Write 4 s of 64 x 64 video at 10 pictures a second."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for i in range(40):
            picture = np.full((64, 64, 3), i * 6, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def _transient(
    name: str,
    kind: str,
    time: str,
    start: tuple[int, int],
    end: tuple[int, int],
    magnitude: float,
) -> dict[str, Any]:
    def point(at: tuple[int, int]) -> dict[str, Any]:
        altitude, azimuth = (float(v) for v in LENS.unproject(*at))
        return {"time": time, "x": at[0], "y": at[1], "alt_deg": altitude, "az_deg": azimuth}

    return {
        "id": name,
        "kind": kind,
        "start": point(start),
        "end": point(end),
        "duration_s": 0.6,
        "peak_snr": 25.0,
        "magnitude": magnitude,
        "magnitude_sigma": 0.3,
        "label": kind,
    }
