"""One real Prefect server, started offline: schedules make runs, runs take bursts, none pile up.

The smoke test that versions of Prefect's own dependencies have broken before, without a word.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from allsky360.config import Settings, load_settings
from allsky360.supervisor.prefect_env import prefect_environment
from tests.flows.fake_owner import FakeOwner

# 150 s on two idle cores
pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.long, pytest.mark.timeout(600)]
REPOSITORY = Path(__file__).parents[2]
SLOT_S = 20


class System:
    """Server and runner as processes, the owner as a thread."""

    def __init__(self, root: Path, free_port: Callable[[], int]) -> None:
        self.owner = FakeOwner(bracket_s=1.0)
        threading.Thread(target=self.owner.serve_forever, daemon=True).start()
        self.root = root
        self.ours = {
            "ALLSKY360_STORAGE__ROOT": str(root),
            "ALLSKY360_OWNER__PORT": str(self.owner.port),
            "ALLSKY360_CAPTURE__SLOT_S": str(SLOT_S),
            "ALLSKY360_PREFECT__PORT": str(free_port()),
            "ALLSKY360_DASK__PORT": str(free_port()),  # nobody there: bursts must go on
            "ALLSKY360_API__PORT": str(free_port()),
        }
        self.settings: Settings | None = None
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        assert self.settings is not None
        plain = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        environment = {
            **plain,
            **self.ours,
            **prefect_environment(self.settings),
            "PYTHONPATH": str(REPOSITORY),
        }
        with (self.root / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def start_server(self) -> None:
        assert self.settings is not None
        p = self.settings.prefect
        server = self.start(
            "server", "prefect", "server", "start", "--host", p.host, "--port", str(p.port)
        )
        wait_for(lambda: self.api("GET", "health") is True, 150, server)

    def api(self, method: str, path: str, **body: Any) -> Any:
        assert self.settings is not None
        url = f"http://127.0.0.1:{self.settings.prefect.port}/api/{path}"
        try:
            reply = httpx.request(method, url, json=body or None, timeout=20, trust_env=False)
        except httpx.HTTPError:
            return None
        return reply.json() if reply.status_code in (200, 201) and reply.content else None

    def runs(self, flow: str, *states: str) -> list[dict[str, Any]]:
        found = self.api(
            "POST",
            "flow_runs/filter",
            flows={"name": {"any_": [flow]}},
            flow_runs={"state": {"name": {"any_": list(states)}}},
            sort="EXPECTED_START_TIME_DESC",
        )
        return found or []

    def limits(self) -> list[dict[str, Any]]:
        return self.api("POST", "v2/concurrency_limits/filter", limit=50) or []

    def log(self, name: str) -> str:
        return (self.root / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        for process in reversed(self.processes):
            kill_group(process)
        self.owner.shutdown()
        self.owner.server_close()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a part as the supervisor and systemd do: with everything it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(
    condition: Callable[[], object], seconds: float, process: subprocess.Popen[bytes] | None = None
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, "the process ended"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.25)


@pytest.fixture
def system(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[System]:
    made = System(tmp_path, free_port)
    for name, value in made.ours.items():
        monkeypatch.setenv(name, value)
    made.settings = load_settings()
    try:
        yield made
    except BaseException:
        for name in ("server", "runner"):
            if (tmp_path / f"{name}.log").exists():
                print(f"--- {name}\n{made.log(name)[-4000:]}")  # noqa: T201
        raise
    finally:
        made.stop()


def test_scheduled_bursts_run_back_to_back_and_survive_a_killed_runner(system: System) -> None:
    owner = system.owner
    system.start_server()
    runner = system.start("runner", "flows.serve")

    # the schedule produces runs, and a run takes a burst
    wait_for(lambda: system.runs("capture-burst", "Scheduled"), 60, runner)
    wait_for(lambda: len(owner.bursts) >= 3, 120, runner)
    for burst in owner.bursts:
        until = datetime.fromisoformat(burst["until"])
        assert until.timestamp() % SLOT_S == 0
    for before, after in zip(owner.bursts, owner.bursts[1:], strict=False):
        assert before["ended"] <= after["begun"]  # one at a time
        assert before["until"] < after["until"]  # none missed, none twice
    wait_for(lambda: system.runs("capture-burst", "Completed"), 30, runner)
    assert system.runs("capture-burst", "Cancelled", "Crashed", "Failed") == []
    keys = {a["key"] for a in system.api("POST", "artifacts/filter", limit=50)}
    assert {"burst-progress", "burst-report"} <= keys
    assert "no Dask scheduler answers" in system.log("runner")

    # a place no run holds (what a server killed alone leaves) is given back
    (limit,) = [x for x in system.limits() if x["limit"] == 2]
    system.api("PATCH", f"v2/concurrency_limits/{limit['id']}", active_slots=9)
    wait_for(lambda: all(x["active_slots"] <= x["limit"] for x in system.limits()), 60, runner)

    # power cut for runner and server: the server forgets the lease, not the place it took
    for process in reversed(system.processes):
        kill_group(process)
    count = len(owner.bursts)
    system.start_server()
    runner = system.start("runner", "flows.serve")
    restarted = datetime.now(UTC)
    wait_for(lambda: len(owner.bursts) >= count + 2, 120, runner)
    crashed = system.runs("capture-burst", "Crashed")
    assert crashed
    assert all("runner was gone" in r["state"]["message"] for r in crashed)
    later = [b for b in owner.bursts if datetime.fromisoformat(b["called"]) > restarted]
    assert len({b["until"] for b in later}) == len(later), "runs piled up on one slot"
    assert len(system.runs("capture-burst", "Running", "Pending")) <= 2

    # a stop is clean: no run is left, and the schedule rests until somebody is there again
    runner.terminate()
    runner.wait(timeout=60)
    assert runner.returncode == 0
    assert system.runs("capture-burst", "Running", "Pending") == []
    found = system.api("POST", "deployments/filter", limit=20)
    assert {d["name"]: d["paused"] for d in found} == dict.fromkeys(
        (
            "every-slot",
            "catch-up",
            "daily",
            "hourly",
            "by-hand",
            "every-half-hour",
            "every-ten-minutes",
            "after-dawn",
        ),
        True,
    )
    assert json.dumps(found).count("allsky360") >= len(found)
