"""A camera and an archive that do what a test tells them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from allsky360.camera.errors import ExposureAborted
from allsky360.clock import REAL_CLOCK, Clock
from allsky360.config import Settings
from allsky360.model import Bracket, Exposure, Site
from allsky360.owner.loop import Owner

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)


@dataclass
class Abilities:
    exposure_s: tuple[float, float] | None = (0.001, 60.0)
    gain: tuple[float, float] | None = (0.0, 300.0)


@dataclass
class World:
    """What every camera object of a test shares: the sky, the faults to come, the log."""

    faults: deque[Exception | None] = field(default_factory=deque)
    open_faults: deque[Exception | None] = field(default_factory=deque)
    exposure_wall_s: float = 0.01
    level: float = 0.2  # of saturation, per second at gain 0
    log: list[str] = field(default_factory=list)
    opened: int = 0
    shots: int = 0
    lost: bool = False
    running: int = 0
    spans: list[tuple[float, float]] = field(default_factory=list)
    clock: Clock = REAL_CLOCK


class FakeCamera:
    def __init__(self, world: World) -> None:
        self.world = world
        self.device = "Fake"
        self.capabilities = Abilities()
        self.open_now = False
        self._aborted = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self.open_now and not self.world.lost

    async def open(self) -> None:
        self.world.log.append("open")
        await asyncio.sleep(0)
        if self.world.open_faults:
            error = self.world.open_faults.popleft()
            if error is not None:
                raise error
        self.world.lost = False
        self.world.opened += 1
        self.open_now = True

    async def close(self) -> None:
        self.world.log.append("close")
        self.open_now = False

    async def abort(self) -> None:
        self.world.log.append("abort")
        self._aborted.set()

    async def expose(
        self, exposure_s: float, *, gain: float | None = None, frame_type: str = "light"
    ) -> Exposure:
        w = self.world
        assert self.open_now, "exposed a closed camera"
        w.running += 1
        assert w.running == 1, "two exposures at once"
        began = time.monotonic()
        start = w.clock.now()
        try:
            self._aborted.clear()
            error = w.faults.popleft() if w.faults else None
            try:
                async with asyncio.timeout(w.exposure_wall_s):
                    await self._aborted.wait()
                raise ExposureAborted("aborted on request")
            except TimeoutError:
                pass
            if error is not None:
                raise error
        finally:
            w.running -= 1
            w.spans.append((began, time.monotonic()))
        w.shots += 1
        light = w.level * exposure_s * 10 ** ((gain or 0.0) / 200)  # 0.1 dB a unit
        px = np.full((32, 32), int(min(1.0, light) * 65000) + w.shots % 7, np.uint16)
        kind: Any = frame_type
        return Exposure(
            px, "RGGB", start, exposure_s, gain=gain, camera=self.device, frame_type=kind
        )


@dataclass(frozen=True)
class Ref:
    camera: str
    night: date
    index: int


class FakeWriter:
    """Keeps brackets in memory; ``errors`` are raised first, ``slow_s`` is what a write takes."""

    def __init__(self) -> None:
        self.stored: list[tuple[Bracket, dict[str, float]]] = []
        self.errors: deque[Exception | None] = deque()
        self.slow_s = 0.0
        self.closed = False
        self.gate = threading.Event()
        self.gate.set()

    def append(self, bracket: Bracket, scalars: Mapping[str, float]) -> Ref:
        self.gate.wait(20)
        if self.errors:
            error = self.errors.popleft()
            if error is not None:
                raise error
        time.sleep(self.slow_s)
        self.stored.append((bracket, dict(scalars)))
        return Ref("fake", SITE.night_of(bracket.start), len(self.stored) - 1)

    def close(self) -> None:
        self.closed = True


def make_settings(root: Path, **more: Any) -> Settings:
    period = {"min_exposure_s": 0.001, "max_exposure_s": 30.0, "exposures": 1, "every_s": 0.0}
    data: dict[str, Any] = {
        "storage": {"root": root, "min_free_gb": 0.0},
        "exposure": {
            "start_exposure_s": 1.0,
            "day": period,
            "twilight": period,
            "night": period,
        },
        "capture": {"retries": 3, "retry_delay_s": 0.1, "alone_after_s": 0.0},
    }
    for section, values in more.items():
        data.setdefault(section, {}).update(values)
    return Settings(**data)


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def make_owner(
    root: Path, world: World, writer: FakeWriter, clock: Clock = REAL_CLOCK, **more: Any
) -> Owner:
    return Owner(
        make_settings(root, **more),
        SITE,
        clock,
        lambda: FakeCamera(world),
        lambda name: writer,
        recheck_s=0.05,
    )
