"""Logs as JSON: one object a line, whoever wrote it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from allsky360.api.logs import newest_troubles
from allsky360.config import Settings
from allsky360.logs import JsonFormatter, as_json_line, json_line
from allsky360.supervisor.parts import Part
from allsky360.supervisor.prefect_env import prefect_environment
from allsky360.supervisor.process import Keeper, PartState

PROGRAM = """
import logging, warnings
from allsky360.logs import adopt_handlers, set_up_logging
brought = logging.getLogger("brought.along")
brought.addHandler(logging.StreamHandler())
brought.propagate = False
set_up_logging("owner", "json")
adopt_handlers()
log = logging.getLogger("allsky360.x")
log.info('two\\nlines, "quotes" and %s', "ä")
brought.warning("of a library")
warnings.warn("old")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
raise RuntimeError("the end")
"""


def test_a_process_writes_nothing_but_objects() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [x["level"] for x in lines] == ["INFO", "WARNING", "WARNING", "ERROR", "CRITICAL"]
    assert {x["part"] for x in lines} == {"owner"}
    assert lines[0]["message"] == 'two\nlines, "quotes" and ä'
    assert lines[0]["logger"] == "allsky360.x"
    assert datetime.fromisoformat(lines[0]["time"]).utcoffset() is not None
    assert "exception" not in lines[0]
    assert lines[1]["message"] == "of a library"
    assert "old" in lines[2]["message"]
    assert lines[3]["exception"].endswith("ZeroDivisionError: division by zero")
    assert lines[4]["exception"].endswith("RuntimeError: the end")


def test_what_is_no_object_is_wrapped() -> None:
    ours = json_line("owner", "ERROR", "x")
    assert as_json_line("owner", ours) == ours
    for text in ("Traceback (most recent call last):", ours[:-3], '{"other": 1}', ""):
        assert json.loads(as_json_line("owner", text))["message"] == text


def test_prefect_writes_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(storage={"root": tmp_path}, logging={"format": "json"})  # type: ignore[arg-type]
    for name, value in prefect_environment(settings).items():
        monkeypatch.setenv(name, value)
    from prefect.logging.configuration import DEFAULT_LOGGING_SETTINGS_PATH, load_logging_config

    config = load_logging_config(DEFAULT_LOGGING_SETTINGS_PATH)
    assert config["handlers"]["console"]["formatter"] == "json"
    asked = config["formatters"]["json"]
    assert asked["class"] == f"{JsonFormatter.__module__}.{JsonFormatter.__name__}"
    formatter = JsonFormatter(asked["format"], None, "%")  # as logging.config calls it
    record = logging.LogRecord("prefect.flow_runs", logging.INFO, "", 1, "taken", None, None)
    record.flow_run_name = "brave-owl"
    entry = json.loads(formatter.format(record))
    assert (entry["part"], entry["flow_run"], entry["message"]) == ("runner", "brave-owl", "taken")
    assert "PREFECT_LOGGING_FORMATTERS_JSON_CLASS" not in prefect_environment(Settings())


async def test_the_supervisor_keeps_json_logs_json(tmp_path: Path) -> None:
    line = json_line("noisy", "ERROR", "camera fell off")
    command = (sys.executable, "-c", f"print({line!r}); print('plain words')")
    log = tmp_path / "noisy.log"
    keepers: list[Keeper] = []

    def changed(status: PartState) -> None:
        if status.state == "restarting":
            keepers[0].stop()

    keepers.append(Keeper(Part("noisy", command), {}, log, {}, changed, "json"))
    await keepers[0].run()
    entries = [json.loads(text) for text in log.read_text().splitlines()]
    assert {e["part"] for e in entries} == {"noisy"}
    messages = [e["message"] for e in entries]
    assert "camera fell off" in messages
    assert "plain words" in messages
    assert any(m.startswith("[supervisor] starting") for m in messages)
    found = newest_troubles(tmp_path)
    assert [(f.level, f.text.split(" ", 1)[1]) for f in found] == [
        ("error", "ERROR camera fell off")
    ]
