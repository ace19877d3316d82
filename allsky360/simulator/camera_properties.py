"""The properties of the simulated camera, in the order and shape of INDIGO's own simulator."""

from __future__ import annotations

from allsky360 import __version__
from allsky360.simulator.properties import (
    Item,
    Kind,
    Permission,
    Rule,
    State,
    Vector,
    by_name,
    number,
    switch,
    text,
)
from allsky360.simulator.source import SensorDescription

BINS = (1, 2, 4)
DEFAULT_OFFSET = 30.0
AMBIENT_C = 15.0
CCD_INTERFACE = "2"


def connection(device: str) -> Vector:
    """Return CONNECTION, disconnected."""
    return _vector(
        device,
        "CONNECTION",
        "Switch",
        [switch("CONNECTED"), switch("DISCONNECTED", True)],
        group="Main",
    )


def before_connect(sensor: SensorDescription) -> list[Vector]:
    """Return what is defined before the camera is connected; CONNECTION comes last."""
    device = sensor.name
    info = [
        text("DEVICE_NAME", device),
        text("DEVICE_DRIVER", "allsky360_simulator"),
        text("DEVICE_VERSION", __version__),
        text("DEVICE_INTERFACE", CCD_INTERFACE),
    ]
    return [
        _vector(device, "INFO", "Text", info, group="Main", perm="ro"),
        _vector(
            device,
            "SIMULATION",
            "Switch",
            [switch("ENABLED", True), switch("DISABLED")],
            group="Main",
            perm="ro",
        ),
        _vector(
            device,
            "CONFIG",
            "Switch",
            [switch("LOAD"), switch("SAVE"), switch("REMOVE")],
            group="Main",
            rule="AtMostOne",
            state="Alert",  # as INDIGO shows it while no configuration is saved
        ),
        connection(device),
    ]


def after_connect(sensor: SensorDescription) -> list[Vector]:
    """Return what appears when the camera is connected, in order."""
    return [*_geometry(sensor), *_exposure(sensor), *_output(sensor), *_thermal(sensor)]


def _geometry(sensor: SensorDescription) -> list[Vector]:
    device = sensor.name
    pixel = sensor.pixel_um
    info = {
        "WIDTH": sensor.width,
        "HEIGHT": sensor.height,
        "MAX_HORIZONTAL_BIN": max(BINS),
        "MAX_VERTICAL_BIN": max(BINS),
        "PIXEL_SIZE": pixel,
        "PIXEL_WIDTH": pixel,
        "PIXEL_HEIGHT": pixel,
        "BITS_PER_PIXEL": sensor.bits,
    }
    return [
        _vector(
            device,
            "CCD_INFO",
            "Number",
            [number(name, value, 0, 0, 0) for name, value in info.items()],
            perm="ro",
        ),
        _vector(
            device,
            "CCD_LENS",
            "Number",
            [number("APERTURE", 0, 0, 2000), number("FOCAL_LENGTH", 0, 0, 10000)],
            state="Idle",
        ),
        _vector(
            device, "CCD_UPLOAD_MODE", "Switch", [switch("CLIENT", True, "Client"), switch("NONE")]
        ),
        _vector(
            device,
            "CCD_MODE",
            "Switch",
            [
                switch(
                    mode_name(bits, binning),
                    (bits, binning) == (16, 1),
                    _mode_label(sensor, bits, binning),
                )
                for binning in BINS
                for bits in (16, 8)
            ],
        ),
    ]


def _exposure(sensor: SensorDescription) -> list[Vector]:
    device = sensor.name
    return [
        _vector(
            device,
            "CCD_EXPOSURE",
            "Number",
            [number("EXPOSURE", 0, 0, sensor.max_exposure_s)],
        ),
        _vector(
            device,
            "CCD_ABORT_EXPOSURE",
            "Switch",
            [switch("ABORT_EXPOSURE")],
            rule="AtMostOne",
        ),
        _vector(
            device,
            "CCD_FRAME",
            "Number",
            [
                number("LEFT", 0, 0, sensor.width),
                number("TOP", 0, 0, sensor.height),
                number("WIDTH", sensor.width, 2, sensor.width),
                number("HEIGHT", sensor.height, 2, sensor.height),
                number("BITS_PER_PIXEL", 16, 8, 16, 8),
            ],
        ),
        _vector(
            device,
            "CCD_BIN",
            "Number",
            [number("HORIZONTAL", 1, 1, max(BINS)), number("VERTICAL", 1, 1, max(BINS))],
        ),
        _vector(device, "CCD_OFFSET", "Number", [number("OFFSET", DEFAULT_OFFSET, 0, 500)]),
        _vector(device, "CCD_GAIN", "Number", [number("GAIN", 0, 0, sensor.max_gain)]),
        _vector(
            device,
            "CCD_EGAIN",
            "Number",
            [number("EGAIN", sensor.egain(0.0), 0, 100)],
            perm="ro",
        ),
        _vector(
            device,
            "CCD_FRAME_TYPE",
            "Switch",
            [
                switch("LIGHT", True, "Light"),
                switch("BIAS", label="Bias"),
                switch("DARK", label="Dark"),
                switch("FLAT", label="Flat"),
                switch("DARKFLAT", label="Dark Flat"),
            ],
        ),
    ]


def _output(sensor: SensorDescription) -> list[Vector]:
    device = sensor.name
    return [
        _vector(
            device,
            "CCD_IMAGE_FORMAT",
            "Switch",
            [switch("FITS", True, "FITS format"), switch("RAW", label="Raw data")],
        ),
        _vector(device, "CCD_IMAGE", "BLOB", [Item("IMAGE", "", "Image data")], perm="ro"),
    ]


def _thermal(sensor: SensorDescription) -> list[Vector]:
    device = sensor.name
    cooled = [
        _vector(device, "CCD_COOLER", "Switch", [switch("ON"), switch("OFF", True)]),
        _vector(device, "CCD_COOLER_POWER", "Number", [number("POWER", 0, 0, 100)], perm="ro"),
    ]
    return [
        *(cooled if sensor.has_cooler else []),
        _vector(
            device,
            "CCD_TEMPERATURE",
            "Number",
            [number("TEMPERATURE", AMBIENT_C, -50, 50)],
            perm="rw" if sensor.has_cooler else "ro",
        ),
        _vector(device, "CCD_FITS_HEADERS", "Text", [], perm="ro"),
        _vector(
            device,
            "CCD_SET_FITS_HEADER",
            "Text",
            [text("KEYWORD", ""), text("VALUE", "")],
        ),
        _vector(device, "CCD_REMOVE_FITS_HEADER", "Text", [text("KEYWORD", "")]),
    ]


def mode_name(bits: int, binning: int) -> str:
    """Return the CCD_MODE item of a depth and binning."""
    return f"RAW {bits} {binning}x{binning}"


def read_mode(name: str) -> tuple[int, int]:
    """Return depth and binning of a CCD_MODE item."""
    _, bits, bins = name.split()
    return int(bits), int(bins.partition("x")[0])


def _mode_label(sensor: SensorDescription, bits: int, binning: int) -> str:
    return f"RAW {bits} {sensor.width // binning}x{sensor.height // binning}"


def _vector(
    device: str,
    name: str,
    kind: Kind,
    items: list[Item],
    *,
    group: str = "Camera",
    perm: Permission = "rw",
    rule: Rule = "OneOfMany",
    state: State = "Ok",
) -> Vector:
    label = name.removeprefix("CCD_").replace("_", " ").capitalize()
    return Vector(device, name, kind, by_name(items), group, label, perm, state, rule)
