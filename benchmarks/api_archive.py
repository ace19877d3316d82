"""A year's archive for measuring the read service: real layout, numbers only, written in bulk.

Raw pixels are left out: every number, record and chunk file is what the writers write, so that the
service opens and reads it as it does a real one; one night has pictures.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.archive import group
from allsky360.archive.layout import SCHEMA, night_folder, picture_path, record_path
from allsky360.archive.raw import EXPOSURE_AXIS, SCALARS
from allsky360.measure.names import DESCRIPTIONS, descriptions
from allsky360.model import Site

CAMERA = "benchmark-camera"
SITE = Site("Benchmark", 28.76, -17.88, 2396.0)
FIRST = date(2025, 11, 22)
DETECTOR = ("background_red", "background_green", "background_blue", "level", "noise")


def build(root: Path, nights: int = 365, frames: int = 250_000, *, pictures: int = 3) -> None:
    """Write ``frames`` frames over ``nights`` nights; the newest ``pictures`` have pictures."""
    rng = np.random.default_rng(1)
    each = np.full(nights, frames // nights)
    each[: frames - int(each.sum())] += 1
    for k in range(nights):
        night = FIRST + timedelta(days=k)
        _night(root, night, int(each[k]), rng)
    last = FIRST + timedelta(days=nights - 1)
    for index in range(int(each[-1]) - pictures, int(each[-1])):
        _picture(root, last, index, rng)


def _night(root: Path, night: date, rows: int, rng: np.random.Generator) -> None:
    folder = night_folder(root, CAMERA, night)
    begin = datetime(night.year, night.month, night.day, 19, tzinfo=UTC)
    step_us = int(10.5 * 3600e6 / rows)
    time = int(begin.timestamp() * 1e6) + np.arange(rows, dtype=np.int64) * step_us
    dark = np.linspace(0, np.pi, rows)
    about = {"camera": CAMERA, "night": night.isoformat(), "schema": SCHEMA, "first_index": 0}
    place = {
        "site_name": SITE.name,
        "site_latitude_deg": SITE.latitude_deg,
        "site_longitude_deg": SITE.longitude_deg,
        "site_elevation_m": SITE.elevation_m,
    }
    shots = np.full((rows, EXPOSURE_AXIS[1]), np.nan)
    shots[:, 0] = np.clip(12 * np.sin(dark), 0.5, 10)
    raw: dict[str, NDArray[np.generic]] = {
        "time": time,
        "exposure_start": np.where(np.isfinite(shots), time[:, None], -1),
        "exposure_s": shots,
        "crc32": np.where(np.isfinite(shots), 1, -1).astype(np.int64),
    }
    raw |= {name: rng.normal(100, 3, rows) for name, _, each, _ in SCALARS if name not in raw}
    raw |= {"level": rng.normal(0.12, 0.01, rows), "sun_altitude_deg": -40 * np.sin(dark)}
    _store(folder / "raw.zarr", {**about, **place, "kind": "raw"}, raw)
    cloud = np.clip(np.cumsum(rng.normal(0, 0.02, rows)) + rng.uniform(0, 1), 0, 1)
    done: dict[str, NDArray[np.generic]] = {"time": time, "processed_at": time + 8_000_000}
    for name in (*DESCRIPTIONS, *DETECTOR):
        done[name] = rng.normal(1, 0.1, rows).astype(np.float32)
    done["sun_altitude_deg"] = (-40 * np.sin(dark)).astype(np.float32)
    done["moon_altitude_deg"] = (60 * np.sin(dark * 2 + rng.uniform(0, 6))).astype(np.float32)
    done["cloud_fraction"] = cloud.astype(np.float32)
    done["sky_brightness_mag_arcsec2"] = (21.4 - 3 * cloud + rng.normal(0, 0.05, rows)).astype("f4")
    done["stars_detected"] = (3000 * (1 - cloud)).astype(np.float32)
    done["transients"] = (rng.random(rows) < 0.01).astype(np.float32)
    _store(folder / "v0001.zarr", {**about, "kind": "processed", "commits": rows}, done)
    (folder / "current.json").write_text(json.dumps({"version": "v0001"}))


def _store(path: Path, about: dict[str, object], columns: dict[str, NDArray[np.generic]]) -> None:
    words = descriptions()
    rows = len(next(iter(columns.values())))
    root = group.Root(dict(about), {}, 0)
    for name, values in columns.items():
        extra = (EXPOSURE_AXIS,) if values.ndim == 2 else ()
        attributes = group.INSTANT if values.dtype == np.int64 else words.get(name, {})
        metadata = group.scalar_metadata(values.dtype.name, extra=extra, attributes=attributes)
        root.add_array(path, name, metadata, sync=False)
        for chunk in range(-(-rows // group.CHUNK)):
            data = group.empty_rows(metadata, group.CHUNK)
            part = values[chunk * group.CHUNK : (chunk + 1) * group.CHUNK]
            data[: len(part)] = part
            group.chunk_path(path, name, chunk, metadata).write_bytes(data.tobytes())
    (path / "zarr.json").write_bytes(root.encode(rows))


def _picture(root: Path, night: date, index: int, rng: np.random.Generator) -> None:
    folder = night_folder(root, CAMERA, night)
    small = rng.integers(0, 90, (69, 100, 3)).astype(np.uint8)
    sky = cv2.resize(small, (1608, 1104), interpolation=cv2.INTER_CUBIC)
    path = picture_path(folder, "v0001", index)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(cv2.imencode(".jpg", sky, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]))
    record = record_path(folder, "v0001", index)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"provenance": {"software": "benchmark", "steps": []}}))
