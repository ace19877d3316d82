from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from allsky360.archive.empty import nothing_archived
from allsky360.cli import app
from allsky360.errors import AllskyError


def test_it_names_the_newest_demo(tmp_path: Path) -> None:
    assert "allsky360 up" in str(nothing_archived(tmp_path))
    assert "allsky360 up" in str(nothing_archived(tmp_path / "none"))
    (tmp_path / "demo+120").mkdir()
    assert f"ALLSKY360_STORAGE__ROOT={tmp_path}/demo+120 " in str(nothing_archived(tmp_path))


@pytest.mark.parametrize(
    "words",
    [
        "products list",
        "timelapse",
        "sky lens",
        "sky transients",
        "sky calibrate",
        "report",
        "versions list",
        "reprocess latest",
        "verify",
        "favourite 2026-11-13",
        "keogram long -o year.png",
    ],
)
def test_commands_on_an_empty_archive_name_the_mend(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words.split())
    assert isinstance(result.exception, AllskyError), result.output
    assert "holds no frame yet. Start 'allsky360 up'" in str(result.exception)
