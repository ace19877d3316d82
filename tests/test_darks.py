"""The library of masters: built of files and of the camera's frames, matched, checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from allsky360.cli import app
from allsky360.config import Settings
from allsky360.darks import DarksError, Order, build, check, latest_exposures, take
from allsky360.imaging.calibrate import calibrate
from allsky360.imaging.flat import flat_for
from allsky360.imaging.master import Masters
from allsky360.masters import MasterError, load_masters, master_folder
from allsky360.masters_write import write_frame
from allsky360.model import Exposure
from allsky360.simulator.sensor import SensorModel
from allsky360.simulator.source import ExposureRequest, SensorDescription

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
SENSOR = SensorModel(SensorDescription(width=96, height=64), seed=2, hot_pixel_fraction=4e-3)
PEDESTAL = SENSOR.description.pedestal_adu(30.0)


def shot(kind: Any, exposure_s: float, seed: int, celsius: float = 10.0, **more: Any) -> Exposure:
    request = ExposureRequest(WHEN, exposure_s, 100.0, temperature_c=celsius, frame_type=kind)
    light = more.pop("light", None)
    pixels = SENSOR.read_out(light, request, np.random.default_rng(seed))
    return Exposure(
        pixels, "RGGB", WHEN + timedelta(seconds=seed), exposure_s, gain=100.0, offset=30.0,
        temperature_c=celsius, saturation_adu=SENSOR.saturation_adu(request), camera="Sim Cam",
        frame_type=kind, **more,
    )  # fmt: skip


def frames(folder: Path, kind: str, exposure_s: float, count: int = 8, **more: Any) -> None:
    for k in range(count):
        write_frame(
            folder / f"{kind}-{exposure_s:g}-{more.get('celsius', 10)}-{k}.fits",
            shot(kind, exposure_s, k + int(exposure_s), **more),
        )


def test_masters_are_built_read_back_and_applied(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "masters"
    frames(raw, "bias", 0.0)
    frames(raw, "dark", 60.0)
    frames(raw, "dark", 60.0, celsius=0.0)
    frames(raw, "dark", 240.0, count=3)
    told: list[Any] = []
    report = build([raw], out, report=told.append)
    assert report.failed == []
    assert told == report.built
    assert [(m.kind, m.exposure_s, m.frames) for m in report.built] == [
        ("bias", 0.0, 8), ("dark", 60.0, 8), ("dark", 60.0, 8), ("dark", 240.0, 3),
    ]  # fmt: skip
    with fits.open(out / "master_dark_sim-cam_60s_g100_o30_+10C_96x64b1.fits") as units:
        header = units[0].header
        assert header["IMAGETYP"] == "MASTER DARK"
        assert header["NCOMBINE"] == 8
        assert header["EXPTIME"] == 60.0
        assert (header["GAIN"], header["OFFSET"], header["CCD-TEMP"]) == (100.0, 30.0, 10.0)
        assert header["INSTRUME"] == "Sim Cam"
        assert header["DATE-OBS"] == "2026-01-01T00:01:00.000"
        assert header["NHOT"] > 0
        assert len(header["HISTORY"]) == 8
    masters = load_masters(out)
    assert sorted(m.frames for m in masters.frames) == [3, 8, 8, 8]
    dark = next(m for m in masters.frames if m.exposure_s == 240.0)
    assert (dark.camera, dark.temperature_c, dark.noise_adu) == (
        "Sim Cam", 10.0, pytest.approx(report.built[3].noise_adu, abs=1e-3),
    )  # fmt: skip
    light = calibrate(shot("light", 60.0, 99), black_level_adu=0, masters=masters)
    assert light.used == ("master_dark_sim-cam_60s_g100_o30_+10C_96x64b1.fits",)
    assert abs(float(np.median(light.light))) < 3
    assert light.repaired > 0
    # Building again replaces, and the frames' order does not matter.
    again = build(sorted(raw.iterdir(), reverse=True), out)
    assert len(list(out.iterdir())) == 4
    assert len(again.built) == 4


def test_unstable_pixels_survive_the_file(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for k in range(8):
        jumping = shot("dark", 10.0, k)
        jumping.pixels[30, 41] = 600 if k % 2 else 3000
        write_frame(raw / f"{k}.fits", jumping)
    (made,) = build([raw], tmp_path / "m").built
    assert made.unstable >= 1
    (master,) = load_masters(tmp_path / "m").frames
    assert master.unstable is not None
    assert 30 * 96 + 41 in master.unstable
    light = calibrate(shot("light", 10.0, 50), black_level_adu=0, masters=Masters((master,)))
    assert abs(float(light.light[30, 41])) < 60


def test_flats_lose_their_pedestal_and_their_brightness(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :96]
    vignette = np.cos(np.hypot(y - 32, x - 48) / 60.0).astype(np.float32)
    frames(tmp_path / "b", "bias", 0.0)
    for k, lamp in enumerate((20_000, 24_000, 16_000, 22_000, 18_000, 21_000)):
        write_frame(tmp_path / "b" / f"f{k}.fits", shot("flat", 0.5, k, light=lamp * vignette))
    report = build([tmp_path / "b"], tmp_path / "m")
    assert report.failed == []
    masters = load_masters(tmp_path / "m")
    flat = flat_for(shot("light", 3.0, 1), masters)
    assert flat is not None
    middle = vignette[20:44, 36:60].mean()
    np.testing.assert_allclose(flat.factor, middle / vignette, rtol=0.05)
    assert calibrate(shot("light", 3.0, 1), black_level_adu=0, masters=masters).used == (
        "master_bias_sim-cam_g100_o30_+10C_96x64b1.fits",
    )


def test_bad_flats_are_named(tmp_path: Path) -> None:
    write_frame(tmp_path / "f.fits", shot("flat", 0.5, 1, light=np.full((64, 96), 9e4, np.float32)))
    (failed,) = build([tmp_path / "f.fits"], tmp_path / "m").failed
    assert "Flats need a bias or dark" in failed[1]
    frames(tmp_path, "bias", 0.0, count=3)
    report = build([tmp_path / "f.fits", *tmp_path.glob("bias*")], tmp_path / "m")
    assert "a flat needs 2 to 85 %" in report.failed[0][1]
    assert [m.kind for m in report.built] == ["bias"]


def test_what_cannot_be_used_stops_nothing_else(tmp_path: Path) -> None:
    frames(tmp_path / "raw", "dark", 5.0)
    write_frame(tmp_path / "raw" / "light.fits", shot("light", 5.0, 1))
    (tmp_path / "raw" / "notes.txt").write_text("hello")
    report = build([tmp_path / "raw"], tmp_path / "m")
    assert [m.frames for m in report.built] == [8]
    reasons = {Path(p).name: why for p, why in report.failed}
    assert reasons["light.fits"] == "does not say that it is a bias, a dark or a flat"
    assert "notes.txt" in reasons
    as_dark = build([tmp_path / "raw" / "light.fits"], tmp_path / "m2", kind="dark")
    assert as_dark.built[0].kind == "dark"
    with pytest.raises(DarksError, match="no file"):
        build([tmp_path / "m3"], tmp_path / "m") if (tmp_path / "m3").mkdir() is None else None


def test_a_frame_with_light_is_left_out_and_named(tmp_path: Path) -> None:
    frames(tmp_path, "dark", 5.0)
    leak = shot("dark", 5.0, 50)
    write_frame(tmp_path / "leak.fits", replace(leak, pixels=leak.pixels + np.uint16(200)))
    (made,) = build([tmp_path], tmp_path / "m").built
    assert made.left_out == ("leak.fits",)


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    header = fits.Header([("IMAGETYP", "dark")])
    fits.PrimaryHDU(np.full((20, 20), np.nan, np.float32), header).writeto(tmp_path / "n.fits")
    with pytest.raises(MasterError, match="not numbers"):
        load_masters(tmp_path)


def test_bottom_up_masters_are_turned(tmp_path: Path) -> None:
    header = fits.Header([("IMAGETYP", "Dark Frame"), ("EXPTIME", 3.0), ("ROWORDER", "BOTTOM-UP")])
    pixels = np.arange(12, dtype=np.float32).reshape(4, 3)
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "d.fits")
    (master,) = load_masters(tmp_path).frames
    assert np.array_equal(master.array(), pixels[::-1])
    fits.PrimaryHDU(np.zeros((9, 9), np.float32), header).writeto(
        tmp_path / "d.fits", overwrite=True
    )
    with pytest.raises(MasterError, match="another size"):
        master.array()


# -- from the camera --------------------------------------------------------------------------


class FakeOwner:
    """An owner over the simulated sensor."""

    def __init__(self, root: Path, fails_at: float | None = None) -> None:
        self.root, self.fails_at = root, fails_at
        self.asked: list[tuple[str, float, int, float | None]] = []

    def calibration(
        self, kind: str, exposure_s: float, count: int, *, gain: float | None = None, run_id: str
    ) -> Iterator[dict[str, Any]]:
        self.asked.append((kind, exposure_s, count, gain))
        if exposure_s == self.fails_at:
            yield {"event": "failed", "name": "timeout", "message": "no answer."}
            return
        for k in range(count):
            file = f"sim-cam/calibration/{run_id}/{kind}-{exposure_s:g}-{k}.fits"
            write_frame(self.root / file, shot(kind, exposure_s, k))
            yield {"event": "frame", "file": file, "kind": kind, "number": k + 1}
        yield {"event": "end", "frames": count}


def settings(root: Path) -> Settings:
    return Settings(storage={"root": root})


def test_take_builds_and_cleans_up(tmp_path: Path) -> None:
    owner = FakeOwner(tmp_path)
    order = Order((1.0, 30.0), count=6, gain=100.0, biases=5)
    told: list[Any] = []
    report = take(owner, settings(tmp_path), order, run_id="r", tell=told.append)
    assert owner.asked == [
        ("bias", 0.0, 5, 100.0),
        ("dark", 1.0, 6, 100.0),
        ("dark", 30.0, 6, 100.0),
    ]
    assert [m.exposure_s for m in report.built] == [0.0, 1.0, 30.0]
    assert len(load_masters(tmp_path / "masters").frames) == 3
    assert not (tmp_path / "sim-cam/calibration/r").exists()
    assert sum(e["event"] == "frame" for e in told) == 17
    take(owner, settings(tmp_path), order, run_id="kept", keep=True)
    assert len(list((tmp_path / "sim-cam/calibration/kept").iterdir())) == 17


def test_what_was_taken_before_a_failure_is_built(tmp_path: Path) -> None:
    owner = FakeOwner(tmp_path, fails_at=30.0)
    with pytest.raises(DarksError, match=r"timeout: no answer\. 2 masters were built"):
        take(owner, settings(tmp_path), Order((1.0, 30.0, 60.0), 6), run_id="r")
    assert len(owner.asked) == 3
    assert len(load_masters(tmp_path / "masters").frames) == 2


def test_check_says_what_would_be_used(tmp_path: Path) -> None:
    take(FakeOwner(tmp_path), settings(tmp_path), Order((10.0,), 6), run_id="r")
    masters = load_masters(master_folder(settings(tmp_path)))
    good, short, warm = check(
        masters,
        [shot("light", 10.0, 1), shot("light", 1.0, 1), shot("light", 10.0, 1, celsius=30.0)],
    )
    assert good.used == ("master_dark_sim-cam_10s_g100_o30_+10C_96x64b1.fits",)
    assert "fewer than 10 frames" in good.problems[0]
    assert len(short.used) == 2
    assert short.problems == ()
    assert "was taken at 10 C, the exposure at 30 C" in warm.problems[0]
    (none,) = check(Masters(), [shot("light", 1.0, 1)])
    assert none.used == ()
    assert "No master frame fits" in none.problems[0]
    with pytest.raises(DarksError, match="no frame below"):
        latest_exposures(settings(tmp_path / "empty"))


# -- command line -----------------------------------------------------------------------------


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLSKY360_PROCESSING__DARK_ROOT", str(tmp_path / "m"))
    monkeypatch.setenv("ALLSKY360_STORAGE__ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    run = CliRunner().invoke
    frames(tmp_path / "raw", "dark", 10.0)
    built = run(app, ["darks", "build", str(tmp_path / "raw")])
    assert built.exit_code == 0, built.output
    assert "8 frames, noise" in built.output
    assert "1 masters, 0 frames failed" in built.output
    listed = run(app, ["darks", "list"])
    assert listed.exit_code == 0, listed.output
    assert "1 masters" in listed.output
    write_frame(tmp_path / "light.fits", shot("light", 10.0, 1))
    write_frame(tmp_path / "long.fits", shot("light", 90.0, 1))
    fits_it = run(app, ["darks", "check", str(tmp_path / "light.fits")])
    assert fits_it.exit_code == 0, fits_it.output
    assert "10 s, gain 100, 10 C: master_dark_sim-cam_10s" in fits_it.output
    lacking = run(app, ["darks", "check", str(tmp_path / "long.fits")])
    assert lacking.exit_code == 1
    assert "no bias to scale it with" in lacking.output
    assert run(app, ["darks", "build", "--kind", "lamp", str(tmp_path)]).exit_code == 2
    frames(tmp_path / "mixed", "light", 1.0, count=1)
    assert run(app, ["darks", "build", str(tmp_path / "mixed")]).exit_code == 1


def test_take_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from allsky360.owner.client import OwnerClient

    monkeypatch.setenv("ALLSKY360_STORAGE__ROOT", str(tmp_path))
    fake = FakeOwner(tmp_path)
    monkeypatch.setattr(
        OwnerClient, "calibration", lambda self, *a, **k: _with_numbers(fake.calibration(*a, **k))
    )
    result = CliRunner().invoke(app, ["darks", "take", "2", "--count", "5", "--biases", "5"])
    assert result.exit_code == 0, result.output
    assert "2 masters, 0 frames failed" in result.output
    assert f"applied from the next frame on: {tmp_path / 'masters'}" in result.output


def _with_numbers(events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for event in events:
        yield {"exposure_s": 2.0, "temperature_c": None, **event}
