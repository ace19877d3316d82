"""``allsky360 simulate`` as a process, and its options."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from allsky360.cli import app
from allsky360.clock import REAL_CLOCK, rehearsal
from allsky360.config import Settings, clock_from
from allsky360.errors import SettingsError
from allsky360.simulator.factory import site_or_demo
from allsky360.simulator.faults import FAULTS
from allsky360.simulator.images import encode_raw
from allsky360.simulator.run import fault_table, with_options
from tests.simulator.test_replay import frame


@pytest.fixture
def replay(tmp_path: Path) -> Path:
    (tmp_path / "a.raw").write_bytes(encode_raw(frame(1), "RGGB"))
    return tmp_path


def simulate(*options: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "allsky360.cli", "simulate", *options],
        cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_and_ends_cleanly(
    replay: Path, free_port: Callable[[], int], number: signal.Signals
) -> None:
    port = free_port()
    process = simulate(
        "--port", str(port), "--replay", str(replay), "--fault", "alert=3:no USB", cwd=replay
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert "no site is set: Demo site" in lines[0]
        assert f"All-sky Replay on indigo://127.0.0.1:{port}" in lines[1]
        rows = httpx.get(f"http://127.0.0.1:{port}/simulator/faults").json()
        armed = {r["name"]: (r["count"], r["value"]) for r in rows if r["count"]}
        assert armed == {"alert": (3, "no USB")}
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert "simulator stopped" in out
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_taken_port_is_one_line(replay: Path, free_port: Callable[[], int]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = simulate("--port", str(port), "--replay", str(replay), cwd=replay)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"127.0.0.1:{port} is in use" in err
    assert "Traceback" not in err


def test_the_fault_table_has_every_knob() -> None:
    result = CliRunner().invoke(app, ["simulate", "--fault", "list"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) == len(FAULTS)
    assert result.output.strip() == fault_table()


def test_a_start_that_is_no_instant_is_refused() -> None:
    result = CliRunner().invoke(app, ["simulate", "--start", "tonight"])
    assert result.exit_code == 2
    assert "ISO 8601" in result.output


def test_options_go_over_settings() -> None:
    settings = Settings.model_validate({"simulator": {"seed": 9, "port": 1234}})
    start = datetime(2026, 6, 1, 22, tzinfo=UTC)
    changed = with_options(settings, port=4321, host=None, start=start, rate=60.0)
    assert (changed.simulator.port, changed.simulator.seed) == (4321, 9)
    clock = clock_from(changed)
    assert clock.rate == 60
    assert timedelta(0) <= clock.now() - start < timedelta(minutes=30)
    assert with_options(settings) == settings


def test_a_rate_alone_starts_now() -> None:
    clock = clock_from(with_options(Settings(), rate=10.0))
    assert clock.rate == 10
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=5)


def test_wrong_options_are_all_named() -> None:
    with pytest.raises(SettingsError, match=r"--port = 0: .*\n--rate = 0.0: "):
        with_options(Settings(), port=0, rate=0.0)


def test_the_site_of_the_settings_wins_over_the_demo() -> None:
    given = Settings.model_validate({"site": {"latitude_deg": -30, "longitude_deg": -70}})
    site, is_demo = site_or_demo(given, REAL_CLOCK)
    assert (site.latitude_deg, is_demo) == (-30, False)
    clock = rehearsal(datetime(2026, 11, 22, 11, tzinfo=UTC))
    site, is_demo = site_or_demo(Settings(), clock)
    assert (site.longitude_deg, is_demo) == (-180, True)
