"""The connection to the camera: opened, kept, and rebuilt after a fault."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from allsky360.camera.errors import (
    IMAGE_FAULTS,
    CameraError,
    CameraTimeout,
    ExposureAborted,
    NotConnected,
    ServerGone,
)
from allsky360.model import Exposure, FrameType
from allsky360.owner.parts import Camera, CameraFactory

log = logging.getLogger(__name__)
T = TypeVar("T")

OPEN_S = 90.0
ABORT_S = 10.0
MAX_BACKOFF_S = 30.0
MIN_RECONNECT_S = 2.0


class InternalFault(CameraError):
    """The camera code failed in a way it does not know itself."""

    name = "internal"


def backoff_s(failures: int, first_s: float) -> float:
    """Return the pause after the n-th failure in a row: doubling from ``first_s`` to 30 s."""
    return float(min(MAX_BACKOFF_S, first_s * 2.0 ** min(16, max(0, failures - 1))))


class Link:
    """Holds at most one open camera.

    Parameters
    ----------
    factory
        Makes a camera that is not open yet; called anew for every connection, so that nothing
        of a broken one survives.
    on_open
        Called with the camera after each successful opening.
    grace_s
        Grace after an exposure; the watchdog here waits that long and a little more, for the
        case that the camera's own deadline fails.
    """

    def __init__(
        self, factory: CameraFactory, on_open: Callable[[Camera], None], grace_s: float
    ) -> None:
        self._factory = factory
        self._on_open = on_open
        self._grace_s = grace_s
        self._camera: Camera | None = None
        self._lock = asyncio.Lock()
        self._image_faults = 0

    @property
    def is_open(self) -> bool:
        """Whether a camera is open, as far as is known."""
        return self._camera is not None and self._camera.is_open

    async def ensure(self) -> None:
        """Open the camera and apply the settings, unless that is done."""
        async with self._lock:
            if self._camera is not None:
                if self._camera.is_open:
                    return
                lost, self._camera = self._camera, None
                await _let_go(lost)
            self._camera = await _guarded("connecting", self._open(), OPEN_S)
            self._image_faults = 0

    async def _open(self) -> Camera:
        camera = self._factory()
        try:
            await camera.open()
            self._on_open(camera)
        except BaseException:
            await _let_go(camera)
            raise
        return camera

    async def expose(
        self,
        exposure_s: float,
        gain: float | None,
        wall_s: float,
        frame_type: FrameType = "light",
    ) -> Exposure:
        """Take one exposure, which lasts ``wall_s`` here; any failure is a :class:`CameraError`."""
        camera = self._camera
        if camera is None:
            raise NotConnected("The camera is not open.")
        limit = wall_s + self._grace_s + 30.0
        taken = camera.expose(exposure_s, gain=gain, frame_type=frame_type)
        shot = await _guarded("exposing", taken, limit)
        self._image_faults = 0
        return shot

    async def abort(self) -> None:
        """Abort the running exposure, if any; a camera that refuses is logged."""
        if self._camera is not None:
            await _quietly("abort", self._camera.abort())

    async def recover(self, error: CameraError) -> None:
        """Bring the link into a state a new try can begin from.

        A bad picture from a camera that answers is asked for again; the second in a row, and
        every other fault, costs the connection: abort, close, and a full new start.
        """
        if isinstance(error, ExposureAborted):
            return
        if isinstance(error, IMAGE_FAULTS) and self._image_faults == 0:
            self._image_faults = 1
            return
        await self.drop()

    async def drop(self) -> None:
        """Abort and close; never raises."""
        async with self._lock:
            camera, self._camera = self._camera, None
            if camera is not None:
                await _let_go(camera)


async def _let_go(camera: Camera) -> None:
    await _quietly("abort", camera.abort())
    await _quietly("close", camera.close())


async def _quietly(what: str, call: Awaitable[None]) -> None:
    try:
        await _guarded(what, call, ABORT_S)
    except CameraError as error:
        log.debug("%s: %s", what, error)


async def _guarded(what: str, call: Awaitable[T], limit_s: float) -> T:
    """Await a call into the camera; turn everything that goes wrong into a named fault."""
    try:
        async with asyncio.timeout(limit_s):
            return await call
    except CameraError:
        raise
    except TimeoutError as error:
        raise CameraTimeout(
            f"{what}: no answer within {limit_s:.0f} s.", mend="Check the camera and its server."
        ) from error
    except OSError as error:
        raise ServerGone(
            f"{what}: {error}.", mend="Check that the camera server runs and is reachable."
        ) from error
    except Exception as error:
        log.exception("%s failed unexpectedly", what)
        raise InternalFault(f"{what}: {type(error).__name__}: {error}") from error
