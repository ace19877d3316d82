"""The main job, end to end, on real parts, with each part killed in turn."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from allsky360.archive import verify_night
from tests.system.house import MARKS, House

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]

SMALL = {
    "ALLSKY360_SIMULATOR__WIDTH": "320",
    "ALLSKY360_SIMULATOR__HEIGHT": "240",
    "ALLSKY360_CAPTURE__SLOT_S": "20",
    "ALLSKY360_EXPOSURE__NIGHT__MAX_EXPOSURE_S": "2",
    "ALLSKY360_EXPOSURE__TWILIGHT__MAX_EXPOSURE_S": "2",
}


@pytest.mark.timeout(900)
def test_every_part_comes_back_no_frame_is_lost_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    with House(tmp_path, SMALL) as house:
        house.until("first frame on the live page", house.latest_id, 300)
        picture = httpx.get(f"http://127.0.0.1:{house.port['api']}/api/v1/latest/picture")
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content[:2] == b"\xff\xd8"
        seen: list[str] = []
        for part in MARKS:
            before = house.latest_id() if part != "api" else None
            pid = house.until(f"{part} to run", lambda part=part: house.pid(part), 120)
            os.kill(pid, signal.SIGKILL)
            house.until(
                f"{part} to come back",
                lambda part=part, pid=pid: house.pid(part) not in (None, pid),
                120,
            )
            before = before or house.until("the read service", house.latest_id, 60)
            seen.append(before)
            house.until(
                f"a new frame after {part} was killed",
                lambda before=before: house.latest_id() not in (None, before),
                180,
            )
        for frame in seen:  # announced before a kill: still there after all of them
            assert house.get("api", f"/api/v1/frames/{frame}"), frame
        left = [pid for part in MARKS if (pid := house.pid(part)) is not None]
        stopped_at = time.monotonic()
    assert house.process.returncode == 0
    assert time.monotonic() - stopped_at < 100
    assert len(left) == len(MARKS)
    assert not [pid for pid in left if Path(f"/proc/{pid}").exists()]
    nights = list((tmp_path / "data").glob("*/*/*/raw*.zarr"))
    assert nights
    for store in nights:
        problems = verify_night(store.parent)
        assert not [p for p in problems if p.severity == "error"], problems
    assert "stopped" in house.tail()
