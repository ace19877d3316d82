"""Keogram: one line of the sky through the night, a column a frame."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.config_products import KeogramSettings
from allsky360.products.column_file import ColumnFile
from allsky360.products.files import write_arrays, write_png, write_preview
from allsky360.products.frame import ProductFrame
from allsky360.products.grower import Draft, NightContext
from allsky360.products.keogram_line import (
    Line,
    direction_of,
    line_through_lens,
    line_without_lens,
    row_angles_deg,
    rows_of,
)
from allsky360.products.keogram_picture import KeogramData, draw_keogram, title_of
from allsky360.sky.lens import LensModel

BY_LENS = "through the lens model"


class Keogram:
    """Grows a keogram; see :class:`allsky360.products.grower.Grower`.

    The first frame decides whether the line follows the lens model: a night that began without a
    lens stays without one, so that all its columns show the same line.
    """

    name = "keogram"
    takes_late = True

    def __init__(self, settings: KeogramSettings) -> None:
        self.settings = settings
        self.parameters: Mapping[str, Any] = settings.model_dump(mode="json", exclude={"enabled"})

    def open(self, context: NightContext, work: Path, saved: Path | None) -> None:
        """Begin, or go on."""
        self.context = context
        self.path = work / "columns.raw"
        self.columns: ColumnFile | None = None
        self.way = ""
        self.lens_serial = 0
        self._line: tuple[Any, Line] | None = None
        if saved is None:
            self.path.unlink(missing_ok=True)
            return
        state = json.loads((saved / "keogram.json").read_text())
        self.way, self.lens_serial = str(state["way"]), int(state["lens_serial"])
        if state["rows"]:
            self.columns = ColumnFile(self.path, int(state["rows"]), int(state["count"]))

    def add(self, frame: ProductFrame) -> str | None:
        """Take the frame's column."""
        if self.columns is None:
            self._begin(frame)
        if self.columns is None:  # pragma: no cover - _begin made it
            raise RuntimeError("no column file")
        line = self._line_of(frame.lens, frame.picture, self.columns.type["column"].shape[0])
        if line is None:
            return "no lens fits its picture"
        self.columns.append(
            frame.middle, frame.exposure_s, frame.ref.index, line.sample(frame.picture)
        )
        return None

    def _begin(self, frame: ProductFrame) -> None:
        s = self.settings
        if frame.lens is not None:
            rows = s.height_px or rows_of(frame.lens, s.lowest_altitude_deg)
            self.way, self.lens_serial = BY_LENS, frame.lens_serial
        else:
            rows = s.height_px or min(frame.picture.shape[0], 2160)
            _, self.way = line_without_lens(frame.picture, rows)
        self.columns = ColumnFile(self.path, rows)

    def _line_of(
        self, lens: LensModel | None, picture: NDArray[np.uint8], rows: int
    ) -> Line | None:
        """Return the line, made anew only where lens or size of the picture changed."""
        key: Any = lens if self.way == BY_LENS else picture.shape
        if key is None:
            return None
        if self._line is None or self._line[0] != key:
            s = self.settings
            if self.way == BY_LENS and lens is not None:
                line = line_through_lens(lens, rows, s.azimuth_deg, s.lowest_altitude_deg)
            else:
                line, _ = line_without_lens(picture, rows)
            self._line = (key, line)
        return self._line[1]

    def save(self, folder: Path) -> None:
        """Note how many columns count."""
        if self.columns is not None:
            self.columns.sync()
        state = {
            "rows": 0 if self.columns is None else self.columns.type["column"].shape[0],
            "count": 0 if self.columns is None else self.columns.count,
            "way": self.way,
            "lens_serial": self.lens_serial,
        }
        (folder / "keogram.json").write_text(json.dumps(state))

    def finish(self, *, complete: bool) -> Sequence[Draft]:
        """Draw it, and write the columns as numbers."""
        if self.columns is None or not self.columns.count:
            return ()
        c, s = self.context, self.settings
        found = self.columns.read()
        data = KeogramData(
            np.ascontiguousarray(found["column"]),
            found["time_s"].astype(np.float64),
            found["exposure_s"].astype(np.float64),
            s.azimuth_deg,
            s.lowest_altitude_deg,
            self.way == BY_LENS,
        )
        picture = draw_keogram(
            data, title=title_of(c.camera, c.site, c.night), site=c.site, night=c.night
        )
        angles = row_angles_deg(data.columns.shape[1], s.lowest_altitude_deg)
        altitude, azimuth = direction_of(angles, s.azimuth_deg)
        if not data.by_lens:
            altitude = azimuth = np.full(len(angles), np.nan)
        files = (
            write_png(c.folder, "keogram.png", picture),
            write_preview(c.folder, "keogram-preview.jpg", picture),
            write_arrays(
                c.folder,
                "keogram.npz",
                columns=data.columns,
                time=(found["time_s"] * 1e6).round().astype("datetime64[us]"),
                exposure_s=found["exposure_s"],
                index=found["index"],
                altitude_deg=altitude,
                azimuth_deg=azimuth,
            ),
        )
        return (
            Draft(
                "keogram",
                "keogram",
                "Keogram",
                files,
                {**self.parameters, "line": self.way},
                {"lens_serial": self.lens_serial or None},
            ),
        )
