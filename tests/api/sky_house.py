"""An archive whose frames know the sky: a lens, rows of stars and cells, transients, products."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from allsky360.archive import FrameRef, ProcessedWriter
from allsky360.archive.layout import record_path
from allsky360.archive.products import (
    FramesUsed,
    ProductFile,
    ProductRecord,
    products_folder,
    write_product,
)
from allsky360.archive.rows import Row
from allsky360.lenses import lens_folder
from allsky360.processing.rows import cell_axis, star_axis
from allsky360.sky.lens import LensModel, fisheye
from allsky360.sky.lens_file import LensFile, write_lens
from tests.api.conftest import HEIGHT, SLUG, WIDTH, House, draw_sky

LENS = fisheye(WIDTH, HEIGHT, rotation_deg=12.0)


def write_camera_lens(house: House, lens: LensModel = LENS, serial: int = 1) -> None:
    """Give the camera a solved lens."""
    folder = lens_folder(house.root, SLUG)
    folder.mkdir(parents=True, exist_ok=True)
    rings = [{"altitude_deg": [60.0, 90.0], "stars": 20, "rms_px": 0.31, "median_px": 0.2}]
    write_lens(
        folder / f"{serial:04d}.json",
        LensFile(
            lens=lens,
            camera=SLUG,
            serial=serial,
            solved=datetime(2026, 11, 20, tzinfo=UTC),
            site=house.site,
            frames=(datetime(2026, 11, 19, 23, tzinfo=UTC),),
            quality={"stars": 40, "held_out_stars": 12, "held_out_rms_px": 0.33, "rings": rings},
        ),
    )


def process_sky(
    house: House,
    ref: FrameRef,
    *,
    flip: bool = False,
    provenance: Mapping[str, Any] | None = None,
    transients: list[dict[str, Any]] | None = None,
    steps: Mapping[str, bytes] | None = None,
    **scalars: float,
) -> FrameRef:
    """Store a processed frame with rows of stars and cells, as a Dask worker does."""
    bracket = house.brackets[ref]
    stars, cells = star_axis(), cell_axis(7.5, 10.0)
    flux = np.full(stars.size, np.nan, np.float32)
    flux[:100] = np.linspace(2.0, 0.1, 100) * (1 + ref.index)
    azimuth = cells.coordinates["cell_azimuth_deg"][0]
    state = np.where(azimuth < 180, 1, 0).astype(np.int8)  # cloudy in the east
    turned = [["flip", {"horizontal": True, "vertical": False}]] if flip else []
    about = {
        "software": "allsky360 test",
        "parameters_digest": "abc",
        "exposures": [{"shape": [HEIGHT, WIDTH], "metadata": {"SITELAT": 28.7606}}],
        "parameters": {"profiles": {"clear": turned}},
        "steps": [
            {"name": "tone", "version": 3, "seconds": 0.01,
             "parameters": {"profiles": {"clear": 1.0}}},
            {"name": "stretch", "version": 1, "seconds": 0.02, "parameters": {"strength": 0.5}},
        ],
        **(provenance or {}),
    }  # fmt: skip
    found = transients or []
    ProcessedWriter(house.root, ref.camera, ref.night).write(
        ref,
        time=bracket.start,
        linear=np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.float32),
        picture_jpeg=draw_sky(ref.index),
        scalars={"transients": float(len(found)), **scalars},
        provenance=about,
        site=house.site,
        steps=steps or {},
        rows={
            "star_flux": Row(stars, flux, {"units": "full_well s-1"}),
            "cloud_state": Row(cells, state, {"long_name": "0 clear, 1 cloudy"}),
            "cell_brightness_mag_arcsec2": Row(
                cells, (21 + azimuth / 1000).astype(np.float32), {"units": "mag arcsec-2"}
            ),
        },
    )
    if found:
        folder = house.root / ref.camera / ref.night.isoformat()
        path = record_path(folder, "v0001", ref.index)
        record = json.loads(path.read_bytes())
        path.write_text(json.dumps({**record, "transients": found}))
    return ref


def streak(name: str, kind: str, when: datetime, magnitude: float) -> dict[str, Any]:
    """One transient as a frame's record tells it."""
    end = {"time": when.isoformat(), "x": 60.0, "y": 40.0, "alt_deg": 60.0, "az_deg": 90.0}
    return {
        "id": name,
        "kind": kind,
        "start": end,
        "end": {**end, "x": 80.0, "y": 55.0},
        "duration_s": 0.4,
        "peak_snr": 12.0,
        "magnitude": magnitude,
        "magnitude_sigma": 0.2,
        "label": f"a {kind}",
    }


def add_product(house: House, ref: FrameRef, content: bytes, name: str = "timelapse") -> Path:
    """Store a product of one file."""
    folder = products_folder(house.root, ref.camera, ref.night, "v0001")
    folder.mkdir(parents=True, exist_ok=True)
    file = f"{name}.mp4"
    (folder / file).write_bytes(content)
    write_product(
        house.root,
        ProductRecord(
            kind="timelapse",
            name=name,
            title="Time-lapse",
            camera=ref.camera,
            night=ref.night,
            version="v0001",
            created_at=datetime(2026, 11, 23, 9, tzinfo=UTC),
            complete=True,
            files=(ProductFile(file, "main", "video/mp4", duration_s=2.0),),
            frames=FramesUsed(1, 0, 0),
        ),
    )
    return folder / file
