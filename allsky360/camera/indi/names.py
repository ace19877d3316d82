"""What INDI calls a camera's properties and items, and what INDIGO calls them.

reference/indigo-protocol.md section 8.2. What is not listed keeps its names.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Names:
    """One property: INDIGO's name, and INDIGO's name of each item that INDI names otherwise."""

    name: str
    items: dict[str, str] = field(default_factory=dict)

    def item(self, indi: str) -> str:
        """INDIGO's name of an item."""
        return self.items.get(indi, indi)

    def indi_item(self, indigo: str) -> str:
        """INDI's name of an item."""
        return next((k for k, v in self.items.items() if v == indigo), indigo)


TABLE: dict[str, Names] = {
    "CONNECTION": Names("CONNECTION", {"CONNECT": "CONNECTED", "DISCONNECT": "DISCONNECTED"}),
    "DRIVER_INFO": Names(
        "INFO",
        {
            "DRIVER_NAME": "DEVICE_MODEL",
            "DRIVER_EXEC": "DEVICE_DRIVER",
            "DRIVER_VERSION": "DEVICE_VERSION",
            "DRIVER_INTERFACE": "DEVICE_INTERFACE",
        },
    ),
    "CCD_INFO": Names(
        "CCD_INFO",
        {
            "CCD_MAX_X": "WIDTH",
            "CCD_MAX_Y": "HEIGHT",
            "CCD_PIXEL_SIZE": "PIXEL_SIZE",
            "CCD_PIXEL_SIZE_X": "PIXEL_WIDTH",
            "CCD_PIXEL_SIZE_Y": "PIXEL_HEIGHT",
            "CCD_BITSPERPIXEL": "BITS_PER_PIXEL",
        },
    ),
    "CCD_EXPOSURE": Names("CCD_EXPOSURE", {"CCD_EXPOSURE_VALUE": "EXPOSURE"}),
    "CCD_ABORT_EXPOSURE": Names("CCD_ABORT_EXPOSURE", {"ABORT": "ABORT_EXPOSURE"}),
    "CCD_FRAME": Names("CCD_FRAME", {"X": "LEFT", "Y": "TOP"}),
    "CCD_BINNING": Names("CCD_BIN", {"HOR_BIN": "HORIZONTAL", "VER_BIN": "VERTICAL"}),
    "CCD_FRAME_TYPE": Names(
        "CCD_FRAME_TYPE",
        {
            "FRAME_LIGHT": "LIGHT",
            "FRAME_BIAS": "BIAS",
            "FRAME_DARK": "DARK",
            "FRAME_FLAT": "FLAT",
        },
    ),
    "CCD_TEMPERATURE": Names("CCD_TEMPERATURE", {"CCD_TEMPERATURE_VALUE": "TEMPERATURE"}),
    "CCD_COOLER": Names("CCD_COOLER", {"COOLER_ON": "ON", "COOLER_OFF": "OFF"}),
    "UPLOAD_MODE": Names(
        "CCD_UPLOAD_MODE",
        {"UPLOAD_CLIENT": "CLIENT", "UPLOAD_LOCAL": "LOCAL", "UPLOAD_BOTH": "BOTH"},
    ),
    "CCD_TRANSFER_FORMAT": Names(
        "CCD_IMAGE_FORMAT",
        {"FORMAT_FITS": "FITS", "FORMAT_NATIVE": "NATIVE", "FORMAT_XISF": "XISF"},
    ),
    "CCD_CFA": Names("BAYERPAT", {"CFA_TYPE": "BAYERPAT"}),
    "CCD1": Names("CCD_IMAGE", {"CCD1": "IMAGE"}),
    "CCD_VIDEO_STREAM": Names("CCD_STREAMING"),
}

#: items of a property of many that INDIGO has as properties of their own
CONTROLS = "CCD_CONTROLS"
CONTROL_ITEMS: dict[str, tuple[str, str]] = {
    "Gain": ("CCD_GAIN", "GAIN"),
    "Offset": ("CCD_OFFSET", "OFFSET"),
}

#: asked of every camera: images uncompressed; the first of these properties and items it has
COMPRESSION: tuple[tuple[str, str], ...] = (
    ("CCD_COMPRESSION", "INDI_DISABLED"),
    ("CCD_COMPRESSION", "CCD_RAW"),
)
