"""Bringing a connected camera to the settings: what to ask, in which order.

Order matters: choosing a read-out mode may reset frame and binning, and binning changes the mode.
"""

from __future__ import annotations

import logging

from allsky360.camera.errors import BadProperty, CameraAlert
from allsky360.camera.indigo.client import IndigoClient
from allsky360.camera.indigo.properties import Item, Property, PropertyStore
from allsky360.camera.indigo.watch import differs
from allsky360.config import CameraSettings
from allsky360.model import FrameType

log = logging.getLogger(__name__)

PICTURE_SETTINGS = (
    "CCD_UPLOAD_MODE",
    "CCD_IMAGE_FORMAT",
    "CCD_MODE",
    "CCD_FRAME",
    "CCD_BIN",
    "CCD_GAIN",
    "CCD_OFFSET",
    "CCD_FRAME_TYPE",
)
"""What a picture depends on; a change we did not make spoils it."""

FRAME_MEND = "Change camera.roi or camera.bits_per_pixel to what the sensor has."

FRAME_TYPES: dict[FrameType, str] = {
    "light": "LIGHT",
    "bias": "BIAS",
    "dark": "DARK",
    "flat": "FLAT",
}


async def apply_settings(client: IndigoClient, device: str, settings: CameraSettings) -> None:
    """Ask for everything the settings say; what already stands is not sent.

    Raises
    ------
    BadProperty
        The camera cannot do what the settings ask; names the settings key.
    CameraAlert, DroppedRequest, CameraTimeout
        It refused or did not answer.
    """
    if client.store.get(device, "CCD_UPLOAD_MODE") is not None:
        await client.change(device, "CCD_UPLOAD_MODE", {"CLIENT": True})
    await _select_format(client, device, settings.image_format)
    if settings.mode:
        await _select_mode(client, device, settings.mode)
    await _set_binning(client, device, settings.binning)
    await _set_frame(client, device, settings)
    if settings.mode:
        _require_mode(client, device, settings)
    if settings.offset is not None:
        if client.store.get(device, "CCD_OFFSET") is None:
            raise BadProperty(f"{device!r} has no offset to set.", mend="Leave out camera.offset.")
        await client.change(device, "CCD_OFFSET", {"OFFSET": settings.offset})
    await set_frame_type(client, device, "light")
    if settings.cooler.enabled:
        await _cool(client, device, settings.cooler.target_c)


async def set_frame_type(client: IndigoClient, device: str, frame_type: FrameType) -> None:
    """Select what the shutter shall see, where the camera knows the difference."""
    if client.store.get(device, "CCD_FRAME_TYPE") is not None:
        await client.change(device, "CCD_FRAME_TYPE", {FRAME_TYPES[frame_type]: True})


async def set_gain(client: IndigoClient, device: str, gain: float) -> None:
    """Set the gain, where the camera has one; the limits of the camera apply."""
    if client.store.get(device, "CCD_GAIN") is not None:
        await client.change(device, "CCD_GAIN", {"GAIN": gain})


def snapshot(store: PropertyStore, device: str) -> dict[str, dict[str, str | float | bool]]:
    """Remember the values a picture depends on."""
    found = {}
    for name in PICTURE_SETTINGS:
        prop = store.get(device, name)
        if prop is not None:
            found[name] = {item.name: item.value for item in prop.items.values()}
    return found


def changed_by_others(
    store: PropertyStore, device: str, remembered: dict[str, dict[str, str | float | bool]]
) -> list[str]:
    """Name the properties that no longer hold what was remembered."""
    names = []
    for name, values in remembered.items():
        prop = store.get(device, name)
        if prop is None or differs(prop.items, values):
            names.append(name)
    return names


def expected_shape(store: PropertyStore, device: str) -> tuple[int, int] | None:
    """Return ``(H, W)`` the camera is set to deliver, None when it does not say."""
    frame, binning = store.get(device, "CCD_FRAME"), store.get(device, "CCD_BIN")
    width, height = _positive(frame, "WIDTH"), _positive(frame, "HEIGHT")
    if not width or not height:
        return None
    across, down = _positive(binning, "HORIZONTAL") or 1, _positive(binning, "VERTICAL") or 1
    return height // down, width // across


def expected_bits(store: PropertyStore, device: str) -> int | None:
    """Return 8 or 16 as the camera is set to deliver, None when it does not say."""
    bits = _positive(store.get(device, "CCD_FRAME"), "BITS_PER_PIXEL")
    if not bits or bits > 16:
        return None
    return 8 if bits <= 8 else 16


async def _select_format(client: IndigoClient, device: str, wanted: str) -> None:
    prop = client.require(device, "CCD_IMAGE_FORMAT")
    if wanted not in prop.items:
        raise BadProperty(
            f"{device!r} does not deliver {wanted}; it has {', '.join(prop.items)}.",
            mend="Change camera.image_format.",
        )
    await client.change(device, "CCD_IMAGE_FORMAT", {wanted: True})


async def _select_mode(client: IndigoClient, device: str, wanted: str) -> None:
    item = _mode_item(client, device, wanted)
    await client.change(device, "CCD_MODE", {item.name: True})
    await client.quiet(0.2, 2.0)  # it may redefine frame, binning and their limits


def _mode_item(client: IndigoClient, device: str, wanted: str) -> Item:
    prop = client.require(device, "CCD_MODE")
    for item in prop.items.values():
        if wanted in (item.name, item.label):
            return item
    modes = ", ".join(f"{i.name} ({i.label})" for i in prop.items.values())
    raise BadProperty(
        f"{device!r} has no mode {wanted!r}; it has {modes}.", mend="Change camera.mode."
    )


def _require_mode(client: IndigoClient, device: str, settings: CameraSettings) -> None:
    """Refuse a binning or a region that has put the camera into another mode."""
    if _mode_item(client, device, settings.mode).value is not True:
        now = client.require(device, "CCD_MODE").selected() or "none"
        raise BadProperty(
            f"{device!r} left mode {settings.mode!r} for {now!r} when it was set to bin "
            f"{settings.binning}x{settings.binning}.",
            mend="Set camera.binning to that of camera.mode, or leave out camera.mode.",
        )


async def _set_binning(client: IndigoClient, device: str, binning: int) -> None:
    prop = client.store.get(device, "CCD_BIN")
    wanted = {"HORIZONTAL": binning, "VERTICAL": binning}
    if prop is not None and prop.writable:
        await client.change(device, "CCD_BIN", dict(wanted))
        prop = client.require(device, "CCD_BIN")
    now = _positive(prop, "HORIZONTAL") or 1
    if now != binning:
        raise BadProperty(
            f"{device!r} bins {now}x{now} and cannot bin {binning}x{binning}.",
            mend="Change camera.binning.",
        )


async def _set_frame(client: IndigoClient, device: str, settings: CameraSettings) -> None:
    prop = client.store.get(device, "CCD_FRAME")
    if prop is None or not prop.writable:
        if settings.roi is not None:
            raise BadProperty(
                f"{device!r} cannot read part of its sensor.", mend="Drop camera.roi."
            )
        return
    ccd = client.store.get(device, "CCD_INFO")
    wanted: dict[str, float] = {}
    if settings.roi is not None:
        left, top, width, height = (v - v % 2 for v in settings.roi)  # keeps the Bayer phase
        wanted = {"LEFT": left, "TOP": top, "WIDTH": width, "HEIGHT": height}
    else:
        across = _limit(prop.items.get("WIDTH")) or _positive(ccd, "WIDTH")
        down = _limit(prop.items.get("HEIGHT")) or _positive(ccd, "HEIGHT")
        if across and down:
            wanted = {"LEFT": 0, "TOP": 0, "WIDTH": across, "HEIGHT": down}
    if not settings.mode and "BITS_PER_PIXEL" in prop.items:
        wanted["BITS_PER_PIXEL"] = settings.bits_per_pixel
    wanted = {item: value for item, value in wanted.items() if item in prop.items}
    if not wanted:
        return
    try:
        taken = await client.change(device, "CCD_FRAME", dict(wanted))
    except CameraAlert as error:
        raise CameraAlert(error.message, mend=FRAME_MEND) from error
    values = {name: taken.number(name) for name in wanted}
    if values != wanted:
        log.warning("%r reads %s instead of %s", device, values, wanted)


async def _cool(client: IndigoClient, device: str, target_c: float) -> None:
    cooler = client.store.get(device, "CCD_COOLER")
    temperature = client.store.get(device, "CCD_TEMPERATURE")
    if cooler is None or temperature is None or not temperature.writable:
        raise BadProperty(f"{device!r} has no cooler.", mend="Set camera.cooler.enabled = false.")
    await client.change(device, "CCD_COOLER", {"ON": True}, accept_busy=True)
    item = temperature.items.get("TEMPERATURE")
    if item is None or item.target is None or abs(item.target - target_c) > 0.01:
        await client.change(device, "CCD_TEMPERATURE", {"TEMPERATURE": target_c}, accept_busy=True)


def _limit(item: Item | None) -> int | None:
    return int(item.maximum) if item is not None and item.maximum is not None else None


def _positive(prop: Property | None, item: str) -> int | None:
    number = prop.number(item) if prop is not None else None
    return int(number) if number is not None and 0 < number < 1 << 20 else None
