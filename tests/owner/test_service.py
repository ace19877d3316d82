"""The control service over real HTTP, as flows and people use it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from allsky360.clock import REAL_CLOCK
from allsky360.errors import AllskyError, SettingsError
from allsky360.net import CannotListen, listening_socket
from allsky360.owner import loop as loop_module
from allsky360.owner.client import OwnerClient, OwnerRefused, OwnerUnreachable
from allsky360.owner.loop import Owner
from allsky360.owner.service import camera_address, create_app, run, serve
from tests.owner.fakes import SITE, FakeCamera, FakeWriter, World, make_owner, make_settings, soon

REPOSITORY = Path(__file__).parents[2]


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen")


@contextmanager
def served(root: Path, world: World, writer: FakeWriter) -> Iterator[str]:
    """Serve an owner in a thread of its own."""
    address: list[str] = []
    server: list[uvicorn.Server] = []

    async def run() -> None:
        owner = Owner(
            make_settings(root),
            SITE,
            REAL_CLOCK,
            lambda: FakeCamera(world),
            lambda name: writer,
            recheck_s=0.05,
        )
        sock = listening_socket("127.0.0.1", 0, "owner")
        it = uvicorn.Server(
            uvicorn.Config(create_app(owner), log_level="warning", timeout_graceful_shutdown=3)
        )
        server.append(it)
        address.append(f"http://127.0.0.1:{sock.getsockname()[1]}")
        await it.serve(sockets=[sock])

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    wait_for(lambda: server and server[0].started)
    try:
        yield address[0]
    finally:
        server[0].should_exit = True
        thread.join(20)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def writer() -> FakeWriter:
    return FakeWriter()


@pytest.fixture
def client(tmp_path: Path, world: World, writer: FakeWriter) -> Iterator[OwnerClient]:
    with served(tmp_path, world, writer) as url, OwnerClient(url) as client:
        yield client


def test_status_is_as_documented(client: OwnerClient) -> None:
    status = wait_for(lambda: (s := client.status())["state"] == "ready" and s)
    assert status["camera"] == "Fake"
    assert {"fault", "burst", "plan", "last_frame", "frames", "faults"} <= set(status)
    assert status["fault"] is None


def test_burst_streams_events(client: OwnerClient, writer: FakeWriter) -> None:
    events = list(client.burst(soon(0.4), "run-1"))
    assert {e["event"] for e in events[:-1]} == {"bracket"}
    assert events[-1]["event"] == "end"
    assert len(writer.stored) == events[-1]["brackets"] > 0
    status = client.status()
    assert status["last_frame"]["index"] == len(writer.stored) - 1
    assert status["plan"]["period"] in ("day", "twilight", "night")


def test_caller_that_hangs_up_ends_the_burst_in_good_order(
    client: OwnerClient, world: World, writer: FakeWriter
) -> None:
    stream = client.burst(soon(120.0), "run-1")
    assert next(stream)["event"] == "bracket"
    stream.close()  # type: ignore[attr-defined]
    wait_for(lambda: client.status()["burst"] is None)
    wait_for(lambda: len(writer.stored) == world.shots)


def test_second_caller_waits_its_turn(client: OwnerClient, writer: FakeWriter) -> None:
    results: dict[str, list[dict[str, Any]]] = {}

    def call(name: str, seconds: float) -> None:
        with OwnerClient(client.url) as own:
            results[name] = list(own.burst(soon(seconds), name))

    threads = [threading.Thread(target=call, args=a) for a in (("a", 0.5), ("b", 1.0))]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join(20)
    indices = [e["index"] for n in "ab" for e in results[n] if e["event"] == "bracket"]
    assert indices == list(range(len(writer.stored)))
    assert results["b"][-1]["brackets"] > 0


def test_abort(client: OwnerClient, world: World) -> None:
    assert client.abort() is False
    world.exposure_wall_s = 20.0
    stream = client.burst(soon(1.0), "run")
    thread = threading.Thread(
        target=lambda: wait_for(lambda: client.status()["state"] == "exposing" and client.abort())
    )
    thread.start()
    first = next(stream)
    world.exposure_wall_s = 0.01
    assert first["name"] == "aborted"
    thread.join(20)
    stream.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"until": "tomorrow", "run_id": "x"},
        {"until": "2026-01-01T00:00:00", "run_id": "x"},  # no zone
        {"until": "2099-01-01T00:00:00Z", "run_id": "x"},
        {"until": "2026-01-01T00:00:00Z", "run_id": ""},
        {"until": "2026-01-01T00:00:00Z", "run_id": "x", "more": 1},
    ],
)
def test_bad_requests_are_refused(client: OwnerClient, body: dict[str, Any]) -> None:
    assert httpx.post(f"{client.url}/burst", json=body, trust_env=False).status_code == 422


def test_refusal_reaches_the_caller(client: OwnerClient) -> None:
    with pytest.raises(OwnerRefused, match="24 h"):
        next(client.burst(datetime.now(UTC) + timedelta(days=3), "run"))


def test_a_slot_that_is_over_takes_nothing(client: OwnerClient, world: World) -> None:
    events = list(client.burst(soon(-5.0), "late"))
    assert [e["event"] for e in events] == ["end"]
    assert world.shots == 0


def test_nobody_listens(free_port: Callable[[], int]) -> None:
    with OwnerClient(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(OwnerUnreachable, match="does not answer"):
            client.status()
        with pytest.raises(OwnerUnreachable, match="allsky360 owner"):
            next(client.burst(soon(1.0), "run"))


def test_port_in_use_is_one_clear_error(
    tmp_path: Path, world: World, writer: FakeWriter, free_port: Callable[[], int]
) -> None:
    port = free_port()
    with listening_socket("127.0.0.1", port, "owner"):

        async def second() -> None:
            await serve(make_owner(tmp_path, world, writer), "127.0.0.1", port)

        with pytest.raises(CannotListen, match=r"owner\.port"):
            asyncio.run(second())


def test_without_a_camera_server_the_simulator_is_asked(tmp_path: Path) -> None:
    assert camera_address(make_settings(tmp_path)) == ("127.0.0.1", 7625)
    real = make_settings(tmp_path, camera={"host": "dome", "port": 7000})
    assert camera_address(real) == ("dome", 7000)
    everywhere = make_settings(tmp_path, simulator={"host": "0.0.0.0"})
    assert camera_address(everywhere) == ("127.0.0.1", 7625)


def start_process(root: Path, port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.owner.process", str(root), str(port)], cwd=REPOSITORY
    )
    with OwnerClient(f"http://127.0.0.1:{port}") as client:

        def ready() -> bool:
            assert process.poll() is None, "the owner died"
            try:
                return client.status()["state"] == "ready"
            except OwnerUnreachable:
                return False

        wait_for(ready, 60.0)
    return process


@pytest.mark.slow
def test_kill_and_restart_resume_the_night(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    announced: list[dict[str, Any]] = []
    process = start_process(tmp_path, port)
    try:
        with OwnerClient(f"http://127.0.0.1:{port}") as client:
            stream = client.burst(soon(60.0), "before")
            announced.extend(next(stream) for _ in range(3))
            os.kill(process.pid, signal.SIGKILL)
            process.wait(20)
            with pytest.raises(OwnerUnreachable):
                announced.extend(stream)
        process = start_process(tmp_path, port)
        with OwnerClient(f"http://127.0.0.1:{port}") as client:
            events = list(client.burst(soon(1.0), "after"))
        after = [e for e in events if e["event"] == "bracket"]
        # Every announced frame has its own number, and the night goes on behind the last one.
        assert min(e["index"] for e in after) >= max(e["index"] for e in announced) + 1
        assert {e["night"] for e in announced + after} <= {
            SITE.night_of(datetime.now(UTC)).isoformat(),
            SITE.night_of(datetime.now(UTC) - timedelta(minutes=5)).isoformat(),
        }
        # SIGTERM in mid-burst: the stream ends in good order, the process with status 0 and soon.
        with OwnerClient(f"http://127.0.0.1:{port}") as client:
            stream = client.burst(soon(60.0), "last")
            next(stream)
            process.terminate()
            assert list(stream)[-1]["event"] == "end"
        assert process.wait(20) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "KEEP_S", 0.02)
    monkeypatch.setattr(loop_module, "MIN_RECONNECT_S", 0.02)


def test_without_a_site_the_owner_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"site\.latitude_deg"):
        run(make_settings(tmp_path))


def test_a_clock_beyond_the_ephemeris_is_one_clear_error(tmp_path: Path) -> None:
    site = {"latitude_deg": 28.0, "longitude_deg": -17.0}
    far = {"start": datetime(2099, 1, 1, tzinfo=UTC)}
    with pytest.raises(AllskyError, match="2099"):
        run(make_settings(tmp_path, site=site, clock=far))
