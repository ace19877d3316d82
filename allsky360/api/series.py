"""Measurements along time as answers: JSON, CSV, Arrow, Parquet."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.api.index.night import instant, plain
from allsky360.api.index.thin import Table
from allsky360.api.models import Series
from allsky360.api.models_system import SeriesTable
from allsky360.api.parameters import split_list
from allsky360.api.problems import BadRange
from allsky360.api.security.privacy import coarse_column
from allsky360.api.service import Service

MAX_VARIABLES = 8
SeriesFormat = Literal["json", "csv", "arrow", "parquet"]
MEDIA_TYPES: Mapping[str, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}


def wanted_names(text: str) -> tuple[str, ...]:
    """Return the measurements asked for; refuse none and more than :data:`MAX_VARIABLES`."""
    names = split_list(text)
    if len(names) > MAX_VARIABLES:
        raise BadRange(
            f"{len(names)} variables were asked for.", mend=f"Ask for {MAX_VARIABLES} at a time."
        )
    return names


def shown(service: Service, table: Table) -> Table:
    """Return the measurements as whoever asks may see them."""
    if service.exact:
        return table
    step = service.step_deg
    columns = {name: coarse_column(name, v, step) for name, v in table.columns.items()}
    return replace(table, columns=columns)


def night_series(camera: str, night: date, table: Table) -> Series:
    """One night as JSON; unknown names are all null."""
    return Series(
        camera=camera,
        night=night,
        time=[instant(int(t)) for t in table.time],
        index=table.row.tolist(),
        variables={name: listed(values) for name, values in table.columns.items()},
        frames=table.total,
    )


def series_table(
    camera: str | None, start: datetime | None, end: datetime | None, table: Table
) -> SeriesTable:
    """Any nights as JSON; unknown names are all null."""
    return SeriesTable(
        camera=camera,
        start=start,
        end=end,
        frames=table.total,
        thinned=table.thinned,
        time=[instant(int(t)) for t in table.time],
        ids=ids_of(table),
        variables={name: listed(values) for name, values in table.columns.items()},
        units=units_of(table),
    )


def units_of(table: Table) -> dict[str, str]:
    """Unit of each measurement, as the newest night that has it says."""
    units = {}
    for name in table.columns:
        given = (n.view.attributes(name).get("units") for n in reversed(table.nights))
        units[name] = str(next((u for u in given if u), "s" if name == "exposure_s" else ""))
    return units


def ids_of(table: Table) -> list[str]:
    """Ids of the frames."""
    names = [n.night.isoformat() for n in table.nights]
    return [f"{names[k]}/{row:06d}" for k, row in zip(table.night, table.row, strict=True)]


def listed(values: NDArray[Any]) -> list[float | None]:
    """Return numbers as JSON knows them, each in its shortest form."""
    good = np.isfinite(values)
    return [plain(v) if ok else None for v, ok in zip(values, good, strict=True)]


def written(table: Table, how: SeriesFormat) -> bytes:
    """Write a table as CSV, Arrow stream or Parquet; missing values are empty or null."""
    import pyarrow as pa

    days = np.array([n.night for n in table.nights], "datetime64[D]")
    columns: dict[str, Any] = {
        "time": pa.array(table.time, pa.timestamp("us", tz="UTC")),
        "night": pa.array(days[table.night] if days.size else days),
        "index": pa.array(table.row.astype(np.int32)),
    }
    units = units_of(table)
    fields = [pa.field(name, array.type) for name, array in columns.items()]
    for name, values in table.columns.items():
        array = pa.array(values, mask=~np.isfinite(values))
        columns[name] = array
        fields.append(pa.field(name, array.type, metadata={"units": units[name]}))
    made = pa.table(list(columns.values()), schema=pa.schema(fields))
    out = io.BytesIO()
    if how == "csv":
        from pyarrow import csv

        moments = pa.compute.strftime(made["time"], format="%Y-%m-%dT%H:%M:%SZ")
        csv.write_csv(made.set_column(0, "time", moments), out)
    elif how == "parquet":
        from pyarrow import parquet

        parquet.write_table(made, out, compression="zstd")
    else:
        with pa.ipc.new_stream(out, made.schema) as stream:
            stream.write_table(made)
    return out.getvalue()
