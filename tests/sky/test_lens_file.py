from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from allsky360.model import Site
from allsky360.sky import lens_file
from allsky360.sky.lens import fisheye
from allsky360.sky.lens_drift import DriftError, lens_drift
from allsky360.sky.lens_file import LensFileError, read_lens, write_lens
from allsky360.sky.solve import LensSolution, solve_lens
from allsky360.sky.solved_lens import lens_file_of
from tests.sky.lens_cases import found_stars

WHEN = datetime(2026, 3, 17, 23, tzinfo=UTC)
TEIDE = Site("Teide", 28.3, -16.5, 2400.0)
LENS = fisheye(1600, 1100, rotation_deg=20.0, tilt_north_deg=1.0)


def solve(lens, seed=1, when=WHEN) -> LensSolution:
    stars = found_stars(lens, TEIDE, when, np.random.default_rng(seed))
    return solve_lens(stars, TEIDE, when, lens.width, lens.height, hint=LENS)


@pytest.fixture(scope="module")
def solution() -> LensSolution:
    return solve(LENS)


@pytest.fixture
def written(solution: LensSolution, tmp_path: Path) -> Path:
    content = lens_file_of(solution, camera="Sim", serial=3, solved=WHEN)
    return write_lens(tmp_path / "deep" / "lens.json", content)


def test_comes_back_as_written(solution: LensSolution, written: Path):
    content = read_lens(written)
    assert content.lens == solution.lens
    assert (content.camera, content.serial, content.solved) == ("Sim", 3, WHEN)
    assert content.site == TEIDE
    assert content.frames == (WHEN,)
    assert set(content.sigma) == set(solution.free)
    assert content.quality["held_out_rms_px"] == solution.evidence.rms_px
    assert content.quality["rings"][0]["altitude_deg"][1] <= 15
    assert content.software.startswith("allsky360")
    assert [p.name for p in written.parent.iterdir()] == ["lens.json"]


def test_people_can_read_it(written: Path):
    text = written.read_text()
    assert '"focal_px": ' in text
    assert len(text.splitlines()) > 40


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("kind",), "photo", "not a lens file"),
        (("format",), 2, "format 2"),
        (("lens", "focal_px"), -5.0, "focal_px is -5.0"),
        (("lens", "focal_px"), "wide", "lens.focal_px is 'wide'"),
        (("lens", "width"), 12.5, "lens.width"),
        (("lens", "parity"), 0, "parity is 0"),
        (("lens", "projection"), "mercator", "mercator"),
        (("lens", "zoom"), 1.0, "lens.zoom is unknown"),
        (("lens",), [1], "lens is not an object"),
        (("site", "latitude_deg"), 128.3, "site.latitude_deg"),
        (("solved",), "2026-03-17T23:00:00", "without a zone"),
        (("solved",), "yesterday", "yesterday"),
        (("serial",), True, "serial is True"),
        (("frames",), 5, "wrong value"),
    ],
)
def test_wrong_values_are_named(written: Path, path, value, message):
    record = json.loads(written.read_text())
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    written.write_text(json.dumps(record))
    with pytest.raises(LensFileError, match=message) as error:
        read_lens(written)
    assert str(written) in str(error.value)


@pytest.mark.parametrize("key", ["lens", "site", "solved", "sigma"])
def test_missing_values_are_named(written: Path, key: str):
    record = json.loads(written.read_text())
    del record[key]
    written.write_text(json.dumps(record))
    with pytest.raises(LensFileError, match=f"lacks '{key}'"):
        read_lens(written)


def test_no_file_half_a_file_and_no_text(written: Path, tmp_path: Path):
    with pytest.raises(LensFileError, match=r"absent\.json"):
        read_lens(tmp_path / "absent.json")
    whole = written.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"\xff\xfe\x00", b"[]"):
        written.write_bytes(damaged)
        with pytest.raises(LensFileError):
            read_lens(written)


def test_a_failed_write_keeps_the_old_file(written: Path, monkeypatch: pytest.MonkeyPatch):
    old = written.read_bytes()
    content = read_lens(written)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lens_file.os, "fsync", full)
    with pytest.raises(LensFileError, match="No space left"):
        write_lens(written, replace(content, serial=4))
    assert written.read_bytes() == old
    assert [p.name for p in written.parent.iterdir()] == ["lens.json"]


def test_no_number_is_written_as_null(written: Path):
    content = read_lens(written)
    quality = {"held_out_rms_px": float("nan")}
    write_lens(written, replace(content, quality=quality))
    assert read_lens(written).quality["held_out_rms_px"] is None


def test_drift_is_what_was_moved(solution: LensSolution):
    moved = replace(
        LENS,
        cx=LENS.cx + 1.5,
        cy=LENS.cy - 0.8,
        rotation_deg=LENS.rotation_deg - 0.10,
        focal_px=LENS.focal_px * 1.0015,
    )
    later = WHEN + timedelta(days=1)
    (drift,) = lens_drift([solution, solve(moved, seed=2, when=later)])
    assert drift.dx_px == pytest.approx(1.5, abs=5 * drift.dx_sigma_px + 0.03)
    assert drift.dy_px == pytest.approx(-0.8, abs=5 * drift.dy_sigma_px + 0.03)
    # d(x, y)/d rotation of a parity -1 lens is (y - cy, cx - x): the other way round.
    assert drift.rotation_deg == pytest.approx(0.10, abs=5 * drift.rotation_sigma_deg)
    assert drift.scale == pytest.approx(0.0015, abs=5 * drift.scale_sigma + 5e-5)
    assert drift.significance > 10
    assert drift.when == later
    assert drift.dx_sigma_px < 0.1


def test_the_same_lens_does_not_drift(solution: LensSolution):
    drifts = lens_drift([solution, *(solve(LENS, seed=s) for s in (5, 6, 7))])
    assert all(d.significance < 5 for d in drifts)
    assert all(abs(d.dx_px) < 0.15 and d.residual_px < 0.3 for d in drifts)


def test_a_mirrored_or_resized_camera_is_no_drift(solution: LensSolution):
    for change in ({"parity": 1}, {"width": 800}):
        other = replace(solution, lens=replace(LENS, **change))
        with pytest.raises(DriftError, match=next(iter(change))):
            lens_drift([solution, other])
    assert lens_drift([]) == []
