"""The doctor: each finding against a real state of machine, disk, sockets and logs."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from allsky360.archive import RawWriter
from allsky360.cli import app
from allsky360.config import Settings
from allsky360.doctor import Finding, examine
from allsky360.doctor.bundle import HIDDEN, clean, without_secrets, write_bundle
from allsky360.doctor.machine import machine
from allsky360.doctor.services import camera, services
from allsky360.doctor.sky import sky
from allsky360.doctor.storage import file_system, storage
from allsky360.errors import AllskyError
from allsky360.model import Site
from allsky360.net import is_loopback
from allsky360.supervisor.pulse import give_pulse, pulse_name
from tests.archive.conftest import make_bracket


def settings_of(root: Path, **tables: object) -> Settings:
    return Settings(storage={"root": root, "min_free_gb": 0.0}, **tables)  # type: ignore[arg-type]


@contextmanager
def well() -> Iterator[int]:
    """Serve what answers every question with 200, as a part that is well does; its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def by_name(found: Iterator[Finding]) -> dict[str, Finding]:
    return {f.name: f for f in found}


def test_this_machine_is_fit(tmp_path: Path) -> None:
    found = by_name(machine(settings_of(tmp_path)))
    assert found["versions"].state == "good"
    assert "zarr" in found["packages"].says
    assert found["memory"].state in ("good", "doubt")
    assert found["clock"].state in ("good", "doubt", "none")


def test_a_package_known_to_break_prefect_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from allsky360.doctor import machine as room

    true = room.metadata.version
    monkeypatch.setattr(
        room.metadata, "version", lambda name: "2.1.3" if name == "sqlalchemy" else true(name)
    )
    found = by_name(machine(settings_of(tmp_path)))
    assert found["sqlalchemy"].state == "bad"
    assert "never schedules" in found["sqlalchemy"].says
    assert "fastapi" not in found


def test_the_archive_is_looked_into(tmp_path: Path, site: Site) -> None:
    root = tmp_path / "data"
    assert [f.state for f in storage(settings_of(root))] == ["none"]
    root.mkdir()
    assert by_name(storage(settings_of(root)))["archive"].state == "none"
    writer = RawWriter(root, "Sim Camera 1", site)
    start = datetime.now(UTC) - timedelta(seconds=90)
    for k in range(2):
        writer.append(make_bracket(k, start=start + timedelta(seconds=20 * k)), {})
    writer.close()
    found = by_name(storage(settings_of(root)))
    assert re.search(r"\b(7\d|8\d) s old", found["archive"].says)
    assert found["newest night"].state == "good"
    assert found["queue"].says == "2 frames wait for processing"
    next(root.glob("*/*/raw.zarr/raw/c.1.0*")).unlink()
    damaged = by_name(storage(settings_of(root)))["newest night"]
    assert damaged.state == "bad"
    assert "c.1.0" in damaged.says
    assert not list(root.glob(".doctor-*"))


def test_too_little_room_is_named(tmp_path: Path) -> None:
    wanted = Settings(storage={"root": tmp_path, "min_free_gb": 10_000.0})  # type: ignore[arg-type]
    found = by_name(storage(wanted))["room"]
    assert found.state == "bad"
    assert "retention" in found.mend


def test_the_file_system_is_the_one_of_the_nearest_mount() -> None:
    assert file_system(Path("/proc/self")) == "proc"
    assert file_system(Path("/")) != ""


def test_parts_that_do_not_answer_and_trouble_in_their_logs(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with well() as port:
        settings = settings_of(
            tmp_path,
            camera={"host": "127.0.0.1", "port": free_port()},
            dask={"host": "127.0.0.1", "dashboard_port": port},
            owner={"host": "0.0.0.0", "port": free_port()},
            api={"port": free_port()},
            prefect={"port": free_port()},
        )
        logs = tmp_path / "logs"
        logs.mkdir()
        (logs / "owner.log").write_text("12:00 INFO fine\n12:01 ERROR camera fell off\n")
        (logs / "dask.log").write_text("12:00 INFO fine, no errors\n")
        found = by_name(services(settings))
    assert found["dask"].state == "good"
    assert found["owner"].state == found["api"].state == found["prefect"].state == "bad"
    assert "camera fell off" in found["owner log"].says
    assert "dask log" not in found
    assert found["owner exposed"].state == "doubt"


async def test_a_part_without_an_address_is_asked_for_its_sign_of_life(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    ports = {table: {"port": free_port()} for table in ("owner", "api", "prefect")}
    dask = {"port": free_port(), "dashboard_port": free_port()}
    settings = settings_of(tmp_path, camera={"host": "127.0.0.1"}, dask=dask, **ports)

    async def runner() -> Finding:
        return (await asyncio.to_thread(lambda: by_name(services(settings))))["runner"]

    lives = True
    pulse = await give_pulse(pulse_name(settings, "runner"), lambda: lives)
    assert (await runner()).state == "good"
    lives = False
    hung = await runner()
    pulse.close()
    gone = await runner()
    assert hung.state == gone.state == "bad"
    assert "restart" in hung.says
    assert "does not answer" in gone.says


@pytest.mark.parametrize(
    ("host", "near"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("cam", False)],
)
def test_only_loopback_is_ours_alone(host: str, near: bool) -> None:
    assert is_loopback(host) is near


def test_a_server_that_is_not_there_is_named_with_its_mend(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    settings = settings_of(tmp_path, camera={"host": "127.0.0.1", "port": port})
    (found,) = camera(settings)
    assert found.state == "bad"
    assert str(port) in found.says
    assert "camera.port" in found.mend


def test_the_sky_needs_a_place_and_masters_that_are_there(tmp_path: Path) -> None:
    demo = by_name(sky(settings_of(tmp_path)))
    assert demo["site"].state == "none"
    real = settings_of(
        tmp_path, camera={"host": "cam"}, processing={"dark_root": tmp_path / "nothing"}
    )
    found = by_name(sky(real))
    assert found["site"].state == "bad"
    assert found["masters"].state == "bad"
    zero = settings_of(tmp_path, site={"latitude_deg": 0.0, "longitude_deg": 0.0})
    assert by_name(sky(zero))["site"].state == "doubt"


def test_a_check_that_fails_is_a_finding(tmp_path: Path) -> None:
    def broken(_: Settings) -> Iterator[Finding]:
        raise RuntimeError("no such thing")
        yield

    found = list(examine(settings_of(tmp_path), (broken, sky)))
    assert found[0].state == "bad"
    assert "no such thing" in found[0].says
    assert len(found) > 1


def test_no_secret_leaves_the_house(tmp_path: Path) -> None:
    tree = {
        "api": {"token_file": "/etc/t", "port": 8360, "tokens": ["abc", "def"]},
        "prefect": {"url": "https://me:hunter2@big.example:4200/api"},
        "nothing": {"password": ""},
    }
    shown = without_secrets(tree)
    assert "hunter2" not in json.dumps(shown)
    assert shown["api"]["tokens"] == [HIDDEN, HIDDEN]
    assert shown["api"]["port"] == 8360
    assert shown["nothing"]["password"] == ""
    for line in (
        "Authorization: Bearer abc.def",
        "GET /x?token=abc.def HTTP/1.1",
        '{"password": "abc.def"}',
        "api_key=abc.def;",
        "s3://key:abc.def@bucket",
    ):
        assert "abc.def" not in clean(line), line
    assert clean("ERROR frame 12 took 3.5 s") == "ERROR frame 12 took 3.5 s"


def test_the_bundle_holds_findings_settings_and_logs(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "logs").mkdir(parents=True)
    (root / "logs" / "api.log").write_text("token=abc.def\n")
    path = tmp_path / "b.zip"
    write_bundle(path, settings_of(root), [Finding("sky", "site", "bad", "not set", "Set it.")])
    with zipfile.ZipFile(path) as bundle:
        assert json.loads(bundle.read("findings.json"))[0]["mend"] == "Set it."
        assert json.loads(bundle.read("settings.json"))["api"]["port"] == 8360
        assert b"abc.def" not in bundle.read("logs/api.log")
        assert b"numpy " in bundle.read("packages.txt")
    with pytest.raises(AllskyError, match="cannot write"):
        write_bundle(tmp_path / "no" / "b.zip", settings_of(root), [])


def test_the_command_says_all_of_it_and_fails_where_something_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    monkeypatch.chdir(tmp_path)
    for part in ("OWNER", "API", "PREFECT", "SIMULATOR", "DASK"):
        monkeypatch.setenv(f"ALLSKY360_{part}__PORT", str(free_port()))
    done = CliRunner().invoke(app, ["doctor", "--bundle", "b.zip"])
    assert done.exit_code == 1
    assert "BAD   owner" in done.stdout
    assert "allsky360 up" in done.stdout
    assert (tmp_path / "b.zip").exists()
    as_json = CliRunner().invoke(app, ["doctor", "--json"])
    assert {f["group"] for f in json.loads(as_json.stdout)} == {
        "machine",
        "storage",
        "services",
        "camera",
        "sky",
    }
