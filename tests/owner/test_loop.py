from __future__ import annotations

import asyncio
import errno
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allsky360.camera import errors as camera_errors
from allsky360.camera.errors import (
    CameraAlert,
    CameraError,
    DeviceGone,
    ServerGone,
    TruncatedImage,
)
from allsky360.clock import rehearsal
from allsky360.errors import AllskyError
from allsky360.owner import loop as loop_module
from allsky360.owner.burst import Burst
from allsky360.owner.loop import Owner
from allsky360.owner.metering import Metering
from tests.owner.fakes import FakeWriter, World, make_owner, soon

ALL_FAULTS = sorted(
    (
        c
        for c in vars(camera_errors).values()
        if isinstance(c, type) and issubclass(c, CameraError) and c is not CameraError
    ),
    key=lambda c: c.__name__,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "MIN_RECONNECT_S", 0.02)
    monkeypatch.setattr(loop_module, "IDLE_S", 0.05)
    monkeypatch.setattr(loop_module, "KEEP_S", 0.02)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def writer() -> FakeWriter:
    return FakeWriter()


@asynccontextmanager
async def running(owner: Owner) -> AsyncIterator[Owner]:
    await owner.start()
    try:
        yield owner
    finally:
        await owner.stop()


async def collect(owner: Owner, burst: Burst) -> list[dict[str, Any]]:
    async with asyncio.timeout(30):
        return [event async for event in owner.events(burst)]


async def burst_of(owner: Owner, seconds: float, run_id: str = "run") -> list[dict[str, Any]]:
    return await collect(owner, owner.begin_burst(soon(seconds), run_id))


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [e["event"] for e in events]


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_brackets_until_the_slot_ends(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    async with running(make_owner(tmp_path, world, writer)) as owner:
        events = await burst_of(owner, 0.4)
        assert set(kinds(events[:-1])) == {"bracket"}
        assert events[-1]["event"] == "end"
        assert events[-1]["brackets"] == len(events) - 1 == len(writer.stored)
        assert [e["index"] for e in events[:-1]] == list(range(len(events) - 1))
        first = events[0]
        assert set(first) == {
            "event",
            "camera",
            "night",
            "index",
            "time",
            "exposures_s",
            "gain",
            "level",
            "sun_altitude_deg",
        }
        status = owner.state.as_json()
        assert status["state"] == "ready"
        assert status["frames"] == len(writer.stored)
        assert status["last_frame"]["index"] == len(writer.stored) - 1
    assert world.opened == 1  # the connection is kept
    assert writer.closed


async def test_scalars_of_a_frame(tmp_path: Path, world: World, writer: FakeWriter) -> None:
    async with running(make_owner(tmp_path, world, writer)) as owner:
        await burst_of(owner, 0.1)
    _, scalars = writer.stored[0]
    assert set(scalars) == {
        "sun_altitude_deg",
        "sun_azimuth_deg",
        "moon_altitude_deg",
        "moon_azimuth_deg",
        "moon_illumination",
        "level",
        "target",
        "saturated_fraction",
        "period",
    }
    assert scalars["level"] == pytest.approx(0.2, abs=0.02)
    assert all(isinstance(v, float) for v in scalars.values())


async def test_brackets_are_longest_first(tmp_path: Path, world: World, writer: FakeWriter) -> None:
    period = {"exposures": 3, "step_ev": 1.0, "min_exposure_s": 0.001, "every_s": 0.0}
    more = {"exposure": {"day": period, "night": period, "twilight": period}}
    async with running(make_owner(tmp_path, world, writer, **more)) as owner:
        await burst_of(owner, 0.1)
    times = [e.exposure_s for e in writer.stored[0][0].exposures]
    assert times == pytest.approx([1.0, 0.5, 0.25])


@pytest.mark.parametrize("fault", ALL_FAULTS, ids=lambda c: c.name)
async def test_every_fault_in_mid_bracket_is_survived(
    fault: type[CameraError], tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    period = {"exposures": 3, "step_ev": 1.0, "min_exposure_s": 0.001, "every_s": 0.0}
    more = {"exposure": {"day": period, "night": period, "twilight": period}}
    world.faults.extend([None, fault("made by the test")])
    async with running(make_owner(tmp_path, world, writer, **more)) as owner:
        events = await burst_of(owner, 0.6)
        assert owner.state.name == "ready"
    faults = [e for e in events if e["event"] == "fault"]
    assert [f["name"] for f in faults] == [fault.name]
    assert events[-1]["event"] == "end"
    # What was read out before the fault is kept, the rest follows in full brackets.
    lengths = [len(b.exposures) for b, _ in writer.stored]
    assert lengths[0] == 1
    assert set(lengths[1:]) == {3}
    if fault is not camera_errors.ExposureAborted:
        assert owner.state.fault_counts[fault.name] == 1


async def test_a_bad_picture_costs_no_connection_but_two_do(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    async with running(make_owner(tmp_path, world, writer)) as owner:
        world.faults.append(TruncatedImage("half"))
        await burst_of(owner, 0.3)
        assert world.opened == 1
        world.faults.extend([TruncatedImage("half"), TruncatedImage("half")])
        await burst_of(owner, 0.8)
        assert world.opened == 2


async def test_reconnects_after_a_fault_with_abort_first(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    world.faults.append(CameraAlert("no"))
    async with running(make_owner(tmp_path, world, writer)) as owner:
        await burst_of(owner, 0.4)
    assert world.log[:4] == ["open", "abort", "close", "open"]


async def test_a_burst_gives_up_after_its_retries_and_the_owner_lives_on(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    async with running(make_owner(tmp_path, world, writer)) as owner:
        await until(lambda: owner.state.connected)
        world.faults.extend([DeviceGone("unplugged")] * 4)
        events = await burst_of(owner, 20.0)
        assert kinds(events) == ["fault"] * 4 + ["failed"]
        assert events[-1]["name"] == "device-gone"
        assert "unplugged" in events[-1]["message"]
        pauses = [e["retry_in_s"] for e in events[:-1]]
        assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8])
        events = await burst_of(owner, 0.2, "next")
        assert events[-1]["event"] == "end"
        assert events[-1]["brackets"] >= 1


async def test_a_burst_with_no_camera_fails_when_its_slot_ends(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    world.open_faults.extend([ServerGone("nobody listens")] * 1000)
    async with running(make_owner(tmp_path, world, writer)) as owner:
        events = await burst_of(owner, 0.25)
        assert events[-1]["event"] == "failed"
        assert events[-1]["name"] == "server-gone"
        assert owner.state.as_json()["state"] == "fault"
        assert owner.state.as_json()["fault"]["name"] == "server-gone"
        world.open_faults.clear()
        await until(lambda: owner.state.name == "ready")  # without anybody asking


async def test_connection_lost_while_idle_is_rebuilt(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    async with running(make_owner(tmp_path, world, writer)) as owner:
        await until(lambda: owner.state.connected)
        world.lost = True
        await until(lambda: world.opened == 2)


async def test_bug_in_camera_code_is_a_named_fault(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    world.faults.append(ZeroDivisionError("oops"))
    async with running(make_owner(tmp_path, world, writer)) as owner:
        events = await burst_of(owner, 0.4)
    assert [e["name"] for e in events if e["event"] == "fault"] == ["internal"]
    assert events[-1]["event"] == "end"


async def test_a_camera_that_cannot_be_met_is_a_named_fault_and_tried_again(
    tmp_path: Path, world: World, writer: FakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    meet, faults = Metering.meet, [TypeError("no such limits")]

    def odd(self: Metering, *given: Any) -> None:
        if faults:
            raise faults.pop()
        meet(self, *given)

    monkeypatch.setattr(Metering, "meet", odd)
    async with running(make_owner(tmp_path, world, writer)) as owner:
        await until(lambda: owner.state.connected)  # nobody asks: its keeper lives on
        assert owner.state.fault_counts["internal"] == 1
        assert world.log[:3] == ["open", "abort", "close"]  # not left open without its limits
        events = await burst_of(owner, 0.3)
    assert events[-1]["brackets"] > 0


async def test_next_exposure_runs_while_the_last_is_written(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    writer.gate.clear()
    async with running(make_owner(tmp_path, world, writer)) as owner:
        burst = owner.begin_burst(soon(5.0), "run")
        await until(lambda: world.shots >= 2)
        assert writer.stored == []
        assert burst.events.empty()  # nothing is announced before it is durable
        writer.gate.set()
        burst.unwanted = True
        events = await collect(owner, burst)
    assert events[-1]["brackets"] == len(writer.stored) == world.shots


async def test_slow_disk_holds_the_camera_and_drops_nothing(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    writer.gate.clear()
    async with running(make_owner(tmp_path, world, writer)) as owner:
        burst = owner.begin_burst(soon(0.5), "run")
        await asyncio.sleep(0.3)
        assert world.shots <= 5  # bounded: one written, two queued, one held, one more at most
        held = world.shots
        writer.gate.set()
        events = await collect(owner, burst)
    assert world.shots > held
    assert kinds(events).count("bracket") == len(writer.stored) == world.shots


async def test_full_disk_pauses_and_resumes_by_itself(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    writer.errors.extend([OSError(errno.ENOSPC, "No space left on device")] * 4)
    async with running(make_owner(tmp_path, world, writer)) as owner:
        burst = owner.begin_burst(soon(1.0), "run")
        await until(lambda: owner.state.name == "paused")
        assert "disk is full" in owner.state.as_json()["fault"]["message"]
        events = await collect(owner, burst)
        assert owner.state.name == "ready"
    faults = [e for e in events if e["event"] == "fault"]
    assert [f["name"] for f in faults] == ["disk-full"]
    assert "storage.root" in faults[0]["message"]
    assert kinds(events).count("bracket") == len(writer.stored) == world.shots > 1


async def test_too_little_room_takes_no_exposure(
    tmp_path: Path, world: World, writer: FakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 0.5e9

    class Usage:
        @property
        def free(self) -> float:
            return free

    monkeypatch.setattr("allsky360.owner.store.shutil.disk_usage", lambda _: Usage())
    owner = make_owner(tmp_path, world, writer, storage={"min_free_gb": 1.0})
    async with running(owner):
        burst = owner.begin_burst(soon(1.0), "run")
        await until(lambda: owner.state.name == "paused")
        await asyncio.sleep(0.2)
        assert world.shots == 0
        assert "storage.min_free_gb" in owner.state.as_json()["fault"]["message"]
        free = 5e9
        events = await collect(owner, burst)
    assert kinds(events)[0] == "fault"
    assert kinds(events).count("fault") == 1
    assert events[-1]["brackets"] == len(writer.stored) > 0


async def test_a_bracket_the_archive_refuses_is_put_aside(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    writer.errors.extend([AllskyError("raw.zarr is damaged.", mend="Mend it.")] * 4)
    async with running(make_owner(tmp_path, world, writer)) as owner:
        events = await burst_of(owner, 0.8)
    rescued = list((tmp_path / "fake" / "rescue").glob("*.npz"))
    assert len(rescued) == 1
    with np.load(rescued[0]) as file:
        assert file["pixels_0"].shape == (32, 32)
        header = json.loads(str(file["header"]))[0]
    assert (header["camera"], header["binning"], header["frame_type"]) == ("Fake", 1, "light")
    assert datetime.fromisoformat(header["start"]).tzinfo is not None
    assert any(rescued[0].name in e.get("message", "") for e in events)
    assert len(writer.stored) == world.shots - 1


async def test_an_archive_that_cannot_even_be_closed_stops_nothing(
    tmp_path: Path, world: World, writer: FakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close() -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(writer, "close", close)
    writer.errors.extend([OSError(errno.EIO, "Input/output error")] * 4)
    async with running(make_owner(tmp_path, world, writer)) as owner:
        await burst_of(owner, 0.8)
        assert owner.state.name == "ready"
    assert len(list((tmp_path / "fake" / "rescue").glob("*.npz"))) == 1
    assert len(writer.stored) == world.shots - 1 > 0


async def test_a_bracket_that_cannot_be_rescued_does_not_end_the_next(
    tmp_path: Path, world: World, writer: FakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("cannot be pickled")

    monkeypatch.setattr("allsky360.owner.store.save_bracket", fails)
    writer.errors.extend([AllskyError("raw.zarr is damaged.")] * 4)
    async with running(make_owner(tmp_path, world, writer)) as owner:
        events = await burst_of(owner, 0.8)
    assert any("cannot be pickled" in e.get("message", "") for e in events)
    assert events[-1]["event"] == "end"
    assert len(writer.stored) == world.shots - 1 > 0


async def test_a_bracket_that_cannot_be_measured_is_stored(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    owner = make_owner(tmp_path, world, writer, camera={"black_level_adu": 65535.0})
    async with running(owner):
        events = await burst_of(owner, 0.3)
    assert any("camera.black_level_adu" in e.get("message", "") for e in events)
    brackets = [e for e in events if e["event"] == "bracket"]
    assert len(brackets) == len(writer.stored) == world.shots > 0
    assert brackets[0]["level"] is None


async def test_a_folder_that_cannot_be_written_takes_no_exposure(
    tmp_path: Path, world: World, writer: FakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = True
    monkeypatch.setattr("allsky360.owner.store.os.access", lambda *_: not closed)
    async with running(make_owner(tmp_path, world, writer)) as owner:
        burst = owner.begin_burst(soon(1.0), "run")
        await until(lambda: owner.state.name == "paused")
        fault = owner.state.as_json()["fault"]
        assert fault["name"] == "not-writable"
        assert "storage.root" in fault["message"]
        assert world.shots == 0
        closed = False
        events = await collect(owner, burst)
    assert events[-1]["brackets"] == len(writer.stored) > 0


async def test_caller_hangs_up(tmp_path: Path, world: World, writer: FakeWriter) -> None:
    async with running(make_owner(tmp_path, world, writer)) as owner:
        burst = owner.begin_burst(soon(60.0), "run")
        stream = owner.events(burst)
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        await until(lambda: owner.state.burst is None)
        await until(lambda: len(writer.stored) == world.shots)


async def test_bursts_never_overlap_and_leave_no_gap(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    async with running(make_owner(tmp_path, world, writer)) as owner:
        await until(lambda: owner.state.connected)
        writer.slow_s = 0.05
        first = owner.begin_burst(soon(0.4), "first")
        second = owner.begin_burst(soon(0.8), "second")
        late = owner.begin_burst(soon(0.1), "late")  # its slot is over before its turn
        a, b, c = await asyncio.gather(*(collect(owner, x) for x in (first, second, late)))
    assert a[-1]["brackets"] > 0
    assert b[-1]["brackets"] > 0
    assert c == [{"event": "end", "brackets": 0, "open_s": 0.0, "elapsed_s": c[-1]["elapsed_s"]}]
    indices = [e["index"] for e in a + b if e["event"] == "bracket"]
    assert indices == list(range(len(indices)))  # FakeCamera itself asserts that none overlap
    assert first.ended <= second.began < first.ended + 0.2


async def test_switched_off_period_waits(tmp_path: Path, world: World, writer: FakeWriter) -> None:
    off = {"enabled": False}
    more = {"exposure": {"day": off, "night": off, "twilight": off}}
    async with running(make_owner(tmp_path, world, writer, **more)) as owner:
        events = await burst_of(owner, 0.3)
    assert kinds(events) == ["idle", "end"]
    assert "off" in events[0]["reason"]
    assert world.shots == 0


async def test_abort_costs_one_exposure(tmp_path: Path, world: World, writer: FakeWriter) -> None:
    world.exposure_wall_s = 0.3
    async with running(make_owner(tmp_path, world, writer)) as owner:
        assert await owner.abort() is False
        burst = owner.begin_burst(soon(0.5), "run")
        await until(lambda: owner.state.exposing)
        assert await owner.abort() is True
        events = await collect(owner, burst)
    assert kinds(events)[0] == "fault"
    assert events[0]["name"] == "aborted"
    assert kinds(events)[-1] == "end"
    assert len(writer.stored) == world.shots >= 1


async def test_stop_aborts_a_long_exposure_and_keeps_what_was_read_out(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    period = {
        "exposures": 2,
        "step_ev": 1.0,
        "min_exposure_s": 0.001,
        "every_s": 0.0,
        "max_exposure_s": 30.0,
    }
    more: dict[str, Any] = {"exposure": dict.fromkeys(("day", "twilight", "night"), period)}
    more["exposure"]["start_exposure_s"] = 30.0
    world.level = 0.004  # 30 s is right
    owner = make_owner(tmp_path, world, writer, **more)
    await owner.start()
    burst = owner.begin_burst(soon(60), "run")
    await until(lambda: world.shots == 1)
    world.exposure_wall_s = 30.0
    await until(lambda: world.shots % 2 == 1 and world.running)
    await asyncio.sleep(0.05)
    began = time.monotonic()
    await owner.stop()
    assert time.monotonic() - began < 15
    events = await collect(owner, burst)
    assert events[-1]["event"] == "end"
    assert sum(len(b.exposures) for b, _ in writer.stored) == world.shots
    assert writer.closed


async def test_stop_waits_for_a_short_exposure(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    world.exposure_wall_s = 0.3
    owner = make_owner(tmp_path, world, writer)
    await owner.start()
    burst = owner.begin_burst(soon(60), "run")
    await until(lambda: owner.state.exposing)
    await owner.stop()
    events = await collect(owner, burst)
    assert kinds(events) == ["bracket", "end"]
    assert world.shots == len(writer.stored) == 1


async def test_wall_clock_that_jumps_back_does_not_lengthen_a_burst(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    class Jumping:
        offset = timedelta(0)

        def now(self) -> datetime:
            return datetime.now(UTC) + self.offset

        def wall_s(self, seconds: float) -> float:
            return seconds

    clock = Jumping()
    world.clock = clock  # type: ignore[assignment]
    owner = make_owner(tmp_path, world, writer, clock)  # type: ignore[arg-type]
    async with running(owner):
        burst = owner.begin_burst(soon(1.5), "run")
        await until(lambda: world.shots >= 2)
        clock.offset = timedelta(hours=-2)
        began = time.monotonic()
        events = await collect(owner, burst)
        assert time.monotonic() - began < 5
    assert events[-1]["event"] == "end"
    starts = [b.start for b, _ in writer.stored]
    assert any(b < a for a, b in pairwise(starts))  # true times, as the clock said them


async def test_night_changes_at_local_noon(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    # La Palma's mean noon is 13:11:32 UTC: a busy machine has 1.5 s to begin before it
    clock = rehearsal(datetime(2026, 1, 10, 13, 10, 2, tzinfo=UTC), rate=60.0)
    world.clock = clock
    async with running(make_owner(tmp_path, world, writer, clock)) as owner:
        events = await burst_of(owner, 3.0)
    nights = [e["night"] for e in events if e["event"] == "bracket"]
    assert nights == sorted(nights)
    assert set(nights) == {"2026-01-09", "2026-01-10"}


async def test_a_restart_begins_converged(tmp_path: Path, writer: FakeWriter) -> None:
    world = World(level=0.05)
    async with running(make_owner(tmp_path, world, writer)) as owner:
        await burst_of(owner, 0.1)
        first = owner._metering.plan()[0]
    async with running(make_owner(tmp_path, World(level=0.05), FakeWriter())) as again:
        await until(lambda: again.state.connected)
        assert again._metering.plan()[0].exposure_s == pytest.approx(first.exposure_s, rel=0.05)
        assert first.exposure_s != pytest.approx(1.0, rel=0.3)


async def test_a_damaged_memory_is_no_obstacle(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "exposure-control.json").write_text('{"camera": "Fake", "sky": NaN')
    async with running(make_owner(tmp_path, world, writer)) as owner:
        events = await burst_of(owner, 0.1)
    assert events[-1]["brackets"] >= 1


async def test_stop_while_the_disk_is_full_saves_what_it_can(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    writer.errors.extend([OSError(errno.ENOSPC, "No space left on device")] * 100_000)
    owner = make_owner(tmp_path, world, writer)
    owner._store.recheck_s = 0.5
    await owner.start()
    burst = owner.begin_burst(soon(60), "run")
    await until(lambda: owner.state.name == "paused")
    await owner.stop()
    events = await collect(owner, burst)
    assert events[-1]["event"] == "end"
    # the archive's disk is only said to be full: aside there is room
    assert len(list((tmp_path / "fake" / "rescue").glob("*.npz"))) == world.shots > 0
    assert not list((tmp_path / "fake" / "rescue").glob("*.part"))


# -- nobody asks --------------------------------------------------------------------------------


async def test_the_owner_captures_alone_while_nobody_asks_and_makes_way(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    owner = make_owner(tmp_path, world, writer, capture={"alone_after_s": 0.2})
    async with running(owner):
        await until(lambda: len(writer.stored) >= 3)
        assert owner.state.burst == loop_module.ALONE
        events = await burst_of(owner, 0.3, "asked-for")
        assert kinds(events)[-1] == "end"
        assert events[-1]["brackets"] >= 2
        taken = len(writer.stored)
        await until(lambda: len(writer.stored) > taken)  # and goes on after it
        assert owner.state.burst == loop_module.ALONE
    spans = sorted(world.spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))  # never two exposures at once


async def test_alone_begins_at_once_where_the_caller_is_gone(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    """A flow run that is killed with its runner must not cost the seconds of `alone_after_s`."""
    owner = make_owner(tmp_path, world, writer, capture={"alone_after_s": 3600.0})
    async with running(owner):
        events = owner.events(owner.begin_burst(soon(600), "killed"))
        assert (await anext(events))["event"] == "bracket"
        await events.aclose()
        await until(lambda: owner.state.burst == loop_module.ALONE)


async def test_alone_goes_on_after_a_camera_fault(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    owner = make_owner(tmp_path, world, writer, capture={"alone_after_s": 0.05, "retries": 0})
    async with running(owner):
        await until(lambda: len(writer.stored) >= 1)
        world.faults.extend([DeviceGone("unplugged"), DeviceGone("unplugged")])
        taken = len(writer.stored)
        await until(lambda: not world.faults and len(writer.stored) > taken)


async def test_with_zero_nobody_captures_unasked(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    owner = make_owner(tmp_path, world, writer, capture={"alone_after_s": 0.0})
    async with running(owner):
        await asyncio.sleep(0.4)
    assert writer.stored == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.ESTALE])
async def test_a_disk_that_is_closed_for_long_costs_no_bracket(
    tmp_path: Path, world: World, writer: FakeWriter, number: int
) -> None:
    """Longer than any number of tries: what waits is kept until the disk is back."""
    writer.errors.extend([OSError(number, "closed")] * 12)
    owner = make_owner(tmp_path, world, writer, capture={"alone_after_s": 0.0})
    async with running(owner):
        events = await burst_of(owner, 2.0)
    assert [e["name"] for e in events if e["event"] == "fault"] == ["not-writable"]
    assert len(writer.stored) == world.shots
    assert not (tmp_path / "fake" / "rescue").exists()


def _every(seconds: float, **more: Any) -> dict[str, Any]:
    period = {"exposures": 1, "min_exposure_s": 0.001, "every_s": seconds, **more}
    return {"exposure": dict.fromkeys(("day", "twilight", "night"), period)}


async def test_brackets_keep_their_distance_also_from_burst_to_burst(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    async with running(make_owner(tmp_path, world, writer, **_every(0.3))) as owner:
        for run in range(3):
            events = await burst_of(owner, 0.5, f"run-{run}")
            assert kinds(events)[-1] == "end"
    begins = [began for began, _ in world.spans]
    assert len(begins) >= 4
    assert all(b - a >= 0.29 for a, b in pairwise(begins[1:]))


async def test_while_the_exposure_is_sought_brackets_do_not_wait(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    world.level = 50.0  # full at the first exposure
    async with running(make_owner(tmp_path, world, writer, **_every(60.0))) as owner:
        await burst_of(owner, 1.5)
    full = [s["saturated_fraction"] > 0.5 for _, s in writer.stored]
    assert full[0]
    assert 2 <= len(full) <= 6  # and then it waits: a bracket takes 10 ms
    last = writer.stored[-1][1]
    assert last["level"] == pytest.approx(last["target"], rel=0.5)


async def test_a_bracket_that_failed_is_repeated_at_once(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    world.faults.extend([None, TruncatedImage("made by the test")])
    more = _every(60.0, exposures=2, step_ev=1.0)
    async with running(make_owner(tmp_path, world, writer, **more)) as owner:
        await burst_of(owner, 1.5)
    assert [len(b.exposures) for b, _ in writer.stored] == [1, 2]


async def test_a_burst_that_waits_makes_way_when_its_caller_is_gone(
    tmp_path: Path, world: World, writer: FakeWriter
) -> None:
    async with running(make_owner(tmp_path, world, writer, **_every(60.0))) as owner:
        first = owner.begin_burst(soon(60), "first")
        async for event in owner.events(first):
            assert event["event"] == "bracket"
            break
        async with asyncio.timeout(10):
            events = await burst_of(owner, 0.2, "second")
    assert kinds(events) == ["end"]
