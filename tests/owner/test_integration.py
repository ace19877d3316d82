"""Simulator, camera client, owner and archive together, over real sockets, on a fast clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from allsky360.archive.raw import RawWriter
from allsky360.config import Settings, clock_from, site_from
from allsky360.owner.service import owner_from
from allsky360.simulator.factory import create_server

pytestmark = pytest.mark.slow


async def test_three_bursts_with_an_alert_in_between(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    now = datetime.now(UTC)
    period = {"exposures": 1, "target": 0.12, "max_exposure_s": 10.0, "max_gain": 200.0}
    settings = Settings(
        site={"name": "test", "latitude_deg": 28.76, "longitude_deg": -17.88},  # type: ignore[arg-type]
        storage={"root": tmp_path, "min_free_gb": 0.0},  # type: ignore[arg-type]
        simulator={"port": free_port(), "width": 320, "height": 240},  # type: ignore[arg-type]
        capture={"retry_delay_s": 0.2},  # type: ignore[arg-type]
        clock={"start": datetime(2026, 1, 12, 1, tzinfo=UTC), "rate": 30.0, "anchor": now},  # type: ignore[arg-type]
        exposure={"day": period, "twilight": period, "night": {**period, "exposures": 2}},  # type: ignore[arg-type]
    )
    async with create_server(settings, site_from(settings), clock_from(settings)) as server:
        owner = owner_from(settings)
        await owner.start()
        try:
            async with asyncio.timeout(60):
                while not owner.state.connected:
                    await asyncio.sleep(0.05)
            every = []
            for run in range(3):
                if run == 1:
                    server.arm({"alert": 1})
                until = datetime.now(UTC) + timedelta(seconds=4)
                events = [e async for e in owner.events(owner.begin_burst(until, f"run-{run}"))]
                assert events[-1]["event"] == "end", events
                assert events[-1]["brackets"] > 0
                faults = [e["name"] for e in events if e["event"] == "fault"]
                assert faults == (["alert"] if run == 1 else [])
                every += [e for e in events if e["event"] == "bracket"]
        finally:
            await owner.stop()
    assert [e["index"] for e in every] == list(range(len(every)))
    assert {e["night"] for e in every} == {"2026-01-11"}
    assert abs(every[-1]["level"] / 0.12 - 1) < 0.15 or every[-1]["exposures_s"][0] == 10.0
    # The archive was let go of, and holds what was announced.
    writer = RawWriter(tmp_path, owner.state.camera, site_from(settings))
    writer.close()
    assert len(list(tmp_path.glob("*/2026-01-11/raw.zarr"))) == 1
