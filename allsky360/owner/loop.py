"""The capture loop: one camera, bursts on request, nothing dropped, no fault that ends it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from allsky360.archive.elsewhere import elsewhere_of
from allsky360.archive.journal import FaultLine, note_fault
from allsky360.camera.control import Plan
from allsky360.camera.errors import CameraError, ExposureAborted
from allsky360.clock import Clock
from allsky360.config import Settings
from allsky360.errors import AllskyError
from allsky360.model import Bracket, Exposure, FrameType, Site
from allsky360.owner.burst import Burst
from allsky360.owner.calibration import FrameSet, store
from allsky360.owner.link import MIN_RECONNECT_S, Link, backoff_s
from allsky360.owner.metering import Metering
from allsky360.owner.parts import Camera, CameraFactory, StoredFrame, WriterFactory
from allsky360.owner.relief import Relief
from allsky360.owner.state import Event, Fault, OwnerState, fault_name, iso
from allsky360.owner.store import DiskFull, Job, NotWritable, Store
from allsky360.sky.ephemeris import sun_moon

log = logging.getLogger(__name__)

#: An exposure that ends within this many seconds is waited for when the owner is told to stop.
FINISH_S = 2.0
#: Pause between looks at a period in which nothing is captured, and at the idle camera.
IDLE_S = 5.0
#: A burst that waits for its next bracket looks this often whether it is still wanted.
WAIT_S = 0.5
KEEP_S = 1.0
#: Name of a burst nobody asked for, and its longest time.
ALONE = "alone"
ALONE_S = 3600.0
#: How much longer than its frames a calibration may take.
CALIBRATION_WAIT_S = 120.0

Work = Callable[[Burst], Awaitable[AllskyError | None]]


class MeteringFault(AllskyError):
    """A bracket from which exposure control could learn nothing."""

    name = "metering"


class Owner:
    """Owns one camera.

    Parameters
    ----------
    settings, site, clock
        As everywhere.
    camera_factory, writer_factory
        Make the camera and, given its name, its raw archive.
    recheck_s
        Pause before a full or failing disk is tried again.
    """

    def __init__(
        self,
        settings: Settings,
        site: Site,
        clock: Clock,
        camera_factory: CameraFactory,
        writer_factory: WriterFactory,
        *,
        recheck_s: float = 5.0,
    ) -> None:
        self._settings = settings
        self._site = site
        self._clock = clock
        self.state = OwnerState(camera=settings.camera.device)
        root = Path(settings.storage.root)
        self._metering = Metering(settings, site, clock)
        self._link = Link(camera_factory, self._on_open, settings.camera.timeout_s)
        self._store = Store(
            writer_factory,
            root,
            settings.storage.min_free_gb,
            on_fault=self._storage_fault,
            after=self._metering.remember,
            recheck_s=recheck_s,
        )
        floor = settings.storage.min_free_gb * 1e9
        self._relief = Relief(
            root,
            settings.retention,
            floor,
            every_s=2 * recheck_s,
            elsewhere=elsewhere_of(settings.offsite),
        )
        self._turn = asyncio.Lock()  # the camera; handed on in order of arrival
        self._stopping = asyncio.Event()
        self._shot_ends = 0.0
        self._bracket_began = -math.inf
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._current: Burst | None = None
        self._alone: Burst | None = None
        self._asked = time.monotonic()  # when a burst was last asked for, or last ended

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to connect and to keep the camera."""
        # Loads the ephemeris, so that the first bracket does not wait for it.
        await asyncio.to_thread(sun_moon, self._site, self._clock.now())
        self._store.start()
        self._keeper = asyncio.create_task(self._keep(), name="camera-keeper")

    async def stop(self) -> None:
        """Finish or abort the exposure, store what was read out, let go of the camera."""
        await self.request_stop()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._store.stop()
        await self._relief.stop()
        if self._tasks:  # their last events wait only for the store
            await asyncio.wait(self._tasks, timeout=2.0)
        for task in self._tasks:
            task.cancel()
        await self._link.drop()

    async def request_stop(self) -> None:
        """End the bursts: an exposure that ends in a moment is waited for, others are aborted."""
        self._stopping.set()
        if not self.state.exposing or self._shot_ends - time.monotonic() <= FINISH_S:
            await self._exposures_ended(FINISH_S + 1.0)
        if self.state.exposing:
            await self._link.abort()
            await self._exposures_ended(3.0)
        if self.state.exposing:
            log.warning("the camera does not end its exposure; leaving it")
            await self._link.drop()

    async def _exposures_ended(self, limit_s: float) -> None:
        """Wait until no burst holds the camera."""
        try:
            async with asyncio.timeout(limit_s), self._turn:
                return
        except TimeoutError:
            return

    async def abort(self) -> bool:
        """Abort the running exposure; tell whether there was one."""
        running = self.state.exposing
        if running:
            await self._link.abort()
        return running

    # -- bursts -------------------------------------------------------------------------------

    def begin_burst(self, until: datetime, run_id: str) -> Burst:
        """Queue a burst; it begins when those before it have ended."""
        seconds = (until - datetime.now(UTC)).total_seconds()
        self._end_alone()
        return self._queue(Burst(run_id, deadline=time.monotonic() + seconds), self._expose_until)

    def begin_calibration(self, wanted: FrameSet, run_id: str) -> Burst:
        """Queue calibration frames; they are taken when the bursts before have ended."""
        each_s = self._clock.wall_s(wanted.exposure_s) + self._settings.camera.timeout_s
        burst = Burst(run_id, deadline=time.monotonic() + CALIBRATION_WAIT_S, frames=0)

        async def take(burst: Burst) -> AllskyError | None:
            burst.deadline = time.monotonic() + wanted.count * each_s + CALIBRATION_WAIT_S
            return await self._calibrate(burst, wanted)

        self._end_alone()
        return self._queue(burst, take)

    def _end_alone(self) -> None:
        """Make way for a burst that is asked for: our own ends with its present bracket."""
        self._asked = time.monotonic()
        if self._alone is not None:
            self._alone.unwanted = True
            self._alone = None

    def _begin_alone(self) -> None:
        """Capture although nobody asks: the night does not wait for a scheduler that is down."""
        after_s = self._settings.capture.alone_after_s
        if not after_s or time.monotonic() - self._asked < after_s:
            return
        if self._alone is None:
            log.warning("no burst was asked for in %.0f s: capturing alone", after_s)
        self._alone = Burst(ALONE, deadline=time.monotonic() + ALONE_S)
        self._queue(self._alone, self._expose_until)

    def _queue(self, burst: Burst, work: Work) -> Burst:
        task = asyncio.create_task(self._run(burst, work), name=f"burst-{burst.run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return burst

    async def events(self, burst: Burst) -> AsyncIterator[Event]:
        """Yield the events of a burst; when the caller goes, so does the burst, in good order."""
        try:
            while True:
                event = await burst.events.get()
                yield event
                if event["event"] in ("end", "failed"):
                    return
        finally:
            burst.unwanted = True

    async def _run(self, burst: Burst, work: Work) -> None:
        failure: AllskyError | None = None
        try:
            async with self._turn:
                self._current, self.state.burst = burst, burst.run_id
                burst.began = time.monotonic()
                try:
                    failure = await work(burst)
                finally:
                    self._current, self.state.burst = None, None
                    burst.ended = time.monotonic()
                    if burst.run_id != ALONE:
                        self._asked = burst.ended
                        if burst.unwanted and burst.left_s() > 0:  # whoever asked is gone
                            self._asked -= self._settings.capture.alone_after_s
                    self.state.open_s += burst.open_s
                    self.state.burst_s += burst.elapsed_s if burst.open_s else 0.0
            # The next burst exposes already while the last brackets of this one are written.
            await asyncio.gather(*burst.pending, return_exceptions=True)
        except Exception as error:
            log.exception("burst %s failed unexpectedly", burst.run_id)
            failure = AllskyError(f"{type(error).__name__}: {error}")
        if failure is None:
            burst.emit(
                {
                    "event": "end",
                    "brackets": burst.brackets,
                    "open_s": round(burst.open_s, 6),
                    "elapsed_s": round(burst.elapsed_s, 3),
                    **({} if burst.frames is None else {"frames": burst.frames}),
                }
            )
        else:
            burst.emit({"event": "failed", "name": fault_name(failure), "message": str(failure)})

    def _over(self, burst: Burst) -> bool:
        return burst.unwanted or self._stopping.is_set() or burst.left_s() <= 0

    async def _expose_until(self, burst: Burst) -> AllskyError | None:
        """Take brackets until the slot ends; return what ended the burst early, if anything."""
        failures = 0
        last: CameraError | None = None
        while not self._over(burst):
            if not await self._room(burst):
                continue
            try:
                await self._link.ensure()
                plan, times = self._metering.plan()
                self.state.plan, self.state.exposures_s = plan, times
                if not plan.enabled:
                    await self._idle(burst, f"capture is off by {plan.period}")
                    continue
                if (wait_s := self._wait_s(plan)) > 0:
                    await self._pause(min(wait_s, WAIT_S, max(0.0, burst.left_s())))
                    continue
                await self._bracket(burst, plan, times)
            except ExposureAborted as error:
                if not self._stopping.is_set():
                    burst.emit(_fault_event(error, 0.0))
                continue
            except CameraError as error:
                failures, last = failures + 1, error
                pause = await self._on_camera_fault(error, failures, burst)
                if failures > self._settings.capture.retries:
                    return error
                await self._pause(min(pause, max(0.0, burst.left_s())))
                continue
            failures, last = 0, None
        return last if burst.brackets == 0 else None

    def _wait_s(self, plan: Plan) -> float:
        """Return the seconds until the next bracket is due; none while the exposure is sought."""
        if not plan.every_s or not self._metering.settled:
            return 0.0
        return self._bracket_began + self._clock.wall_s(plan.every_s) - time.monotonic()

    async def _bracket(self, burst: Burst, plan: Plan, times: tuple[float, ...]) -> None:
        """Take one bracket and hand it in, also when it was cut short."""
        shots: list[Exposure] = []
        began = time.monotonic()
        try:
            for seconds in times:
                if shots and self._stopping.is_set():
                    break
                shots.append(await self._expose(seconds, plan.gain))
            self._bracket_began = began  # one that failed is repeated at once
        finally:
            self.state.exposing = False
            if shots:
                await self._hand_in(burst, plan, shots)

    async def _calibrate(self, burst: Burst, wanted: FrameSet) -> AllskyError | None:
        """Take the frames of a set; return what ended it early, if anything."""
        failures, number = 0, 0
        while number < wanted.count and not self._over(burst):
            if not await self._room(burst):
                continue
            try:
                await self._link.ensure()
                shot = await self._expose(wanted.exposure_s, wanted.gain, wanted.kind)
            except ExposureAborted as error:
                return error
            except CameraError as error:
                failures += 1
                pause = await self._on_camera_fault(error, failures, burst)
                if failures > self._settings.capture.retries:
                    return error
                await self._pause(min(pause, max(0.0, burst.left_s())))
                continue
            finally:
                self.state.exposing = False
            failures, number = 0, number + 1
            root = Path(self._settings.storage.root)
            try:
                path = await store(root, shot, burst.run_id, wanted, number)
            except OSError as error:
                return AllskyError(f"cannot write a calibration frame: {error}.")
            burst.frames = number
            burst.emit(
                {
                    "event": "frame",
                    "file": path.relative_to(root).as_posix(),
                    "kind": wanted.kind,
                    "exposure_s": shot.exposure_s,
                    "gain": shot.gain,
                    "temperature_c": shot.temperature_c,
                    "number": number,
                }
            )
        if number < wanted.count:
            return AllskyError(f"{number} of {wanted.count} frames were taken before it ended.")
        return None

    async def _expose(
        self, seconds: float, gain: float | None, kind: FrameType = "light"
    ) -> Exposure:
        wall_s = self._clock.wall_s(seconds)
        self._shot_ends = time.monotonic() + wall_s
        self.state.exposing = True
        shot = await self._link.expose(seconds, gain, wall_s, kind)
        if self.state.camera_fault is not None:
            log.info("camera fault is over: %s", self.state.camera_fault.name)
        self.state.camera_fault = None
        return shot

    async def _hand_in(self, burst: Burst, plan: Plan, shots: list[Exposure]) -> None:
        bracket = Bracket(tuple(shots))
        burst.open_s += sum(self._clock.wall_s(s.exposure_s) for s in shots)
        burst.brackets += 1
        metered = self._measure(burst, shots, plan)

        def scalars() -> Mapping[str, float]:
            sky = sun_moon(self._site, bracket.start)
            return {
                **metered,
                "sun_altitude_deg": sky.sun_altitude_deg,
                "sun_azimuth_deg": sky.sun_azimuth_deg,
                "moon_altitude_deg": sky.moon_altitude_deg,
                "moon_azimuth_deg": sky.moon_azimuth_deg,
                "moon_illumination": sky.moon_illumination,
            }

        job = Job(bracket, scalars)
        burst.pending = [p for p in burst.pending if not p.done()]
        burst.pending.append(asyncio.create_task(self._announce(burst, job, plan, metered)))
        await self._store.put(job)

    def _measure(self, burst: Burst, shots: list[Exposure], plan: Plan) -> Mapping[str, float]:
        """Learn from a bracket; one that cannot be measured is stored all the same."""
        try:
            return self._metering.learn(shots, plan)
        except Exception as error:
            log.exception("a bracket could not be measured")
            fault = MeteringFault(f"A bracket could not be measured: {error}.")
            self._count(fault)
            burst.emit(_fault_event(fault, 0.0))
            return {}

    async def _announce(
        self, burst: Burst, job: Job, plan: Plan, metered: Mapping[str, float]
    ) -> None:
        """Tell of a bracket once it is durable."""
        try:
            frame: StoredFrame = await job.done
        except AllskyError as error:
            self._count(error)
            burst.emit(_fault_event(error, 0.0))
            return
        record: Event = {
            "camera": frame.camera,
            "night": frame.night.isoformat(),
            "index": frame.index,
            "time": iso(job.bracket.start),
        }
        self.state.frames += 1
        self.state.last_frame = record
        burst.emit(
            {
                "event": "bracket",
                **record,
                "exposures_s": [e.exposure_s for e in job.bracket.exposures],
                "gain": plan.gain,
                "level": _rounded(metered.get("level"), 6),
                "sun_altitude_deg": _rounded(metered.get("sun_altitude_deg"), 4),
            }
        )

    # -- waiting ------------------------------------------------------------------------------

    async def _idle(self, burst: Burst, reason: str) -> None:
        if burst.idle != reason:
            burst.idle = reason
            burst.emit({"event": "idle", "reason": reason})
        await self._pause(min(IDLE_S, max(0.0, burst.left_s())))

    async def _room(self, burst: Burst) -> bool:
        """Return whether there is room to store a bracket; wait a little when not."""
        self._relief.look()
        try:
            self._store.check_room()
        except AllskyError as error:
            self._storage_fault(error)
        else:
            if not self._store.backlog:
                self._storage_fault(None)
        fault = self.state.storage_fault
        if fault is None or fault.name not in (DiskFull.name, NotWritable.name):
            # Other faults hold capture only once the queue is full: nothing is lost until then.
            burst.held = ""
            return True
        if burst.held != fault.name:
            burst.held = fault.name
            burst.emit(_event(fault.name, fault.message, self._store.recheck_s))
        await self._pause(min(self._store.recheck_s, max(0.0, burst.left_s())))
        return False

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not through a stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _keep(self) -> None:
        """Connect while nobody asks for a burst, so that the next one begins at once."""
        failures = 0
        while not self._stopping.is_set():
            self.state.connected = self._link.is_open
            if self._link.is_open or self._turn.locked():
                failures = 0
                if not self._turn.locked():
                    self._begin_alone()
                await self._pause(KEEP_S)
                continue
            try:
                await self._link.ensure()
            except CameraError as error:
                failures += 1
                await self._pause(await self._on_camera_fault(error, failures, None))

    # -- faults -------------------------------------------------------------------------------

    def _on_open(self, camera: Camera) -> None:
        self.state.camera = camera.device
        self.state.connected = True
        self._metering.meet(camera.device, camera.capabilities)
        if self.state.camera_fault is not None:
            log.info("camera answers again after %s", self.state.camera_fault.name)
        self.state.camera_fault = None
        log.info("camera %s is ready", camera.device)

    async def _on_camera_fault(
        self, error: CameraError, failures: int, burst: Burst | None
    ) -> float:
        """Record a fault, prepare the next try, and return the pause before it."""
        self.state.exposing = False
        self._count(error)
        fault = self.state.camera_fault
        if fault is None or fault.name != error.name or fault.message != str(error):
            self.state.camera_fault = Fault(error.name, str(error), self._clock.now())
        pause = backoff_s(failures, self._settings.capture.retry_delay_s)
        log.warning("camera fault %s: %s (again in %.1f s)", error.name, error, pause)
        await self._link.recover(error)
        self.state.connected = self._link.is_open
        if not self._link.is_open:
            pause = max(pause, MIN_RECONNECT_S)
        if burst is not None:
            burst.emit(_fault_event(error, pause))
        return pause

    def _storage_fault(self, error: AllskyError | None) -> None:
        """Note that storage fails, or no longer does."""
        known = self.state.storage_fault
        if error is None:
            if known is not None:
                log.info("storage works again after %s", known.name)
            self.state.storage_fault = None
            return
        if known is not None and known.name == fault_name(error):
            return
        self._count(error)
        self.state.storage_fault = Fault(fault_name(error), str(error), self._clock.now())
        log.error("capture is paused: %s", error)
        if self._current is not None and self._current.held != fault_name(error):
            self._current.held = fault_name(error)
            self._current.emit(_fault_event(error, self._store.recheck_s))

    def _count(self, error: AllskyError) -> None:
        self.state.fault_counts[fault_name(error)] += 1
        line = FaultLine(self._clock.now(), self.state.camera, fault_name(error), str(error))
        note_fault(Path(self._settings.storage.root), line)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _fault_event(error: AllskyError, retry_in_s: float) -> Event:
    return _event(fault_name(error), str(error), retry_in_s)


def _event(name: str, message: str, retry_in_s: float) -> Event:
    return {
        "event": "fault",
        "name": name,
        "message": message,
        "retry_in_s": round(retry_in_s, 3),
    }
