"""What a camera can do, read from its property definitions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from allsky360.camera.errors import CameraError, CameraTimeout
from allsky360.camera.indigo.client import IndigoClient
from allsky360.camera.indigo.dialect import Dialect, IndigoDialect
from allsky360.camera.indigo.properties import Property, PropertyStore
from allsky360.model import BAYER_PATTERNS, BayerPattern

CCD_INTERFACE = 2
QUIET_S = 0.4
"""Silence that counts as the end of a definition stream; the protocol has no mark for it."""
Range = tuple[float, float]


@dataclass(frozen=True)
class Capabilities:
    """What a connected camera can do; None where it does not say.

    Attributes
    ----------
    width, height
        Sensor size in unbinned pixels.
    pixel_size_um
        Pixel pitch.
    bits_per_pixel
        Depth the camera is set to, else that of the sensor.
    exposure_s, gain, offset
        Smallest and largest value the camera takes; gain and offset None when it has none.
    max_binning
        Largest binning on both axes.
    has_cooler
        Whether there is a cooler to switch.
    bayer
        Bayer pattern where known; most cameras say it only with an image.
    formats, modes
        Image formats and read-out modes on offer.
    """

    driver: str = ""
    model: str = ""
    width: int | None = None
    height: int | None = None
    pixel_size_um: float | None = None
    bits_per_pixel: int | None = None
    exposure_s: Range | None = None
    gain: Range | None = None
    offset: Range | None = None
    max_binning: int = 1
    has_cooler: bool = False
    bayer: BayerPattern | None = None
    formats: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CameraInfo:
    """One camera of a server; what it can do is known only while it is connected."""

    device: str
    connected: bool
    capabilities: Capabilities

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "device": self.device,
            "connected": self.connected,
            **asdict(self.capabilities),
        }


def camera_names(store: PropertyStore) -> list[str]:
    """Name the devices whose DEVICE_INTERFACE says camera, in alphabetical order."""
    return sorted(device for device in store.devices if _interface(store, device) & CCD_INTERFACE)


def capabilities_of(store: PropertyStore, device: str) -> Capabilities:
    """Read what a camera can do from what it has defined."""
    info, ccd = store.get(device, "INFO"), store.get(device, "CCD_INFO")
    frame = store.get(device, "CCD_FRAME")
    return Capabilities(
        driver=info.text("DEVICE_DRIVER") if info else "",
        model=info.text("DEVICE_MODEL") if info else "",
        width=_positive(ccd, "WIDTH") or _positive(frame, "WIDTH"),
        height=_positive(ccd, "HEIGHT") or _positive(frame, "HEIGHT"),
        pixel_size_um=(ccd.number("PIXEL_SIZE") or None) if ccd else None,
        bits_per_pixel=_positive(frame, "BITS_PER_PIXEL") or _positive(ccd, "BITS_PER_PIXEL"),
        exposure_s=_range(store.get(device, "CCD_EXPOSURE"), "EXPOSURE"),
        gain=_range(store.get(device, "CCD_GAIN"), "GAIN"),
        offset=_range(store.get(device, "CCD_OFFSET"), "OFFSET"),
        max_binning=_max_binning(ccd, store.get(device, "CCD_BIN")),
        has_cooler=store.get(device, "CCD_COOLER") is not None,
        bayer=_bayer(store, device),
        formats=_items(store.get(device, "CCD_IMAGE_FORMAT")),
        modes=_items(store.get(device, "CCD_MODE")),
    )


def camera_info(store: PropertyStore, device: str) -> CameraInfo:
    """Read one camera."""
    connection = store.get(device, "CONNECTION")
    connected = connection is not None and connection.on("CONNECTED")
    return CameraInfo(device, connected, capabilities_of(store, device))


async def list_cameras(
    host: str,
    port: int,
    *,
    connect: bool = False,
    speak: Callable[[], Dialect] = IndigoDialect,
) -> list[CameraInfo]:
    """List the cameras of a server.

    Parameters
    ----------
    connect
        Connect cameras that are not, to read what they can do, and disconnect them again.
    speak
        The server's dialect.
    """
    client = IndigoClient(host, port, speak=speak)
    try:
        await client.connect()
        await first_definitions(client)
        found = []
        for device in camera_names(client.store):
            info = camera_info(client.store, device)
            if connect and not info.connected:
                info = await _connect_and_read(client, info)
            found.append(info)
        return found
    finally:
        await client.close()


async def first_definitions(client: IndigoClient) -> None:
    """Wait until the server has defined what it has: something, and then quiet."""
    try:
        await client.wait_for(lambda: bool(client.store.devices), 5.0, "the first definition")
    except CameraTimeout as error:
        raise CameraTimeout(
            f"{client.where} accepts connections but does not answer as an "
            f"{client.dialect.family} server.",
            mend="Check what listens on that port, and camera.protocol: indigo or indi.",
        ) from error
    await client.quiet(QUIET_S, 5.0)


async def _connect_and_read(client: IndigoClient, info: CameraInfo) -> CameraInfo:
    try:
        await client.change(info.device, "CONNECTION", {"CONNECTED": True}, timeout_s=30.0)
        await client.quiet(0.3, 3.0)
        read = capabilities_of(client.store, info.device)
        await client.change(info.device, "CONNECTION", {"DISCONNECTED": True}, timeout_s=10.0)
    except CameraError:  # a camera that does not connect is listed with what it says anyway
        return info
    return CameraInfo(info.device, False, read)


def _interface(store: PropertyStore, device: str) -> int:
    info = store.get(device, "INFO")
    try:
        return int(info.text("DEVICE_INTERFACE")) if info else 0
    except ValueError:
        return 0


def _positive(prop: Property | None, item: str) -> int | None:
    number = prop.number(item) if prop else None
    return int(number) if number is not None and 0 < number < 1 << 20 else None


def _range(prop: Property | None, item: str) -> Range | None:
    found = prop.items.get(item) if prop else None
    if found is None or found.minimum is None or found.maximum is None:
        return None
    return found.minimum, found.maximum


def _max_binning(ccd: Property | None, binning: Property | None) -> int:
    sizes = [_positive(ccd, item) for item in ("MAX_HORIZONTAL_BIN", "MAX_VERTICAL_BIN")]
    if all(sizes):
        return min(size or 1 for size in sizes)
    # INDI does not say it there, but limits the setting
    limits = [_range(binning, item) for item in ("HORIZONTAL", "VERTICAL")]
    return int(min(1.0 if found is None else found[1] for found in limits))


def _items(prop: Property | None) -> tuple[str, ...]:
    return tuple(prop.items) if prop else ()


def _bayer(store: PropertyStore, device: str) -> BayerPattern | None:
    for name, item in (("BAYERPAT", "BAYERPAT"), ("CCD_FITS_HEADERS", "BAYERPAT")):
        prop = store.get(device, name)
        if prop is None:
            continue
        texts = {prop.text(item).strip("' "), *(str(i.value) for i in prop.items.values())}
        for pattern in BAYER_PATTERNS:
            if pattern in texts:
                return pattern
    return None


__all__ = [
    "CameraInfo",
    "Capabilities",
    "camera_info",
    "camera_names",
    "capabilities_of",
    "first_definitions",
    "list_cameras",
]
