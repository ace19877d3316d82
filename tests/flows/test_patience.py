"""A flow run that hangs ends its process; one that is at work does not."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from allsky360.config import Settings
from tasks.burst import burst_limit_s, take_burst_for
from tasks.burst_log import BurstLog
from tasks.patience import OWN_PROCESS
from tasks.pending import FRAME_TIMEOUT_S, batch_limit_s
from tasks.slots import slot_at

HANGS = """
import ctypes, time
from tasks.patience import end_if_hung
for _ in range(3):  # three pieces of work, longer together than the limit
    end_if_hung(0.6)
    time.sleep(0.3)
print("at work", flush=True)
ctypes.PyDLL(None).sleep(60)  # holds the interpreter's lock: no Python code can run
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    here = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        cwd=here,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_process_that_hangs_in_a_library_ends_and_says_where() -> None:
    done = run(HANGS, **{OWN_PROCESS: "7d1f"})
    assert done.returncode == 1
    assert done.stdout == "at work\n"
    assert "Timeout" in done.stderr
    assert 'File "<string>", line 8' in done.stderr


def test_a_process_that_is_not_the_runs_own_is_left_alone() -> None:
    short = "import time\nfrom tasks.patience import end_if_hung\nend_if_hung(0.1)\ntime.sleep(0.3)"
    assert run(short).returncode == 0


def test_limits_leave_room_for_all_that_may_happen() -> None:
    settings = Settings()
    burst = BurstLog(slot_at(datetime.now(UTC), settings.capture.slot_s))
    one_try = take_burst_for(settings, burst).timeout_seconds
    assert one_try is not None
    assert burst_limit_s(settings, burst) > 2 * one_try
    over = BurstLog(slot_at(datetime.now(UTC) - timedelta(hours=1), settings.capture.slot_s))
    late = take_burst_for(settings, over).timeout_seconds
    assert late is not None
    assert late > 0
    assert batch_limit_s(20) > 4 * 20 * FRAME_TIMEOUT_S
