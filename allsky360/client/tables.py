"""Answers with many numbers as xarray objects."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


def series_dataset(stream: io.BytesIO) -> xr.Dataset:
    """Return an Arrow stream of ``/series`` as a dataset along ``time``."""
    import pyarrow as pa
    import xarray as xr

    table = pa.ipc.open_stream(stream).read_all()
    columns: dict[str, Any] = {}
    for field in table.schema:
        values = table[field.name].to_numpy()
        if field.name in ("time", "night"):
            continue
        units = (field.metadata or {}).get(b"units", b"").decode()
        columns[field.name] = ("time", values, {"units": units} if units else {})
    time = table["time"].cast(pa.int64()).to_numpy().astype("datetime64[us]")
    night = table["night"].cast(pa.int32()).to_numpy().astype("datetime64[D]")
    coordinates = {"time": time, "night": ("time", night.astype("datetime64[s]"))}
    return xr.Dataset(columns, coordinates)


def light_curve_dataset(d: Mapping[str, Any]) -> xr.Dataset:
    """Return a light curve's JSON as a dataset along ``time``."""
    import xarray as xr

    time = np.array([t.removesuffix("Z") for t in d["time"]], "datetime64[us]")
    units = {"flux": "full_well s-1", "flux_sigma": "full_well s-1", "loss_mag": "mag"}
    columns = {
        name: ("time", np.array(d[name], np.float64), {"units": unit})
        for name, unit in units.items()
    }
    flags = np.array([65535 if f is None else f for f in d["flags"]], np.uint16)
    about = {k: d[k] for k in ("hip", "name", "v_mag", "camera")}
    return xr.Dataset({**columns, "flags": ("time", flags)}, {"time": time}, about)


def cells_array(d: Mapping[str, Any]) -> xr.DataArray:
    """Return a map's JSON as an array along ``cell``, with the cells' centres."""
    import xarray as xr

    coordinates = {
        name: ("cell", np.array(d[name], np.float64), {"units": unit})
        for name, unit in (
            ("altitude_deg", "degree"),
            ("azimuth_deg", "degree"),
            ("solid_angle_sr", "sr"),
        )
    }
    attributes = {k: d[k] for k in ("units", "long_name", "id", "time")}
    values = np.array(d["values"], np.float64)
    return xr.DataArray(values, coordinates, ("cell",), d["name"], attributes)
