"""``allsky360 verify``: what it says and how it exits."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from allsky360.archive import ArchiveError, RawWriter
from allsky360.cli import app
from allsky360.model import Site
from tests.archive.conftest import make_bracket

CAMERA = "sim-camera-1"


@pytest.fixture
def root(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    monkeypatch.setenv("ALLSKY360_STORAGE__ROOT", str(folder))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)
    writer = RawWriter(folder, "Sim Camera 1", site)
    for k in range(2):
        writer.append(make_bracket(k, exposures=1), {})
    writer.close()
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["verify", *arguments])


def test_a_sound_archive_exits_0(root: Path) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    assert "1 nights checked, 0 errors" in result.output


def test_damage_exits_1_and_is_named(root: Path) -> None:
    (root / CAMERA / "2026-11-22" / "raw.zarr" / "raw" / "c.1.0.0.0").unlink()
    for arguments in ((), (CAMERA,), ("Sim Camera 1", "2026-11-22"), ("--quick",)):
        result = run(*arguments)
        assert result.exit_code == 1, result.output
        assert "frame 1 exposure 0" in result.output
        assert "c.1.0.0.0 is missing" in result.output


def test_quick_does_not_decode(root: Path) -> None:
    shard = root / CAMERA / "2026-11-22" / "raw.zarr" / "raw" / "c.0.0.0.0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 0xFF
    shard.write_bytes(data)
    assert run("--quick").exit_code == 0
    assert run().exit_code == 1


def test_what_does_not_exist_is_named(root: Path) -> None:
    for arguments, said in (
        (("nobody",), "nothing to verify"),
        ((CAMERA, "yesterday"), "not a night"),
    ):
        result = run(*arguments)
        assert isinstance(result.exception, ArchiveError)
        assert said in str(result.exception)
