"""Calibration frames through the owner: in turn with bursts, as files, and never silently fewer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from allsky360.camera.errors import CameraTimeout
from allsky360.camera.files import read_exposures
from allsky360.owner.calibration import FrameSet, frame_path
from allsky360.owner.client import OwnerClient, OwnerRefused
from allsky360.owner.service import create_app
from tests.owner.fakes import FakeWriter, World, make_owner, soon


async def gather(owner: Any, burst: Any) -> list[dict[str, Any]]:
    return [event async for event in owner.events(burst)]


async def test_frames_become_files_that_say_what_they_are(tmp_path: Path) -> None:
    world, writer = World(), FakeWriter()
    owner = make_owner(tmp_path, world, writer)
    await owner.start()
    try:
        wanted = FrameSet("dark", 2.5, 3, gain=120.0)
        events = await gather(owner, owner.begin_calibration(wanted, "run/1"))
    finally:
        await owner.stop()
    assert [e["event"] for e in events] == ["frame", "frame", "frame", "end"]
    assert events[-1]["frames"] == 3
    assert events[-1]["brackets"] == 0
    assert writer.stored == []
    for number, event in enumerate(events[:3], start=1):
        assert event["number"] == number
        path = tmp_path / event["file"]
        assert path == frame_path(tmp_path, "Fake", "run/1", wanted, number)
        (shot,) = read_exposures(path)
        assert (shot.frame_type, shot.exposure_s, shot.gain) == ("dark", 2.5, 120.0)
        assert (shot.camera, shot.pattern) == ("Fake", "RGGB")
    assert not list(tmp_path.rglob("*.partial"))


async def test_bursts_and_calibrations_take_turns(tmp_path: Path) -> None:
    world, writer = World(exposure_wall_s=0.02), FakeWriter()
    owner = make_owner(tmp_path, world, writer)
    await owner.start()
    try:
        first = owner.begin_burst(soon(0.3), "burst")
        second = owner.begin_calibration(FrameSet("bias", 0.0, 4), "darks")
        third = owner.begin_burst(soon(3.0), "after")
        ran = await asyncio.gather(*(gather(owner, b) for b in (first, second)))
        third.unwanted = True
        after = await gather(owner, third)
    finally:
        await owner.stop()
    assert any(e["event"] == "bracket" for e in ran[0])
    assert [e["event"] for e in ran[1]] == ["frame"] * 4 + ["end"]
    assert after[-1]["event"] == "end"
    assert world.running == 0


async def test_a_fault_is_tried_again_and_then_told(tmp_path: Path) -> None:
    world, writer = World(), FakeWriter()
    world.faults.extend([None, CameraTimeout("slow"), None])
    owner = make_owner(tmp_path, world, writer, capture={"retries": 1, "retry_delay_s": 0.1})
    await owner.start()
    try:
        events = await gather(owner, owner.begin_calibration(FrameSet("dark", 1.0, 2), "a"))
        assert [e["event"] for e in events] == ["frame", "fault", "frame", "end"]
        world.faults.extend([CameraTimeout("slow")] * 2)
        events = await gather(owner, owner.begin_calibration(FrameSet("dark", 1.0, 2), "b"))
        assert [e["event"] for e in events] == ["fault", "fault", "failed"]
    finally:
        await owner.stop()


async def test_a_stop_and_a_full_disk_are_told(tmp_path: Path) -> None:
    world, writer = World(exposure_wall_s=0.1), FakeWriter()
    owner = make_owner(tmp_path, world, writer)
    await owner.start()
    burst = owner.begin_calibration(FrameSet("dark", 1.0, 50), "long")
    await asyncio.sleep(0.35)
    await owner.stop()
    events = await gather(owner, burst)
    assert events[-1]["event"] == "failed"
    (tmp_path / "fake").mkdir(exist_ok=True)
    folder = tmp_path / "fake" / "calibration"
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    if folder.exists():
        folder.rmdir()
    folder.write_text("in the way")
    owner = make_owner(tmp_path, World(), FakeWriter())
    await owner.start()
    try:
        events = await gather(owner, owner.begin_calibration(FrameSet("bias", 0.0, 2), "x"))
    finally:
        await owner.stop()
    assert events[-1]["event"] == "failed"
    assert "cannot write a calibration frame" in events[-1]["message"]


async def test_the_service_refuses_nonsense(tmp_path: Path) -> None:
    app = create_app(make_owner(tmp_path, World(), FakeWriter()))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://owner") as http:
        good = {"kind": "dark", "exposure_s": 1.0, "count": 3, "run_id": "x"}
        for wrong in ({"kind": "light"}, {"count": 0}, {"exposure_s": -1}, {"more": 1}):
            reply = await http.post("/calibration", json=good | wrong)
            assert reply.status_code == 422


def test_the_client_names_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    client = OwnerClient("http://owner")
    refuse = httpx.MockTransport(lambda request: httpx.Response(422, text=request.url.path))
    monkeypatch.setattr(client, "_http", httpx.Client(transport=refuse, base_url="http://owner"))
    with pytest.raises(OwnerRefused, match="/calibration"):
        list(client.calibration("dark", 1.0, 2, run_id="x"))
