"""What ``allsky360 up`` refuses, and whom it asks."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from allsky360.config import Settings
from allsky360.errors import AllskyError, SettingsError
from allsky360.supervisor import run, view
from allsky360.supervisor.parts import Part, parts_of
from allsky360.supervisor.probe import port_obstacle
from allsky360.supervisor.process import PartState

SITE = {"latitude_deg": 28.8, "longitude_deg": -17.9}


async def test_a_root_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(site=SITE, storage={"root": tmp_path / "file" / "data"})  # type: ignore[arg-type]
    with pytest.raises(AllskyError, match=r"storage\.root .*file/data cannot be written.*Mend"):
        await run._run(settings, Console())


async def test_a_second_one_on_the_same_archive_is_refused(tmp_path: Path) -> None:
    settings = Settings(site=SITE, storage={"root": tmp_path})  # type: ignore[arg-type]
    (tmp_path / "logs").mkdir()
    with (tmp_path / "logs" / "up.lock").open("ab") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(AllskyError, match="another 'allsky360 up' already runs on"):
            await run._run(settings, Console())


async def test_parts_are_started_shown_and_stopped_by_a_signal(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = {"owner": free_port(), "api": free_port()}
    (tmp_path / "www" / "api" / "v1").mkdir(parents=True)
    (tmp_path / "www" / "status").write_text('{"camera": "Toy", "state": "ready"}')
    (tmp_path / "www" / "api" / "v1" / "latest").write_text('{"id": "2026-11-22/000007"}')
    server = (
        sys.executable,
        "-m",
        "http.server",
        "--bind",
        "127.0.0.1",
        "-d",
        str(tmp_path / "www"),
    )
    parts = tuple(
        Part(name, (*server, str(port)), probe=f"http://127.0.0.1:{port}/")
        for name, port in ports.items()
    )
    monkeypatch.setattr(run, "parts_of", lambda _: parts)
    settings = Settings(  # type: ignore[arg-type]
        site=SITE,
        storage={"root": tmp_path / "data"},
        owner={"port": ports["owner"]},
        api={"port": ports["api"]},
    )
    console = Console(file=io.StringIO(), width=200)
    task = asyncio.create_task(run._run(settings, console))
    async with asyncio.timeout(30):
        while "000007" not in console.file.getvalue():  # type: ignore[attr-defined]
            await asyncio.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.index("api stopped") < shown.index("owner stopped")
    assert shown.endswith("allsky360 stopped\n")
    for port in ports.values():
        assert port_obstacle("127.0.0.1", port, "api.port") is None


def test_a_real_camera_needs_a_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[camera]\nhost = "dome"\n')
    monkeypatch.setenv("ALLSKY360_CONFIG", str(file))
    with pytest.raises(SettingsError, match=r"site\.latitude_deg"):
        run.up(Settings(camera={"host": "dome"}))  # type: ignore[arg-type]


async def test_a_program_on_a_blocked_port_is_not_taken_for_ours() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"id": "2026-11-22/000001"})

    states = {name: PartState(Part(name, ("x",))) for name in ("owner", "api")}
    progress = view.Progress("site", "/data")
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        await run._ask(Settings(), progress, states, client)
        assert (progress.owner, progress.latest, asked) == (None, None, [])
        for state in states.values():
            state.healthy = True
        await run._ask(Settings(), progress, states, client)
    assert asked == ["/status", "/api/v1/latest"]
    assert progress.latest == {"id": "2026-11-22/000001"}


def test_addresses_are_urls_also_with_ipv6_and_wildcards() -> None:
    settings = Settings(owner={"host": "::1"}, api={"host": "0.0.0.0"})  # type: ignore[arg-type]
    parts = {p.name: p for p in parts_of(settings)}
    assert parts["owner"].probe == "http://[::1]:8361/status"
    assert parts["api"].address == "http://127.0.0.1:8360/"
    assert parts["owner"].port == ("::1", 8361, "owner.port")
