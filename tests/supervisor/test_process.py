"""Real child processes: started in order, restarted when dead, stopped with all they spawned."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from allsky360.supervisor import process as process_module
from allsky360.supervisor.parts import Part
from allsky360.supervisor.probe import port_obstacle
from allsky360.supervisor.process import Keeper, PartState

SERVER = (
    "import sys,http.server as h;"
    "h.ThreadingHTTPServer(('127.0.0.1',int(sys.argv[1])),h.BaseHTTPRequestHandler).serve_forever()"
)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "BACK_OFF_S", (0.1, 0.2, 0.4))
    monkeypatch.setattr(process_module, "PROBE_EVERY_S", 0.1)


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "condition not reached"
        await asyncio.sleep(0.05)


class House:
    """A few keepers under test."""

    def __init__(self, folder: Path, *parts: Part) -> None:
        self.states: dict[str, PartState] = {}
        self.changes: list[tuple[str, str, str]] = []
        self.keepers = [
            Keeper(p, {"MARK": "1"}, folder / f"{p.name}.log", self.states, self._changed)
            for p in parts
        ]
        self.states.update({k.status.part.name: k.status for k in self.keepers})

    def _changed(self, status: PartState) -> None:
        self.changes.append((status.part.name, status.state, status.detail))

    async def __aenter__(self) -> House:
        self.tasks = [asyncio.create_task(k.run()) for k in self.keepers]
        return self

    async def __aexit__(self, *exc: object) -> None:
        for k in self.keepers:
            k.stop()
        await asyncio.gather(*self.tasks)


async def test_a_killed_part_comes_back(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    part = Part("web", python(SERVER, str(port)), probe=f"tcp://127.0.0.1:{port}")
    async with House(tmp_path, part) as house:
        await until(lambda: house.states["web"].state == "running")
        first = house.states["web"].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(
            lambda: house.states["web"].state == "running" and house.states["web"].pid != first
        )
        assert house.states["web"].restarts == 1
        assert any("SIGKILL" in detail for _, _, detail in house.changes)
    assert house.states["web"].state == "stopped"
    assert port_obstacle("127.0.0.1", port, "api.port") is None


async def test_last_words_of_a_failing_part_are_shown(tmp_path: Path) -> None:
    part = Part(
        "bad", python("print('disk is on fire'); raise SystemExit(3)"), probe="tcp://127.0.0.1:9"
    )
    async with House(tmp_path, part) as house:
        await until(lambda: house.states["bad"].restarts >= 2)
    assert any("status 3 (disk is on fire)" in detail for _, _, detail in house.changes)
    assert "disk is on fire" in (tmp_path / "bad.log").read_text()


async def test_a_part_waits_for_those_before_it(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    slow = "import time;time.sleep(1);" + SERVER
    first = Part("first", python(slow, str(port)), probe=f"tcp://127.0.0.1:{port}")
    second = Part("second", python("import time;time.sleep(60)"), after=("first",))
    async with House(tmp_path, first, second) as house:
        await until(lambda: house.states["second"].state == "running")
    order = [(name, state) for name, state, _ in house.changes]
    assert order.index(("first", "running")) < order.index(("second", "starting"))


async def test_a_taken_port_is_named_with_the_setting_to_change(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        part = Part("web", python(SERVER, str(port)), port=("127.0.0.1", port, "api.port"))
        async with House(tmp_path, part) as house:
            await until(lambda: house.states["web"].state == "blocked")
            detail = house.states["web"].detail
            assert str(port) in detail
            assert "change api.port" in detail
            assert f"pid {os.getpid()}" in detail


def test_an_address_of_another_machine_is_not_called_taken() -> None:
    told = port_obstacle("203.0.113.7", 9, "api.port")
    assert told is not None
    assert "in use" not in told
    assert "change api.host" in told


async def test_a_part_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    part = Part("ghost", (str(tmp_path / "no-such-program"),))
    async with House(tmp_path, part) as house:
        await until(lambda: house.states["ghost"].restarts >= 2)
    assert any("cannot be started" in d and "no-such-program" in d for _, _, d in house.changes)
    assert house.states["ghost"].state == "stopped"


async def test_a_killed_part_whose_child_lives_on_comes_back_without_waiting(
    tmp_path: Path,
) -> None:
    code = (
        "import subprocess,sys,time;"
        "c=subprocess.Popen([sys.executable,'-c','import time;time.sleep(99)']);"  # holds the pipe
        "print('child',c.pid,flush=True);time.sleep(99)"
    )
    log = tmp_path / "parent.log"
    async with House(tmp_path, Part("parent", python(code))) as house:
        await until(lambda: log.exists() and "child" in log.read_text())
        child = int(log.read_text().split("child ")[1].split()[0])
        first = house.states["parent"].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: house.states["parent"].pid not in (None, first), 10.0)
        assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_a_log_that_cannot_be_written_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = process_module._log_to("web", tmp_path / "web.log")

    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log.handlers[0].stream, "write", full)  # type: ignore[attr-defined]
    log.info("one")
    log.info("two")
    told = capsys.readouterr().err
    assert told.count("No space left on device") == told.count("\n") == 1
    assert "web.log" in told


async def test_children_of_a_stopped_part_go_with_it(tmp_path: Path) -> None:
    marker = tmp_path / "child.pid"
    code = (
        "import subprocess,sys,time;"
        "child='import signal,time;signal.signal(15,signal.SIG_IGN);time.sleep(99)';"
        "c=subprocess.Popen([sys.executable,'-c',child]);"
        f"open({str(marker)!r},'w').write(str(c.pid));time.sleep(99)"
    )
    async with House(tmp_path, Part("parent", python(code))) as house:
        await until(lambda: marker.exists() and marker.read_text() != "")
        child = int(marker.read_text())
        assert psutil.pid_exists(child)
        await until(lambda: bool(house.states["parent"].pid))
    await until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie")


async def test_a_part_that_stops_answering_is_restarted(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("allsky360.supervisor.probe.TIMEOUT_S", 0.3)
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    code = SERVER.replace("h.BaseHTTPRequestHandler", "h.SimpleHTTPRequestHandler")
    part = Part("web", python(code, str(port)), probe=url, patience_s=1.0)
    async with House(tmp_path, part) as house:
        await until(lambda: house.states["web"].state == "running")
        first = house.states["web"].pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        monkeypatch.setattr(process_module, "HUNG_S", 0.5)
        await until(
            lambda: house.states["web"].pid != first and house.states["web"].state == "running"
        )
    assert any("did not answer" in detail for _, _, detail in house.changes)


@pytest.fixture
def supervisor_process(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    marker = tmp_path / "part.pid"
    code = f"""
import asyncio, sys
from pathlib import Path
from allsky360.supervisor.parts import Part
from allsky360.supervisor.process import Keeper
child = "import os,time;open({str(marker)!r},'w').write(str(os.getpid()));time.sleep(99)"
part = Part("p", (sys.executable, "-c", child))
keeper = Keeper(part, {{}}, Path({str(tmp_path / "p.log")!r}), {{}}, lambda s: None)
asyncio.run(keeper.run())
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    yield process, marker
    process.kill()
    process.wait()


async def test_parts_die_with_a_killed_supervisor(
    supervisor_process: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, marker = supervisor_process
    await until(lambda: marker.exists() and marker.read_text() != "")
    child = int(marker.read_text())
    process.kill()
    process.wait()
    await until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie")
