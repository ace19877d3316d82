"""The running service: events and their resume, the owner's status, start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from allsky360.api.app import create_app
from allsky360.api.server import serve
from allsky360.config import Settings
from allsky360.net import CannotListen, listening_socket
from tests.api.conftest import DUSK, House
from tests.api.sky_house import add_product

API = "/api/v1"
MINUTE = timedelta(minutes=1)


@contextlib.asynccontextmanager
async def running(app: FastAPI, port: int) -> AsyncIterator[str]:
    """Serve an application in this loop."""
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening_socket("127.0.0.1", port, "api")]))
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        if hasattr(app.state, "service"):
            app.state.service.feed.close()
        server.should_exit = True
        await asyncio.wait_for(task, 20)


@dataclass(frozen=True)
class Heard:
    """One event as a reader gets it."""

    id: str
    name: str
    data: dict[str, Any]


async def followed(app: FastAPI) -> None:
    """Wait until somebody follows the events."""
    async with asyncio.timeout(10):
        while not app.state.service.load.streams:
            await asyncio.sleep(0.02)


KINDS = ("hello", "frame", "state", "reset")


class Reader:
    """A reader of the event stream that remembers the last id, as a browser does."""

    def __init__(self, base: str, kinds: tuple[str, ...] = KINDS) -> None:
        self.base = base
        self.kinds = kinds
        self.last: str | None = None

    async def hear(self, count: int, timeout_s: float = 15.0) -> list[Heard]:
        """Connect, take ``count`` events, hang up."""
        headers = {"last-event-id": self.last} if self.last else {}
        heard: list[Heard] = []
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(timeout=None, trust_env=False) as client,
            client.stream("GET", f"{self.base}{API}/events", headers=headers) as stream,
        ):
            assert stream.headers["content-type"].startswith("text/event-stream")
            fields: dict[str, str] = {}
            async for line in stream.aiter_lines():
                if line and not line.startswith(":"):
                    key, _, value = line.partition(": ")
                    fields[key] = value
                elif not line and "event" in fields:
                    event = Heard(fields["id"], fields["event"], json.loads(fields["data"]))
                    fields = {}
                    if event.name not in self.kinds:
                        continue
                    heard.append(event)
                    self.last = event.id
                    if len(heard) == count:
                        break
        return heard


def frames_of(heard: list[Heard]) -> list[str]:
    return [e.data["id"] for e in heard if e.name == "frame"]


async def primed(app: FastAPI) -> None:
    """Wait until the watcher has had its first look."""
    async with asyncio.timeout(10):
        while not app.state.service.watcher._primed:
            await asyncio.sleep(0.02)


async def test_events_come_once_in_order_and_resume(house: House, settings: Settings) -> None:
    refs = [house.capture(DUSK + i * MINUTE) for i in range(6)]
    house.process(refs[0])
    app = create_app(settings)
    async with running(app, settings.api.port) as base:
        await primed(app)
        reader = Reader(base)
        listening = asyncio.create_task(reader.hear(2))
        await followed(app)
        house.process(refs[2])  # out of order, as workers do
        first = await listening
        assert first[0].name == "hello"
        assert frames_of(first) == [refs[2].id]
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            frame = (await client.get(first[1].data["href"])).json()
        assert frame["id"] == refs[2].id
        # the stream is cut; two frames are committed meanwhile, an older one among them
        for ref in (refs[1], refs[3]):
            house.process(ref)
            await asyncio.sleep(0.6)
        assert frames_of(await reader.hear(2)) == [refs[1].id, refs[3].id]
        # processed again: announced again
        house.process(refs[0])
        assert frames_of(await reader.hear(1)) == [refs[0].id]

    # the service was restarted; a frame was committed while it was down
    house.process(refs[4])
    app = create_app(settings)
    async with running(app, settings.api.port) as base:  # the reader is there before its first look
        assert frames_of(await reader.hear(1)) == [refs[4].id]
        house.process(refs[5])
        assert frames_of(await reader.hear(1)) == [refs[5].id]


async def test_products_are_told_across_a_restart_once_each(
    house: House, settings: Settings
) -> None:
    """A product made just before the service went, one made while it was down, frames between."""
    refs = [house.capture(DUSK + i * MINUTE) for i in range(3)]
    house.process(refs[0])
    add_product(house, refs[0], b"old", "startrails")
    reader = Reader("", ("hello", "frame", "product"))
    app = create_app(settings)
    async with running(app, settings.api.port) as reader.base:
        await primed(app)
        listening = asyncio.create_task(reader.hear(2))
        await followed(app)
        house.process(refs[1])
        assert told(await listening)[1:] == [refs[1].id]
        add_product(house, refs[0], b"one", "keogram")  # announced, but nobody listens
        async with asyncio.timeout(10):
            while app.state.service.feed.sequence < 3:
                await asyncio.sleep(0.02)
    add_product(house, refs[0], b"two", "panorama")
    house.process(refs[2])
    app = create_app(settings)
    async with running(app, settings.api.port) as reader.base:
        assert told(await reader.hear(3)) == ["keogram", "panorama", refs[2].id]
        add_product(house, refs[0], b"again", "keogram")
        assert told(await reader.hear(1)) == ["keogram"]


def told(heard: list[Heard]) -> list[str]:
    return [str(e.data.get("id") or e.data.get("name")) for e in heard]


@pytest.mark.parametrize("last", ["nonsense", "-1", "0-0-0-0", "é"])
async def test_an_unknown_id_is_told_to_read_again(
    house: House, settings: Settings, last: str
) -> None:
    app = create_app(settings)
    async with running(app, settings.api.port) as base:
        await primed(app)
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            address = httpx.URL(f"{base}{API}/events", params={"after": last})
            async with client.stream("GET", address) as stream:
                async for line in stream.aiter_lines():
                    if line.startswith("event:"):
                        assert line == "event: reset"
                        break
            head = await client.head(f"{base}{API}/events")
        assert head.headers["content-type"].startswith("text/event-stream")
        async with asyncio.timeout(10):
            while app.state.service.load.streams:
                await asyncio.sleep(0.05)


def owner_app(status: dict[str, Any]) -> FastAPI:
    app = FastAPI()

    @app.get("/status")
    async def answer() -> dict[str, Any]:
        return status

    return app


async def test_the_owner_speaks_through_status_and_events(house: House, settings: Settings) -> None:
    says: dict[str, Any] = {"state": "exposing", "fault": None, "camera": "Sim", "faults": 3}
    house.shoot(DUSK - timedelta(days=30))
    app = create_app(settings)
    app.state.service.owner.keep_s = 0.0
    async with (
        running(owner_app(says), settings.owner.port),
        running(app, settings.api.port) as base,
        httpx.AsyncClient(base_url=base, trust_env=False) as client,
    ):
        status = (await client.get(f"{API}/status")).json()
        assert status["owner"]["camera"] == "Sim"
        assert status["state"] == "stale"  # the only frame is from another day
        async with asyncio.timeout(10):
            while app.state.service.watcher._state is None:
                await asyncio.sleep(0.05)
        reader = Reader(base)
        listening = asyncio.create_task(reader.hear(2))
        await followed(app)
        says |= {"state": "fault", "fault": {"name": "device-gone", "message": "Unplugged."}}
        event = (await listening)[1]
        assert event.name == "state"
        assert event.data["state"] == "fault"
        assert "Unplugged." in event.data["message"]
        status = (await client.get(f"{API}/status")).json()
        assert status["message"] == "Camera fault (device-gone): Unplugged."


@pytest.mark.parametrize("status", [500, 200])
async def test_an_owner_that_talks_nonsense_counts_as_absent(
    settings: Settings, status: int
) -> None:
    from fastapi import Response

    odd = FastAPI()

    @odd.get("/status")
    async def answer() -> Response:
        return Response("[1, 2", status_code=status)

    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        running(odd, settings.owner.port),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        assert (await client.get(f"{API}/status")).json()["owner"] is None


def test_a_port_in_use_is_one_clear_error(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.api.port))
        taken.listen()
        with pytest.raises(CannotListen, match=rf"api\.port: .*{settings.api.port} is in use") as e:
            serve(settings)
    assert "set another api.port" in str(e.value)
    with pytest.raises(CannotListen, match=r"api\.host"):
        listening_socket("192.0.2.1", settings.api.port, "api")


@pytest.mark.slow
def test_the_command_serves_and_stops_with_open_streams(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    environment = os.environ | {
        "ALLSKY360_STORAGE__ROOT": str(tmp_path / "none"),
        "ALLSKY360_API__PORT": str(port),
        "ALLSKY360_OWNER__PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "allsky360.cli", "api"]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        base = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=base, timeout=10, trust_env=False) as client:
            for _ in range(300):
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"{API}/health").status_code == 200:
                        break
                assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
            with client.stream("GET", f"{API}/events") as stream:
                lines = stream.iter_lines()
                assert next(lines).startswith("retry:")
                second = subprocess.run(
                    command, env=environment, cwd=tmp_path, capture_output=True, timeout=60
                )
                assert second.returncode == 2
                assert f"api.port: 127.0.0.1:{port} is in use".encode() in second.stderr
                assert b"Traceback" not in second.stderr
                process.send_signal(signal.SIGTERM)
                for _ in lines:  # ends because the service says goodbye
                    pass
        process.wait(15)
        _, errors = process.communicate(timeout=5)
        assert b"Traceback" not in errors
        assert not (tmp_path / "none").exists()
    finally:
        process.kill()
