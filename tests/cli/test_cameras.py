"""``allsky360 cameras`` against a scripted INDIGO server in another thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner

from allsky360.camera.errors import ServerGone
from allsky360.camera.indigo import client as client_module
from allsky360.cli import app
from allsky360.cli.cameras import address
from allsky360.errors import AllskyError
from tests.camera.fake_indigo import CAM, FakeIndigo


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeIndigo]:
    monkeypatch.setattr(client_module, "RECONNECT_PAUSE_S", 0.0)
    fake, up, loop = FakeIndigo(), threading.Event(), asyncio.new_event_loop()
    end = asyncio.Event()

    async def serve() -> None:
        async with fake:
            up.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert up.wait(10)
    yield fake
    loop.call_soon_threadsafe(end.set)
    thread.join(10)
    loop.close()


def test_table_and_json(server: FakeIndigo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    idle = CliRunner().invoke(app, ["cameras", f"127.0.0.1:{server.port}"])
    assert idle.exit_code == 0, idle.output
    assert CAM in idle.output
    assert "--connect" in idle.output
    full = CliRunner().invoke(app, ["cameras", f"127.0.0.1:{server.port}", "--connect"])
    assert "16x12" in full.output
    assert "0 to 500" in full.output
    found = CliRunner().invoke(app, ["cameras", f"127.0.0.1:{server.port}", "--json", "--connect"])
    (camera,) = json.loads(found.output)
    assert camera["device"] == CAM
    assert camera["gain"] == [0, 500]
    assert camera["has_cooler"] is True


def test_server_without_camera(server: FakeIndigo) -> None:
    server.props["INFO"]["items"][1]["value"] = "16"
    result = CliRunner().invoke(app, ["cameras", f"127.0.0.1:{server.port}"])
    assert "has no camera" in result.output


def test_default_is_the_settings_server(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("ALLSKY360_SIMULATOR__PORT", str(port))
    result = CliRunner().invoke(app, ["cameras"])
    assert isinstance(result.exception, ServerGone)
    assert f"127.0.0.1:{port}" in str(result.exception)
    monkeypatch.setenv("ALLSKY360_CAMERA__HOST", "127.0.0.1")
    other = free_port()
    monkeypatch.setenv("ALLSKY360_CAMERA__PORT", str(other))
    assert f"127.0.0.1:{other}" in str(CliRunner().invoke(app, ["cameras"]).exception)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("cam", "cam", 7624),
        ("cam:7700", "cam", 7700),
        ("fe80::1", "fe80::1", 7624),
        ("[fe80::1]", "fe80::1", 7624),
        ("[fe80::1]:7700", "fe80::1", 7700),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert address(text) == (host, port)


@pytest.mark.parametrize("text", ["cam:", "cam:x", "cam:0", "cam:70000", ":7624", "[]:1"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(AllskyError, match="HOST:PORT"):
        address(text)
