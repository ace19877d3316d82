"""Follows one exposure through the messages of the server. No I/O: messages in, state out.

The events that decide, in their real order: CCD_EXPOSURE Busy, CCD_IMAGE Busy, countdown,
CCD_IMAGE Ok with a URL, CCD_EXPOSURE Ok (reference/indigo-protocol.md section 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from allsky360.camera.errors import (
    CameraAlert,
    CameraError,
    DeviceGone,
    ExposureAborted,
    ForeignUse,
    NoImage,
)
from allsky360.camera.indigo.client import close_enough
from allsky360.camera.indigo.properties import Change, PropertyStore

EXPOSURE, IMAGE, CONNECTION = "CCD_EXPOSURE", "CCD_IMAGE", "CONNECTION"
Snapshot = Mapping[str, Mapping[str, str | float | bool]]


class ExposureWatch:
    """State of one requested exposure.

    Parameters
    ----------
    store, device
        Where the properties are kept, and whose.
    target_s
        Exposure asked for; a Busy with another target is someone else's. None: any.
    now
        Clock for the time of the first Busy.
    settings
        Values the picture depends on; a change of one while it runs is foreign use.
    on_image
        Called once with the image's URL, the moment it is announced.
    """

    def __init__(
        self,
        store: PropertyStore,
        device: str,
        target_s: float | None,
        now: Callable[[], datetime],
        settings: Snapshot,
        on_image: Callable[[str], None],
    ) -> None:
        self._store, self._device, self._target_s = store, device, target_s
        self._now, self._settings, self._on_image = now, settings, on_image
        image = store.get(device, IMAGE)
        # newer servers leave it Busy after an abort and may then not say Busy again
        self._image_busy = image is not None and image.state == "Busy"
        self._message = ""
        self.busy_at: datetime | None = None
        self.url: str | None = None
        self.exposure_ok = False
        self.aborting = False
        self.fault: CameraError | None = None
        self.foreign = ""
        self._redefined = False

    def take(self, change: Change) -> None:
        """Look at one message."""
        if change.device not in (self._device, ""):
            return
        if change.kind == "message":
            self._message = change.message
            return
        if change.device != self._device or self.fault is not None:
            return
        if change.kind == "delete":
            if change.name in ("", EXPOSURE, IMAGE):
                self.fault = self._gone("was removed")
        elif change.name == EXPOSURE:
            self._take_exposure(change)
        elif change.name == IMAGE and change.kind == "set":
            self._take_image(change)
        elif change.name == CONNECTION:
            connection = self._store.get(self._device, CONNECTION)
            if connection is not None and connection.on("DISCONNECTED"):
                self.fault = self._gone("was disconnected")
        elif change.name in self._settings and not self.foreign:
            self._take_setting(change.name)

    def started(self) -> bool:
        """Whether the camera has taken the request; raises its fault."""
        if self.fault is not None:
            raise self.fault
        return self.busy_at is not None

    def answered(self) -> bool:
        """Whether the camera has started, or told that it has not; raises its fault."""
        return self.started() or self._redefined

    def finished(self) -> bool:
        """Whether there is an image, or the exposure has ended without; raises its fault."""
        if self.fault is not None:
            raise self.fault
        return self.url is not None or self.exposure_ok

    def imaged(self) -> bool:
        """Whether the image was announced; raises its fault."""
        if self.fault is not None:
            raise self.fault
        return self.url is not None

    def ended(self) -> bool:
        """Whether the exposure itself has ended well; raises its fault."""
        if self.fault is not None:
            raise self.fault
        return self.exposure_ok

    def _take_exposure(self, change: Change) -> None:
        prop = self._store.get(self._device, EXPOSURE)
        if prop is None:
            return
        self._message = change.message or self._message
        self._redefined = self._redefined or change.kind == "def"
        if prop.state == "Busy":
            item = prop.items.get("EXPOSURE")
            target = item.target if item is not None else None
            ours = self._target_s is None or target is None or close_enough(target, self._target_s)
            if not ours:
                self.fault = ForeignUse(
                    f"{self._device!r} exposes {target:g} s for another client; "
                    f"we asked for {self._target_s:g} s.",
                    mend="Let only one program use the camera.",
                )
                return
            if self.busy_at is None:
                self.busy_at = self._now()
        elif prop.state == "Alert":
            self.fault = self._failed()
        elif self.busy_at is not None:  # an Ok before Busy belongs to an earlier exposure
            self.exposure_ok = True

    def _take_image(self, change: Change) -> None:
        prop = self._store.get(self._device, IMAGE)
        if prop is None or self.url is not None:
            return
        if prop.state == "Busy":
            self._image_busy = True
        elif prop.state == "Alert" and self.busy_at is not None:
            self._message = change.message or self._message
            self.fault = self._failed()
        elif prop.state == "Ok" and self.busy_at is not None and self._image_busy:
            url = prop.text("IMAGE")
            if not url:
                self.fault = NoImage(
                    f"{self._device!r} ended the exposure without an image.",
                    mend="Its image format was unset; another client may have changed it.",
                )
                return
            self.url = url
            self._on_image(url)

    def _take_setting(self, name: str) -> None:
        prop = self._store.get(self._device, name)
        if prop is not None and differs(prop.items, self._settings[name]):
            self.foreign = name

    def _failed(self) -> CameraError:
        if self.aborting:
            return ExposureAborted(f"the exposure of {self._device!r} was aborted.")
        says = f": {self._message}." if self._message else "."
        return CameraAlert(
            f"{self._device!r} failed the exposure{says}",
            mend="Check camera and cable; another client may have aborted it.",
        )

    def _gone(self, how: str) -> DeviceGone:
        return DeviceGone(
            f"{self._device!r} {how} while exposing.", mend="Check its cable and its driver."
        )


def differs(items: Mapping[str, object], wanted: Mapping[str, str | float | bool]) -> bool:
    """Whether any item's value is no longer the one wanted."""
    for name, value in wanted.items():
        item = items.get(name)
        now = getattr(item, "value", None)
        if isinstance(value, float) and isinstance(now, float):
            if not close_enough(now, value):
                return True
        elif now != value:
            return True
    return False
