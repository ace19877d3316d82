"""The status view says what a person needs, in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.console import Console

from allsky360.clock import rehearsal
from allsky360.supervisor.parts import Part
from allsky360.supervisor.process import PartState
from allsky360.supervisor.view import Progress, change_line, duration, render


def shown(progress: Progress, *states: PartState, width: int = 160) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(states, progress))
    return console.export_text()


def test_parts_faults_and_frames_are_named() -> None:
    state = PartState(Part("owner", ("x",), address="http://127.0.0.1:8361/status"))
    state.set("restarting", "ended by SIGKILL; again in 1 s")
    state.restarts = 3
    progress = Progress("La Palma +28.76 -17.88", "/data")
    text = shown(progress, state)
    assert "owner" in text
    assert "ended by SIGKILL; again in 1 s" in text
    assert "no answer from the owner" in text
    assert "none on the live page yet" in text
    progress.owner = {
        "camera": "Sim",
        "state": "fault",
        "fault": {"name": "timeout", "message": "no image"},
        "plan": {"period": "night", "exposures_s": [10.0, 2.5], "gain": 100.0},
    }
    progress.latest = {"id": "2026-11-22/000004", "time": "2026-11-22T22:00:00+00:00"}
    progress.first_frame_s = 41.0
    text = shown(progress, state)
    assert "timeout: no image" in text
    assert "night: 10 s, 2.5 s at gain 100" in text
    assert "2026-11-22/000004" in text
    assert "first one 41 s after the start" in text
    progress.clock = rehearsal(datetime(2026, 11, 22, 22, 0, 20, tzinfo=UTC))
    assert "20 s ago" in shown(progress, state).replace("21 s ago", "20 s ago")


def test_a_narrow_terminal_breaks_no_word_but_addresses() -> None:
    state = PartState(Part("simulator", ("x",), address="http://127.0.0.1:8361/status"))
    state.set("not answering")
    blocked = PartState(Part("api", ("x",)))
    blocked.set("blocked", "port 8360 is in use by python3 (pid 12345); stop it or change api.port")
    text = shown(Progress("La Palma", "/data"), state, blocked, width=60)
    for word in ("simulator", "not answering", "http://", "python3 (pid", "api.port"):
        assert word in text
    assert len(text.splitlines()) < 12


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (300, "5 min"), (7200, "2.0 h"), (360_000, "4.2 d")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plain_lines_carry_the_address_when_running() -> None:
    state = PartState(Part("api", ("x",), address="http://127.0.0.1:8360/"))
    state.set("running")
    assert change_line(state).endswith("api running at http://127.0.0.1:8360/")
