"""Signs of life: what systemd hears, and when it hears nothing."""

from __future__ import annotations

import configparser
import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from allsky360.systemd import answers, give_signs

UNITS = sorted((Path(__file__).parents[1] / "deployments" / "systemd").glob("*.service"))


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


def heard(listener: socket.socket) -> str:
    return listener.recv(100).decode()


def test_signs_come_while_it_lives_and_only_then(systemd: socket.socket) -> None:
    asked, lives = threading.Event(), threading.Event()

    def alive() -> bool:
        asked.set()
        return lives.is_set()

    environment = {
        "NOTIFY_SOCKET": systemd.getsockname(),
        "WATCHDOG_USEC": "80000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    stop = give_signs(alive, environment)
    assert stop is not None
    assert asked.wait(5)
    lives.set()
    assert heard(systemd) == "WATCHDOG=1\nREADY=1"
    assert heard(systemd) == "WATCHDOG=1"
    lives.clear()
    systemd.setblocking(False)
    time.sleep(0.1)
    with contextlib.suppress(BlockingIOError):
        while True:  # those on their way
            heard(systemd)
    asked.clear()
    assert asked.wait(5)  # it is asked still
    time.sleep(0.1)
    with pytest.raises(BlockingIOError):
        heard(systemd)
    stop.set()


def test_a_child_of_the_unit_is_no_watchdog_of_it(systemd: socket.socket) -> None:
    environment = {
        "NOTIFY_SOCKET": systemd.getsockname(),
        "WATCHDOG_USEC": "80000",
        "WATCHDOG_PID": "1",
    }
    give_signs(lambda: True, environment)
    assert heard(systemd) == "READY=1"


def test_without_systemd_nothing_is_done() -> None:
    assert give_signs(lambda: True, {}) is None


class Replies(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path[1:]))
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_a_part_answers_or_not() -> None:
    server = HTTPServer(("127.0.0.1", 0), Replies)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    assert [answers(f"{url}/{code}") for code in (200, 401, 503)] == [True, True, False]
    server.shutdown()
    server.server_close()
    assert not answers(f"{url}/200")
    with socket.create_server(("127.0.0.1", 0)) as hangs:  # takes the call, says nothing
        assert not answers(f"http://127.0.0.1:{hangs.getsockname()[1]}/", 0.1)


@pytest.mark.parametrize("unit", UNITS, ids=lambda p: p.stem)
def test_every_unit_is_watched_and_may_reach_systemd(unit: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    service = parser["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) >= 30
    assert "AF_UNIX" in service["RestrictAddressFamilies"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda p: p.stem)
def test_no_unit_is_exposed(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=40"]
    done = subprocess.run([*command, str(unit)], capture_output=True, text=True)
    if "--offline" in done.stderr:
        pytest.skip("this systemd-analyze looks at running units only")
    assert done.returncode == 0, done.stdout + done.stderr
