"""The sky maps of a frame: which there are, and drawing one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.api.addresses import frame_id
from allsky360.api.problems import NotMeasured
from allsky360.api.service import Service
from allsky360.api.store import FrameInfo
from allsky360.archive import StoredRow

MapName = Literal["clouds", "cloud-chance", "transparency", "brightness"]
RGB = tuple[int, int, int]


@dataclass(frozen=True)
class MapKind:
    """A map's variable in the archive, and its colours from low to high."""

    variable: str
    low: float
    high: float
    colours: tuple[RGB, ...]


_GREYS: tuple[RGB, ...] = ((24, 44, 86), (92, 122, 160), (236, 240, 244))
MAPS: dict[MapName, MapKind] = {
    "clouds": MapKind("cloud_state", -1.0, 1.0, ((58, 58, 64), (24, 44, 86), (236, 240, 244))),
    "cloud-chance": MapKind("cloud_chance", 0.0, 1.0, _GREYS),
    "transparency": MapKind("cell_transparency", 0.0, 1.0, tuple(reversed(_GREYS))),
    "brightness": MapKind(
        "cell_brightness_mag_arcsec2",
        16.0,
        22.0,
        ((255, 246, 214), (244, 170, 76), (150, 62, 110), (52, 34, 108), (6, 8, 30)),
    ),
}
_NOT_KNOWN = (70, 70, 76)
_SUB = 2
"""Samples a pixel and axis: soft edges between cells."""


def maps_of(service: Service, frame: FrameInfo) -> Iterator[tuple[MapName, StoredRow]]:
    """Yield the maps a frame has."""
    for name, kind in MAPS.items():
        row = service.store.row(frame, kind.variable)
        if row is not None:
            yield name, row


def map_of(service: Service, frame: FrameInfo, name: MapName) -> StoredRow:
    """Return one map of a frame; refuse where it has none."""
    row = service.store.row(frame, MAPS[name].variable)
    if row is None:
        raise NotMeasured(
            f"Frame {frame_id(frame)} has no map of {name}.",
            mend="Maps need a processed frame and a lens model; GET …/maps lists what there is.",
        )
    return row


def draw_map(row: StoredRow, kind: MapKind, size: int) -> bytes:
    """Draw a map as PNG: zenith in the middle, horizon at the rim, north up, east left.

    Each pixel takes the nearest cell; outside the horizon it is transparent.
    """
    import cv2

    n = size * _SUB
    axis = (np.arange(n) + 0.5) / n * 2.0 - 1.0
    x, y = np.meshgrid(axis, axis)
    radius = np.hypot(x, y)
    altitude = 90.0 * (1.0 - radius)
    azimuth = np.degrees(np.arctan2(-x, -y)) % 360.0
    at = row.coordinates
    cell = _nearest(at["cell_altitude_deg"], at["cell_azimuth_deg"], altitude, azimuth)
    colours = _coloured(row.values, kind)[cell]
    low = float(np.min(at["cell_altitude_deg"])) - 8.0
    alpha = np.where((radius <= 1.0) & (altitude >= max(low, 0.0)), 255, 0).astype(np.uint8)
    layer = np.dstack([colours[..., ::-1] * (alpha[..., None] > 0), alpha])
    small = cv2.resize(layer, (size, size), interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".png", small)
    assert done
    return bytes(encoded)


def nearest_cell(row: StoredRow, altitude_deg: float, azimuth_deg: float) -> int | None:
    """Return the number of the cell nearest to a direction; None where none is near."""
    at = row.coordinates
    alt, az = np.asarray([altitude_deg]), np.asarray([azimuth_deg])
    found = int(_nearest(at["cell_altitude_deg"], at["cell_azimuth_deg"], alt, az)[0])
    apart = abs(float(at["cell_altitude_deg"][found]) - altitude_deg)
    return found if apart <= 8.0 else None


def _nearest(
    cell_alt: NDArray[np.float64],
    cell_az: NDArray[np.float64],
    alt: NDArray[np.float64],
    az: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Nearest ring, then nearest cell in it: cells stand in rings of one altitude."""
    rings, first, counts = np.unique(cell_alt, return_index=True, return_counts=True)
    ring = np.abs(alt[..., None] - rings).argmin(axis=-1)
    offset = cell_az[first[ring]]
    step = 360.0 / counts[ring]
    column = np.rint((az - offset) / step).astype(np.intp) % counts[ring]
    return np.asarray(first[ring] + column)


def _coloured(values: NDArray[np.float32], kind: MapKind) -> NDArray[np.uint8]:
    stops = np.linspace(kind.low, kind.high, len(kind.colours))
    table = np.asarray(kind.colours, np.float64)
    known = np.isfinite(values)
    safe = np.where(known, values, kind.low)
    rgb = np.stack([np.interp(safe, stops, table[:, k]) for k in range(3)], axis=-1)
    rgb[~known] = _NOT_KNOWN
    return rgb.round().astype(np.uint8)
