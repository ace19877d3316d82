from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from allsky360.config import load_settings
from allsky360.errors import SettingsError
from allsky360.overlay.options import OverlayError, OverlayOptions, fill_template

TIME = datetime(2026, 11, 22, 21, 0, 5, tzinfo=UTC)


def test_fields_and_formats() -> None:
    fields = {"time": TIME, "exposure_s": 10.0, "gain": 120, "site": "Gipfel {x}"}
    text = "{site} {time:%H:%M:%S}\n{exposure_s:.1f} s, gain {gain:g}\n{{literal}}"
    assert fill_template(text, fields) == ["Gipfel {x} 21:00:05", "10.0 s, gain 120", "{literal}"]


def test_absent_fields_are_dashes_and_lines_of_them_are_left_out() -> None:
    fields = {"stars": 812, "zenith": None}
    lines = fill_template("stars {stars}, limit {limit:.1f}\nsky {zenith:.2f}\n\nend", fields)
    assert lines == ["stars 812, limit –", "", "end"]
    assert fill_template("", {}) == []


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("a\n{time.__class__}", r"line 2 .*time\.__class__"),
        ("{0}", "no field name"),
        ("{fields[x]}", "no field name"),
        ("{site", "line 1"),
        ("{site:.1f}", "line 1"),
        ("{gain:9999}", "too wide"),
        ("{gain!q}", "line 1"),
    ],
)
def test_a_template_that_cannot_be_read_is_one_clear_error(template: str, reason: str) -> None:
    with pytest.raises(OverlayError, match=reason):
        fill_template(template, {"site": "x", "gain": 3, "time": TIME})


def test_settings_refuse_what_cannot_be_drawn(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for line in ('text_corner = "middle"', "size = 0", 'text = "{site.x}"', 'text = "{"'):
        file = tmp_path / "a.toml"
        file.write_text(f"[overlay]\n{line}\n")
        with pytest.raises(SettingsError, match="overlay"):
            load_settings(file)
    with pytest.raises(ValidationError):
        OverlayOptions(horizon_deg=90)
    assert OverlayOptions(text="").text == ""
