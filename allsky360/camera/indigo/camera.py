"""One camera of an INDIGO server: open, set up, expose, abort.

The state machine of reference/indigo-protocol.md section 5.8. Every fault is a class of
:mod:`allsky360.camera.errors`; after ``server-gone``, ``device-gone`` and ``not-connected`` the
camera must be opened again, after every other it may be asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from allsky360.camera.decode import MAX_PIXELS, DecodedImage, card_number, decode_image
from allsky360.camera.errors import (
    BadProperty,
    CameraAlert,
    CameraError,
    CameraTimeout,
    DeviceGone,
    DroppedRequest,
    ForeignUse,
    NoImage,
    NotConnected,
    ServerGone,
    StaleImage,
    UnknownDevice,
)
from allsky360.camera.indigo.capabilities import (
    Capabilities,
    camera_names,
    capabilities_of,
    first_definitions,
)
from allsky360.camera.indigo.client import IndigoClient, clamp
from allsky360.camera.indigo.dialect import Dialect, IndigoDialect
from allsky360.camera.indigo.http import fetch, resolve
from allsky360.camera.indigo.setup import (
    apply_settings,
    changed_by_others,
    expected_bits,
    expected_shape,
    set_frame_type,
    set_gain,
    snapshot,
)
from allsky360.camera.indigo.watch import CONNECTION, EXPOSURE, IMAGE, ExposureWatch
from allsky360.clock import REAL_CLOCK, Clock
from allsky360.config import CameraSettings
from allsky360.model import BAYER_PATTERNS, BayerPattern, Exposure, FrameType

log = logging.getLogger(__name__)

BUSY_WAIT_S = 2.0
STALL_WAIT_S = 6.0
ABORT_WAIT_S = 5.0
CONNECT_WAIT_S = 30.0
_AFTER_EXPOSURE_S = 3.0
_NEEDED = (EXPOSURE, IMAGE, "CCD_IMAGE_FORMAT")


class IndigoCamera:
    """A camera.

    Parameters
    ----------
    host, port
        The INDIGO server that owns the camera.
    device
        Device name as that server defines it; "" takes the only camera there is.
    settings
        What to set after each opening.
    speak
        The dialect of its server.
    clock
        Gives start times. Exposures last ``clock.wall_s`` of their length in wall time, since a
        rehearsal's camera runs on the rehearsal's clock.
    """

    def __init__(
        self,
        host: str,
        port: int,
        device: str,
        settings: CameraSettings,
        clock: Clock = REAL_CLOCK,
        *,
        speak: Callable[[], Dialect] = IndigoDialect,
    ) -> None:
        self.device = device
        self.settings = settings
        self._wanted_device = device
        self._clock = clock
        self._client = IndigoClient(host, port, speak=speak)
        self._lock = asyncio.Lock()
        self._watch: ExposureWatch | None = None
        self._remembered: dict[str, dict[str, str | float | bool]] = {}
        self._last_digest = b""
        self._last_date_obs = ""
        self._last_pattern: BayerPattern | None = None
        self._capabilities = Capabilities()
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether the camera is ready to be asked for an exposure."""
        return self._is_open and self._client.connected

    @property
    def capabilities(self) -> Capabilities:
        """What the camera can do, as last seen; empty before the first opening."""
        if self.is_open and self._client.store.get(self.device, EXPOSURE) is not None:
            self._capabilities = capabilities_of(self._client.store, self.device)
        if self._capabilities.bayer is None and self._last_pattern is not None:
            return replace(self._capabilities, bayer=self._last_pattern)
        return self._capabilities

    @property
    def temperature_c(self) -> float | None:
        """Sensor temperature as last reported."""
        return self._number("CCD_TEMPERATURE", "TEMPERATURE")

    async def open(self) -> None:
        """Connect to the server and the camera, and apply the settings.

        Raises
        ------
        ServerGone, UnknownDevice, CameraAlert, CameraTimeout, BadProperty, …
        """
        async with self._lock:
            self._is_open = False
            # a restarted simulator may repeat its images; its dates it cannot repeat
            self._last_digest = b""
            for attempt in (1, 2):
                await self._client.connect()
                try:
                    await self._open_device()
                    self._is_open = True
                    return
                except ServerGone:
                    # a connection that follows another too soon may be closed once by the server
                    if attempt == 2:
                        raise
                    log.warning("%s closed a fresh connection; trying again", self._client.where)
                finally:
                    if not self._is_open:
                        await self._client.close()

    async def close(self) -> None:
        """Leave the server. The camera stays connected there, so that it stays cold."""
        self._is_open = False
        await self._client.close()

    async def apply(self, settings: CameraSettings | None = None) -> None:
        """Apply the settings, new ones if given. Done by :meth:`open` as well."""
        if settings is not None:
            self.settings = settings
        self._must_be_open()
        await apply_settings(self._client, self.device, self.settings)
        self._remembered = snapshot(self._client.store, self.device)

    async def abort(self) -> None:
        """Abort the running exposure; does nothing when there is none.

        The call to :meth:`expose` that waits for it raises ``ExposureAborted``.
        """
        self._must_be_open()
        if self._state(EXPOSURE) != "Busy":
            return
        if self._watch is not None:
            self._watch.aborting = True
        self._send_abort()
        await self._client.wait_for(
            lambda: self._state(EXPOSURE) != "Busy", ABORT_WAIT_S, f"the abort of {self.device!r}"
        )

    async def expose(
        self, exposure_s: float, *, gain: float | None = None, frame_type: FrameType = "light"
    ) -> Exposure:
        """Take one exposure and fetch its image. One at a time; a second caller waits.

        Parameters
        ----------
        exposure_s
            Length in seconds, brought within the camera's limits.
        gain
            Camera units, brought within its limits; None keeps it. Ignored by cameras without.
        frame_type
            What the shutter shall see.

        Returns
        -------
        Exposure
            ``start`` is the time of the camera's first Busy on our clock. What RAW does not say
            (gain, offset, temperature) is read from the properties at completion.

        Raises
        ------
        CameraError
            One class a fault, see :mod:`allsky360.camera.errors`.
        """
        async with self._lock:
            self._must_be_open()
            self._must_be_free()
            await self._prepare(gain, frame_type)
            return await self._expose(exposure_s, frame_type)

    # --- opening ----------------------------------------------------------------------------------

    async def _open_device(self) -> None:
        client = self._client
        await first_definitions(client)
        self.device = self._find_device()
        connection = await client.wait_for(
            lambda: client.store.get(self.device, CONNECTION), 5.0, f"CONNECTION of {self.device!r}"
        )
        if connection.state == "Busy":  # another client is connecting it
            await client.wait_for(
                lambda: self._state(CONNECTION) != "Busy", CONNECT_WAIT_S, f"{self.device!r} Ready"
            )
        try:
            await client.change(
                self.device, CONNECTION, {"CONNECTED": True}, timeout_s=CONNECT_WAIT_S
            )
        except CameraAlert as error:
            raise CameraAlert(
                f"{self.device!r} does not connect.",
                mend="Check that it is plugged in, powered, and not used by another program.",
            ) from error
        if not client.require(self.device, CONNECTION).on("CONNECTED"):
            raise CameraAlert(f"{self.device!r} does not connect.", mend="Check its cable.")
        for name in _NEEDED:
            await client.wait_for(
                lambda name=name: client.store.get(self.device, name),  # type: ignore[misc]
                5.0,
                f"the definition of {name} by {self.device!r}",
            )
        await client.quiet(0.1, 2.0)
        if words := client.dialect.prepare(self.device):
            client.send(words)
        await apply_settings(client, self.device, self.settings)
        self._remembered = snapshot(client.store, self.device)
        self._capabilities = capabilities_of(client.store, self.device)

    def _find_device(self) -> str:
        store = self._client.store
        where = f"the {self._client.dialect.family} server {self._client.where}"
        cameras = camera_names(store)
        known = "It has: " + ", ".join(cameras) + "." if cameras else "It has no camera."
        if self._wanted_device:
            if self._wanted_device in store.devices:
                return self._wanted_device
            raise UnknownDevice(
                f"{where} has no device {self._wanted_device!r}. {known}",
                mend="Mend camera.device.",
            )
        if len(cameras) == 1:
            return cameras[0]
        raise UnknownDevice(
            f"{where} has {len(cameras)} cameras. {known}",
            mend="Name one as camera.device." if cameras else "Load its driver.",
        )

    # --- exposing ---------------------------------------------------------------------------------

    def _must_be_open(self) -> None:
        if not self._is_open:
            raise NotConnected(f"the camera {self.device!r} is not open.")
        self._client.check()
        connection = self._client.store.get(self.device, CONNECTION)
        defined = all(self._client.store.get(self.device, name) for name in _NEEDED)
        if connection is None or not connection.on("CONNECTED") or not defined:
            self._is_open = False
            raise DeviceGone(
                f"{self.device!r} is no longer connected to its server.",
                mend="Check its cable and its driver.",
            )

    def _must_be_free(self) -> None:
        for name in (EXPOSURE, "CCD_STREAMING"):
            if self._state(name) == "Busy":
                raise ForeignUse(
                    f"{self.device!r} is exposing for another client ({name} is Busy).",
                    mend="Wait for its end, or let only one program use the camera.",
                )

    async def _prepare(self, gain: float | None, frame_type: FrameType) -> None:
        changed = changed_by_others(self._client.store, self.device, self._remembered)
        if changed:
            log.warning("another client changed %s of %r", ", ".join(changed), self.device)
            await apply_settings(self._client, self.device, self.settings)
        await set_frame_type(self._client, self.device, frame_type)
        if gain is not None:
            await set_gain(self._client, self.device, gain)
        self._remembered = snapshot(self._client.store, self.device)

    async def _expose(self, exposure_s: float, frame_type: FrameType) -> Exposure:
        client = self._client
        item = client.require(self.device, EXPOSURE).items.get("EXPOSURE")
        if item is None:
            raise BadProperty(f"{self.device!r}.{EXPOSURE} has no item EXPOSURE.")
        target_s = clamp(item, exposure_s)
        fetching: list[asyncio.Task[bytes]] = []
        watch = self._watch = ExposureWatch(
            client.store,
            self.device,
            None if frame_type == "bias" else target_s,  # for bias the camera takes its shortest
            self._clock.now,
            self._remembered,
            lambda url: fetching.append(asyncio.create_task(self._fetch(url))),
        )
        stop = client.listen(watch.take)
        requested = self._clock.now()
        try:
            client.request("Number", self.device, EXPOSURE, {"EXPOSURE": target_s})
            await self._until_busy(watch, target_s)
            data = await self._until_fetched(watch, target_s, fetching)
            await self._until_ended(watch)
        except asyncio.CancelledError:
            with contextlib.suppress(CameraError):
                self._send_abort()
            raise
        except CameraTimeout:
            await self._stop_late_exposure()
            raise
        except DeviceGone:
            self._is_open = False
            raise
        finally:
            stop()
            self._watch = None
            for task in fetching:
                task.cancel()
                task.add_done_callback(_retrieve)
        if watch.foreign:
            raise ForeignUse(
                f"another client changed {watch.foreign} of {self.device!r} during the exposure.",
                mend="Let only one program use the camera.",
            )
        return await self._as_exposure(data, watch, requested, target_s, frame_type)

    async def _until_busy(self, watch: ExposureWatch, target_s: float) -> None:
        try:
            await self._client.wait_for(watch.started, BUSY_WAIT_S, "Busy")
            return
        except CameraTimeout:
            log.info("%r has not answered the request to expose; asking", self.device)
        # A client that stops reading stalls the whole server for five seconds. One that answers a
        # question sent after the request, and is not Busy, has dropped the request.
        self._client.ask(self.device, EXPOSURE)
        with contextlib.suppress(CameraTimeout):
            await self._client.wait_for(watch.answered, STALL_WAIT_S, "answer")
        if not watch.started():
            raise DroppedRequest(
                f"{self.device!r} ignored the request to expose {target_s:g} s.",
                mend="Another client may hold the camera.",
            )

    async def _until_fetched(
        self, watch: ExposureWatch, target_s: float, fetching: list[asyncio.Task[bytes]]
    ) -> bytes:
        patience_s = self._clock.wall_s(target_s) + self.settings.timeout_s
        what = f"the end of the {target_s:g} s exposure of {self.device!r}"
        await self._client.wait_for(watch.finished, patience_s, what)
        if watch.url is None:  # Ok without an image: give a reordered message a moment
            try:
                await self._client.wait_for(watch.imaged, _AFTER_EXPOSURE_S, "image")
            except CameraTimeout:
                raise NoImage(
                    f"{self.device!r} ended the exposure but announced no image.",
                    mend="Connect to the server that owns the camera; check CCD_UPLOAD_MODE.",
                ) from None
        return await fetching[0]

    async def _until_ended(self, watch: ExposureWatch) -> None:
        try:
            await self._client.wait_for(watch.ended, _AFTER_EXPOSURE_S, "CCD_EXPOSURE Ok")
        except CameraTimeout:
            log.warning("%r delivered an image but did not end its exposure", self.device)

    async def _fetch(self, url: str) -> bytes:
        inline = await asyncio.to_thread(self._client.dialect.take_image, url)
        if inline is not None:
            return inline
        shape = expected_shape(self._client.store, self.device)
        pixels = shape[0] * shape[1] if shape else MAX_PIXELS
        address = resolve(url, self._client.host, self._client.port)
        return await fetch(address, pixels * 6 + (1 << 20), self.settings.timeout_s)

    def _send_abort(self) -> None:
        if self._client.store.get(self.device, "CCD_ABORT_EXPOSURE") is not None:
            self._client.request(
                "Switch", self.device, "CCD_ABORT_EXPOSURE", {"ABORT_EXPOSURE": True}
            )

    async def _stop_late_exposure(self) -> None:
        """Abort; if even that does nothing, disconnect, so that the next opening starts afresh."""
        try:
            self._must_be_open()
            if self._state(EXPOSURE) != "Busy":
                return
            await self.abort()
        except CameraTimeout:
            log.warning("%r does not abort; disconnecting it", self.device)
            self._is_open = False
            with contextlib.suppress(CameraError):
                await self._client.change(
                    self.device, CONNECTION, {"DISCONNECTED": True}, timeout_s=ABORT_WAIT_S
                )
        except CameraError as error:
            log.warning("%s", error)

    # --- the picture ------------------------------------------------------------------------------

    async def _as_exposure(
        self,
        data: bytes,
        watch: ExposureWatch,
        requested: datetime,
        target_s: float,
        frame_type: FrameType,
    ) -> Exposure:
        store = self._client.store
        shape, bits = expected_shape(store, self.device), expected_bits(store, self.device)
        # in a thread: the socket must be drained while a large image is decoded
        try:
            image, digest = await asyncio.to_thread(_decode, data, self.settings, shape, bits)
        except CameraError as error:
            told = f"image of {self.device!r}: {error.message}"
            raise type(error)(told, mend=error.mend) from error
        exposure_s = self._target() if frame_type == "bias" else target_s
        self._must_be_new(image, digest, exposure_s)
        start = watch.busy_at or requested
        pattern = self._pattern(image)
        return Exposure(
            pixels=image.pixels,
            pattern=pattern,
            start=start,
            exposure_s=exposure_s,
            gain=_first(self._number("CCD_GAIN", "GAIN"), card_number(image.cards, "GAIN")),
            offset=_first(self._number("CCD_OFFSET", "OFFSET"), card_number(image.cards, "OFFSET")),
            temperature_c=_first(
                card_number(image.cards, "CCD-TEMP"), self._number("CCD_TEMPERATURE", "TEMPERATURE")
            ),
            binning=int(self._number("CCD_BIN", "HORIZONTAL") or 1),
            saturation_adu=self._saturation(image),
            egain=_first(self._number("CCD_EGAIN", "EGAIN"), card_number(image.cards, "EGAIN"))
            or None,
            camera=self.device,
            frame_type=frame_type,
            metadata={
                "source": f"{self._client.dialect.family.lower()}://{self._client.where}/{self.device}",
                "format": image.image_format,
                "requested": requested.isoformat(),
                "time_source": "first Busy of the camera",
                "cards": dict(image.cards),
            },
        )

    def _must_be_new(self, image: DecodedImage, digest: bytes, exposure_s: float) -> None:
        exptime = card_number(image.cards, "EXPTIME")
        # drivers print two decimals from one second on, four below
        tolerance = max(1e-3 * exposure_s, 0.0051 if exposure_s >= 0.99 else 0.000051)
        if exptime is not None and abs(exptime - exposure_s) > tolerance:
            raise StaleImage(
                f"the image of {self.device!r} says it was exposed {exptime:g} s, "
                f"not {exposure_s:g} s: it is another one."
            )
        date_obs = str(image.cards.get("DATE-OBS", ""))
        same_date = bool(date_obs) and date_obs == self._last_date_obs
        same_bytes = digest == self._last_digest and _has_texture(image.pixels)
        self._last_date_obs, self._last_digest = date_obs, digest
        if same_date or same_bytes:
            raise StaleImage(f"{self.device!r} delivered the same image twice.")

    def _pattern(self, image: DecodedImage) -> BayerPattern | None:
        if image.pixels.ndim != 2 or self.settings.bayer_pattern == "MONO":
            return None
        for pattern in BAYER_PATTERNS:
            if pattern == self.settings.bayer_pattern:
                return pattern
        if image.pattern is not None:
            self._last_pattern = image.pattern
            return image.pattern
        unbinned = (self._number("CCD_BIN", "HORIZONTAL") or 1) == 1
        return self.capabilities.bayer if unbinned else None

    def _saturation(self, image: DecodedImage) -> float:
        if self.settings.saturation_adu is not None:
            return self.settings.saturation_adu
        if image.pixels.dtype == np.uint8:
            return 255.0
        bits = self._number("CCD_FRAME", "BITS_PER_PIXEL") or 16
        return float(2 ** int(bits) - 1) if 8 < bits < 16 else 65535.0

    def _target(self) -> float:
        prop = self._client.store.get(self.device, EXPOSURE)
        item = prop.items.get("EXPOSURE") if prop is not None else None
        return item.target if item is not None and item.target is not None else 0.0

    def _number(self, name: str, item: str) -> float | None:
        prop = self._client.store.get(self.device, name)
        return prop.number(item) if prop is not None else None

    def _state(self, name: str) -> str:
        prop = self._client.store.get(self.device, name)
        return prop.state if prop is not None else ""


def _retrieve(task: asyncio.Task[bytes]) -> None:
    """Take note of a download's end when nobody waits for it any more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.debug("download ended: %s", error)


def _decode(
    data: bytes, settings: CameraSettings, shape: tuple[int, int] | None, bits: int | None
) -> tuple[DecodedImage, bytes]:
    image = decode_image(
        data,
        image_format=settings.image_format,
        shape=shape,
        bits=bits,
        read_pattern=not settings.bayer_pattern,
    )
    return image, hashlib.blake2b(image.pixels.data, digest_size=16).digest()


def _has_texture(pixels: np.ndarray[Any, Any]) -> bool:
    """Whether two exposures cannot be equal by chance.

    A fully saturated or fully dark image with a few dead pixels can; one with noise cannot.
    """
    low, high = pixels.min(), pixels.max()
    between = np.count_nonzero((pixels > low) & (pixels < high))
    return bool(between > max(16, 0.001 * pixels.size))


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
