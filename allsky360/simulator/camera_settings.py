"""What the camera does with requests that change settings: frame, binning, mode, gain, headers."""

from __future__ import annotations

from collections.abc import Callable

from allsky360.simulator.camera_properties import BINS, mode_name, read_mode
from allsky360.simulator.panel import Handler, Panel, apply
from allsky360.simulator.properties import (
    NewVector,
    State,
    Vector,
    apply_numbers,
    apply_switches,
    text,
)
from allsky360.simulator.source import SensorDescription

MAX_KEYWORD, MAX_CARD_VALUE = 8, 68


class CameraSettings:
    """Carries out setting requests on a panel, as INDIGO's CCD drivers do."""

    def __init__(self, panel: Panel, sensor: SensorDescription) -> None:
        self._panel = panel
        self._sensor = sensor

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of each property this class knows."""
        named: dict[str, Callable[[Vector, NewVector], None]] = {
            "CONFIG": self._config,
            "CCD_FRAME": self._frame,
            "CCD_BIN": self._bin,
            "CCD_MODE": self._mode,
            "CCD_GAIN": self._gain,
            "CCD_LENS": self._lens,
            "CCD_SET_FITS_HEADER": self._set_header,
            "CCD_REMOVE_FITS_HEADER": self._remove_header,
        }
        return named

    @property
    def bits(self) -> int:
        """Depth of the images, 8 or 16."""
        return 8 if self._panel["CCD_FRAME"].number("BITS_PER_PIXEL") <= 8 else 16

    @property
    def binning(self) -> int:
        """Pixels combined per axis."""
        return int(self._panel["CCD_BIN"].number("HORIZONTAL"))

    def _config(self, vector: Vector, request: NewVector) -> None:
        """Keep no configuration: LOAD and REMOVE find none, SAVE has nowhere to save."""
        for item in vector.items.values():
            item.value = False
        self._panel.update(vector, "Alert")

    def _frame(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        state: State = "Ok"
        for start, size, limit in (
            ("LEFT", "WIDTH", self._sensor.width),
            ("TOP", "HEIGHT", self._sensor.height),
        ):
            wanted = int(vector.number(start)), int(vector.number(size))
            first, length = fit(*wanted, limit, self.binning, self._sensor.pattern is not None)
            if sum(wanted) > limit or first != wanted[0]:
                state = "Alert"
            vector.items[start].value = float(first)
            vector.items[size].value = float(length)
        depth = vector.items["BITS_PER_PIXEL"]
        depth.value = 8.0 if float(depth.value) <= 8 else 16.0
        self._let_mode_follow()
        self._panel.update(vector, state)

    def _bin(self, vector: Vector, request: NewVector) -> None:
        old = {name: item.value for name, item in vector.items.items()}
        apply(vector, request.values)
        wanted = {float(item.value) for item in vector.items.values()}
        if len(wanted) != 1 or not wanted <= set(map(float, BINS)):
            for name, item in vector.items.items():
                item.value = old[name]  # the target keeps the wrong request
            self._panel.update(vector, "Alert")
            return
        self._let_mode_follow()
        self._panel.update(vector, "Ok")

    def _let_mode_follow(self) -> None:
        mode = self._panel["CCD_MODE"]
        name = mode_name(self.bits, self.binning)
        if mode.selected() != name:
            apply_switches(mode, {name: True})
            self._panel.update(mode, "Ok")

    def _mode(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        selected = vector.selected()
        if selected is not None:
            bits, binning = read_mode(selected)
            frame, bins = self._panel["CCD_FRAME"], self._panel["CCD_BIN"]
            apply_numbers(bins, {"HORIZONTAL": binning, "VERTICAL": binning})
            size = {"WIDTH": self._sensor.width, "HEIGHT": self._sensor.height}
            apply_numbers(frame, {"LEFT": 0, "TOP": 0, **size, "BITS_PER_PIXEL": bits})
            self._panel.update(frame, "Ok")
            self._panel.update(bins, "Ok")
        self._panel.update(vector, "Ok")

    def _gain(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        egain = self._panel["CCD_EGAIN"]
        egain.items["EGAIN"].value = self._sensor.egain(vector.number("GAIN"))
        self._panel.update(vector, "Ok")
        self._panel.update(egain, "Ok")

    def _lens(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        known = any(float(item.value) > 0 for item in vector.items.values())
        self._panel.update(vector, "Ok" if known else "Idle")

    def _set_header(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        keyword, value = vector.text("KEYWORD").strip().upper(), vector.text("VALUE")
        if not 0 < len(keyword) <= MAX_KEYWORD or len(value) > MAX_CARD_VALUE:
            self._panel.update(vector, "Alert", "Keyword or value is too long or missing")
            return
        self._panel["CCD_FITS_HEADERS"].items[keyword] = text(keyword, value)
        self._redefine_headers()
        self._panel.update(vector, "Ok")

    def _remove_header(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        headers = self._panel["CCD_FITS_HEADERS"].items
        if headers.pop(vector.text("KEYWORD").strip().upper(), None) is None:
            self._panel.update(vector, "Alert", "There is no such keyword")
            return
        self._redefine_headers()
        self._panel.update(vector, "Ok")

    def _redefine_headers(self) -> None:
        headers = self._panel["CCD_FITS_HEADERS"]
        self._panel.delete(headers.name)
        self._panel.define(headers)


def fit(first: int, length: int, limit: int, binning: int, colour: bool) -> tuple[int, int]:
    """Return start and length of a region clipped to the sensor and floored to whole bins.

    A colour sensor bins cells of two pixels, so that the result is a mosaic again.
    """
    unit = binning * (2 if colour and binning > 1 else 1)
    first = min(first, limit - 2 * unit)
    length = min(length, limit - first)
    return first, max(length - length % unit, unit)
