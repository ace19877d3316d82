"""The settings tree: defaults round-trip, every error at once, no dead and no unknown key."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from typer.testing import CliRunner

import allsky360
from allsky360.cli import app
from allsky360.config import Settings, clock_from, load_settings, site_from
from allsky360.config_text import default_text, walk_fields
from allsky360.errors import SettingsError

PACKAGE = Path(allsky360.__file__).parent
ROOT = PACKAGE.parent


def test_default_file_is_valid_and_equals_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "allsky360.toml"
    file.write_text(default_text(Settings, Settings()))
    assert load_settings(file) == Settings()


def test_every_key_stands_in_the_default_file_with_its_meaning() -> None:
    text = default_text(Settings, Settings())
    for key, field in walk_fields(Settings):
        assert field.description, key
        assert field.description in text
        assert f"{key[-1]} =" in text


def test_one_key_of_a_period_leaves_its_other_defaults(tmp_path: Path) -> None:
    file = tmp_path / "allsky360.toml"
    file.write_text("[exposure.day]\nmax_gain = 5\n")
    day, default = load_settings(file).exposure.day, Settings().exposure.day
    assert day.max_gain == 5
    assert (day.target, day.max_exposure_s) == (default.target, default.max_exposure_s)
    assert default.max_exposure_s == 1.0


def test_all_errors_are_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(
        "[site]\nlatitude_deg = 99\nlongitud_deg = 3\n[exposure.night]\nmin_gain = 300\n"
        "[cemera]\nport = 1\n"
    )
    monkeypatch.setenv("ALLSKY360_API__PORT", "99999")
    monkeypatch.setenv("ALLSKY360_SIGHT__NAME", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    text = str(caught.value)
    assert f"{file}: site.latitude_deg = 99" in text
    assert "number from -90 to 90" in text
    assert "longitud_deg is not a setting. Did you mean 'site.longitude_deg'?" in text
    assert "min_gain must not exceed max_gain" in text
    assert "cemera is not a setting. Did you mean 'camera'?" in text
    assert "environment ALLSKY360_API__PORT: api.port = '99999'" in text
    assert "ALLSKY360_SIGHT__NAME" in text


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[site]\nlatitude_deg = 10\nlongitude_deg = 20\n")
    monkeypatch.setenv("ALLSKY360_SITE__LATITUDE_DEG", "-33.5")
    site = site_from(load_settings(file))
    assert (site.latitude_deg, site.longitude_deg) == (-33.5, 20)


@pytest.mark.parametrize("content", ["[site\n", "x = = 1", "\xff\xfe"])
def test_broken_toml_is_one_clear_error(tmp_path: Path, content: str) -> None:
    file = tmp_path / "broken.toml"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(SettingsError, match=r"broken\.toml"):
        load_settings(file)


def test_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="config init"):
        load_settings(tmp_path / "none.toml")


def test_site_must_be_set() -> None:
    with pytest.raises(SettingsError, match="latitude_deg"):
        site_from(Settings())


def test_rehearsal_clock_runs_at_its_rate() -> None:
    settings = Settings.model_validate(
        {"clock": {"start": "2026-01-01T00:00:00Z", "rate": 60, "anchor": "2026-01-01T00:00:00Z"}}
    )
    clock = clock_from(settings)
    assert clock.wall_s(60) == pytest.approx(1.0)
    assert clock_from(Settings()).rate == 1.0


def test_cli_init_then_check(tmp_path: Path) -> None:
    run = CliRunner()
    file = tmp_path / "allsky360.toml"
    assert run.invoke(app, ["config", "init", str(file)]).exit_code == 0
    again = run.invoke(app, ["config", "init", str(file)])
    assert isinstance(again.exception, SettingsError)
    good = run.invoke(app, ["--config", str(file), "config", "check"])
    assert good.exit_code == 0, good.output
    assert "good" in good.output


def _attributes_read(folders: list[Path]) -> set[str]:
    names: set[str] = set()
    for folder in folders:
        for file in folder.rglob("*.py"):
            if file.name.startswith("config") and file.parent == PACKAGE:
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Attribute):
                    names.add(node.attr)
    return names


def test_every_key_is_read_somewhere() -> None:
    """That no unknown key is read is mypy's part: the tree is typed."""
    read = _attributes_read([PACKAGE, ROOT / "flows", ROOT / "tasks"])
    # handed on whole; tests/imaging/filters/test_registry.py holds them to the filters
    handed_on = {("processing", "filters"), ("processing", "profiles")}
    # these few are read by config.py itself
    own = {"latitude_deg", "longitude_deg", "elevation_m", "start", "rate", "anchor"}
    dead = [
        ".".join(key)
        for key, _ in walk_fields(Settings)
        if key[-1] not in read | own and key[:2] not in handed_on
    ]
    assert not dead


def test_a_profile_that_cannot_work_is_refused(tmp_path: Path) -> None:
    for steps, reason in (
        ('["strech"]', "'strech' is not a filter. Did you mean 'stretch'?"),
        ('["scnr"]', "'stretch' must stand in it exactly once"),
        ('["scnr(amount=7)", "stretch"]', "less than or equal to 1"),
        ('["scnr(amuont=1)", "stretch"]', "amuont"),
        ('["scnr(amount", "stretch"]', "is not a step"),
        ('["scnr(0.5)", "stretch"]', "name=value"),
        ('["scnr(amount=open(1))", "stretch"]', "name=value"),
        ('["scnr(amount=1)(amount=0)", "stretch"]', "name=value"),
        ('["scnr(amount=1)+(1)", "stretch"]', "name=value"),
        ('["stretch", "scnr"]', "'scnr' must stand before 'stretch'"),
        ('["stretch", "flip(horizontal=true)"]', "do not crop, flip and rotate alike"),
    ):
        file = tmp_path / "a.toml"
        file.write_text(f"[processing.profiles]\nclear = {steps}\n")
        with pytest.raises(SettingsError) as caught:
            load_settings(file)
        assert reason in str(caught.value)


def test_a_value_where_a_table_belongs_is_said_in_words(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("site = 3\n")
    with pytest.raises(SettingsError, match=r"site is a table, not 3: write \[site\]\."):
        load_settings(file)


def test_a_list_of_choices_is_written_as_one() -> None:
    text = default_text(Settings, Settings.model_construct())
    assert '(list of "read", "raw")' in text
    assert "list of one of" not in text
