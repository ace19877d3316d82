"""The watch on a real archive, a real HTTP receiver and a real MQTT broker."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from typer.testing import CliRunner

from allsky360.alarms import outbox
from allsky360.alarms.notify import NotifyError, addresses
from allsky360.alarms.watch import FILE, Watch, wanted
from allsky360.archive import RawWriter
from allsky360.cli import app
from allsky360.config import Settings
from allsky360.model import Site
from allsky360.supervisor.parts import parts_of
from allsky360.supervisor.pulse import give_pulse, pulse_name
from tests.archive.conftest import make_bracket
from tests.archive.test_processed import write

SLUG = "sim-camera-1"


@pytest.fixture
def receiver(free_port: Callable[[], int]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    port = free_port()
    with receiving(port) as told:
        yield f"json://127.0.0.1:{port}/", told


@contextmanager
def serving(port: int, handler: type[BaseHTTPRequestHandler]) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    server.shutdown()
    server.server_close()


@contextmanager
def receiving(port: int) -> Iterator[list[dict[str, Any]]]:
    """Take what Apprise posts as JSON."""
    told: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with serving(port, Handler):
        yield told


@contextmanager
def answering(port: int) -> Iterator[None]:
    """Serve what says 200 to every question, as a part that is well does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with serving(port, Handler):
        yield


@pytest.fixture
def broker(free_port: Callable[[], int], tmp_path: Path) -> Iterator[int]:
    if shutil.which("mosquitto") is None:
        pytest.skip("no MQTT broker here: apt-get install mosquitto")
    port = free_port()
    with mosquitto(port, tmp_path):
        yield port


@contextmanager
def mosquitto(port: int, folder: Path) -> Iterator[None]:
    conf = folder / "mosquitto.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    process = subprocess.Popen(["mosquitto", "-c", str(conf)], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


def settings_of(root: Path, free_port: Callable[[], int], **alarms: Any) -> Settings:
    return Settings(
        storage={"root": root, "min_free_gb": 0.0},  # type: ignore[arg-type]
        alarms={"hold_s": 0.0, **alarms},  # type: ignore[arg-type]
        **{p: {"port": free_port()} for p in ("owner", "api", "prefect", "dask", "simulator")},
    )


def fill(root: Path, site: Site, age: timedelta) -> None:
    writer = RawWriter(root, "Sim Camera 1", site)
    start = datetime.now(UTC) - age
    ref = writer.append(make_bracket(start=start), {"moon_altitude_deg": 12.5})
    write(root, ref, time=start, scalars={"cloud_fraction": 0.25, "stars_matched": 321.0})
    writer.close()


async def test_people_are_told_once_and_again_when_it_is_over(
    tmp_path: Path, site: Site, free_port: Callable[[], int], receiver: Any
) -> None:
    address, told = receiver
    root, file = tmp_path / "data", tmp_path / "notify"
    file.write_text(f"# me\n\n{address}\n")
    fill(root, site, timedelta(hours=2))
    settings = settings_of(root, free_port, notify_file=file)
    assert wanted(settings)
    watch = Watch(settings)
    found = {t.name for t in await watch.look_once()}
    assert {"no-new-frame", "part-down-owner", "part-down-dask"} <= found
    await watch.look_once()
    assert len(told) == 1
    assert "No new frame for 12" in told[0]["message"]
    assert told[0]["type"] == "warning"
    again = Watch(settings)  # a restart knows what was told
    await again.look_once()
    assert len(told) == 1
    fill(root, site, timedelta(seconds=5))
    assert "no-new-frame" not in {t.name for t in await again.look_once()}
    assert len(told) == 2
    assert told[1]["message"].startswith("Over: No new frame for 12")
    assert json.loads((root / FILE).read_bytes())


async def test_a_part_that_gives_signs_of_life_is_not_reported_as_down(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch, receiver: Any
) -> None:
    address, _ = receiver
    file = tmp_path / "notify"
    file.write_text(address)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")  # has no business here
    monkeypatch.setenv("NO_PROXY", "")
    settings = settings_of(tmp_path, free_port, notify_file=file)
    watch = Watch(settings)
    names = {p.name for p in parts_of(settings)}
    assert {"runner", "watch"} < names
    pulses = [await give_pulse(pulse_name(settings, n), watch.looks) for n in ("runner", "watch")]
    with answering(settings.api.port):
        down = {t.name for t in await watch.look_once() if t.name.startswith("part-down-")}
    assert down == {f"part-down-{name}" for name in names - {"runner", "watch", "api"}}
    for pulse in pulses:
        pulse.close()
    down = {t.name for t in await watch.look_once()}
    assert {"part-down-runner", "part-down-watch", "part-down-api"} <= down


async def test_who_cannot_be_reached_does_not_end_the_watch_and_is_told_later(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, port = tmp_path / "notify", free_port()
    file.write_text(f"json://127.0.0.1:{port}/")
    monkeypatch.setattr(outbox, "FIRST_PAUSE_S", 0.0)
    watch = Watch(settings_of(tmp_path / "none", free_port, notify_file=file))
    assert "disk-gone" in {t.name for t in await watch.look_once()}
    with receiving(port) as told:  # the line is back
        await watch.look_once()
        await watch.look_once()
    assert len(told) == 1
    assert "The archive's disk does not answer." in told[0]["message"]


@pytest.fixture
async def heard(broker: int) -> AsyncIterator[dict[str, Any]]:
    messages: dict[str, Any] = {}

    async def listen() -> None:
        async with aiomqtt.Client("127.0.0.1", broker) as client:
            await client.subscribe("#")
            messages["listening"] = True
            async for m in client.messages:
                messages[m.topic.value] = bytes(m.payload).decode()  # type: ignore[arg-type]

    for _ in range(50):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", broker)
            writer.close()
            break
        except OSError:
            await asyncio.sleep(0.1)
    task = asyncio.create_task(listen())
    while "listening" not in messages:
        await asyncio.sleep(0.02)
    yield messages
    task.cancel()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.05)


async def test_home_automation_discovers_and_follows_the_camera(
    tmp_path: Path, site: Site, free_port: Callable[[], int], broker: int, heard: dict[str, Any]
) -> None:
    root = tmp_path / "data"
    fill(root, site, timedelta(seconds=5))
    mqtt = {"host": "127.0.0.1", "port": broker}
    settings = settings_of(root, free_port, mqtt=mqtt)
    running = asyncio.create_task(Watch(settings, every_s=0.3).run())
    await until(lambda: f"allsky360/{SLUG}/alarms" in heard)
    state = json.loads(heard[f"allsky360/{SLUG}/state"])
    assert state["cloud_fraction"] == 0.25
    assert state["stars_matched"] == 321
    assert state["sky_brightness_mag_arcsec2"] is None
    assert state["safe"] is None
    assert heard[f"allsky360/{SLUG}/status"] == "online"
    config = json.loads(heard["homeassistant/sensor/allsky360_sim_camera_1/cloud_fraction/config"])
    assert config["state_topic"] == f"allsky360/{SLUG}/state"
    assert config["availability_topic"] == f"allsky360/{SLUG}/status"
    problem = json.loads(heard[f"allsky360/{SLUG}/alarms"])
    assert problem["problem"]
    assert "part-down-owner" in {t["name"] for t in problem["troubles"]}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await until(lambda: heard[f"allsky360/{SLUG}/status"] == "offline")


async def test_a_broker_that_goes_and_comes_back_is_found(
    tmp_path: Path, site: Site, free_port: Callable[[], int]
) -> None:
    if shutil.which("mosquitto") is None:
        pytest.skip("no MQTT broker here: apt-get install mosquitto")
    root, port = tmp_path / "data", free_port()
    fill(root, site, timedelta(seconds=5))
    settings = settings_of(root, free_port, mqtt={"host": "127.0.0.1", "port": port})
    running = asyncio.create_task(Watch(settings, every_s=0.2).run())
    await asyncio.sleep(0.5)
    for _ in range(2):
        with mosquitto(port, tmp_path):
            async with asyncio.timeout(20):
                while await retained(port, f"allsky360/{SLUG}/status") != "online":
                    await asyncio.sleep(0.1)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def retained(port: int, topic: str) -> str:
    try:
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe(topic)
            async with asyncio.timeout(0.5):
                async for m in client.messages:
                    return bytes(m.payload).decode()  # type: ignore[arg-type]
    except (aiomqtt.MqttError, TimeoutError):
        return ""
    return ""


def test_a_file_of_addresses_is_checked_without_telling_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "notify"
    file.write_text("json://localhost\nnosuchservice://hunter2@x\n")
    with pytest.raises(NotifyError, match="line 2") as caught:
        addresses(file)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(NotifyError):
        addresses(tmp_path / "missing")


def test_the_watch_is_a_part_only_where_somebody_listens(tmp_path: Path) -> None:
    assert "watch" not in {p.name for p in parts_of(Settings())}
    told = Settings(alarms={"notify_file": tmp_path / "n"})  # type: ignore[arg-type]
    assert "watch" in {p.name for p in parts_of(told)}


def test_the_command_sends_a_test_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Any
) -> None:
    address, told = receiver
    file = tmp_path / "notify"
    file.write_text(address)
    monkeypatch.chdir(tmp_path)
    bare = CliRunner().invoke(app, ["watch", "--test"])
    assert bare.exit_code != 0
    monkeypatch.setenv("ALLSKY360_ALARMS__NOTIFY_FILE", str(file))
    done = CliRunner().invoke(app, ["watch", "--test"])
    assert done.exit_code == 0, done.output
    assert told[0]["title"] == "allsky360: test"
