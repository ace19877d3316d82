"""``allsky360 sky solve | calibrate | lens`` on frames of the simulated sky."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from click.testing import Result
from typer.testing import CliRunner

from allsky360.cli import app
from allsky360.errors import AllskyError, SettingsError
from allsky360.lens_calibration import FileSolved, lens_of_files, solve_files
from allsky360.lens_calibration.frames import Seen
from allsky360.lenses import lens_paths
from allsky360.overlay.files import read_lens as overlay_lens
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.lens_file import LensFileError, read_lens
from allsky360.sky.solve import solve_lens
from allsky360.sky.stars import StarList
from tests.lens_nights import EXPOSURE_S, LENS, SITE, SLUG, exposure, settings_for, store
from tests.sky.lens_cases import error_px, found_stars

WHEN = datetime(2026, 11, 13, 23, tzinfo=UTC)
HERE = ["--latitude", str(SITE.latitude_deg), "--longitude", str(SITE.longitude_deg)]


def write(path: Path, start: datetime, *, dated: bool = True, cloud_cover: float = 0.0) -> Path:
    header = fits.Header()
    header["EXPTIME"] = EXPOSURE_S
    header["BAYERPAT"] = "RGGB"
    header["INSTRUME"] = "Test Cam"
    if dated:
        header["DATE-OBS"] = start.strftime("%Y-%m-%dT%H:%M:%S")
    fits.PrimaryHDU(exposure(start, LENS, cloud_cover).pixels, header).writeto(path)
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["sky", *map(str, words)], catch_exceptions=True)


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
def test_files_are_solved_blind_into_a_lens_file_and_a_wcs(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{k}.fits", WHEN + timedelta(hours=2 * k)) for k in range(2)]
    (tmp_path / "bad.fits").write_bytes(b"SIMPLE  = no")
    result = run("solve", *files, tmp_path / "bad.fits", *HERE, "--elevation", 2326,
                 "--out", tmp_path / "lens.json", "--wcs", tmp_path / "lens.hdr")  # fmt: skip
    assert result.exit_code == 1, result.output  # one file was refused
    lines = result.output.splitlines()
    assert "normal" in lines[0]
    assert "chance 1 in 10^" in lines[1]
    assert "bad.fits  refused, unreadable" in lines[2]
    content = read_lens(tmp_path / "lens.json")
    assert (content.camera, content.serial, len(content.frames)) == ("Test Cam", 1, 2)
    assert error_px(content.lens, LENS).max() < 0.2
    assert overlay_lens(tmp_path / "lens.json") == content.lens
    broken = json.loads((tmp_path / "lens.json").read_text()) | {"format": 99}
    (tmp_path / "new.json").write_text(json.dumps(broken))
    with pytest.raises(LensFileError, match="format 99"):
        overlay_lens(tmp_path / "new.json")

    header = fits.Header.fromstring((tmp_path / "lens.hdr").read_text(encoding="ascii"))
    catalogue = load_catalogue(4.0)
    middle = WHEN + timedelta(seconds=EXPOSURE_S / 2)
    altitude, azimuth = apparent_altaz(catalogue, SITE, middle)
    high = altitude > 25.0
    x, y, _ = LENS.project(altitude[high], azimuth[high])
    sky = WCS(header).all_world2pix(catalogue.ra_deg[high], catalogue.dec_deg[high], 0)
    assert np.percentile(np.hypot(sky[0] - x, sky[1] - y), 95) < 0.3
    horizon = WCS(header, key="A").all_world2pix(azimuth[high], altitude[high], 0)
    assert np.max(np.hypot(horizon[0] - x, horizon[1] - y)) < 0.3


def test_a_time_is_never_guessed(tmp_path: Path) -> None:
    file = write(tmp_path / "x.fits", WHEN, dated=False)
    os.utime(file, (WHEN.timestamp(), WHEN.timestamp()))
    refused = run("solve", file, *HERE)
    assert refused.exit_code == 1
    assert "no-time" in refused.output
    solved = run("solve", file, *HERE, "--at", "2026-11-13T23:00:05")
    assert solved.exit_code == 0, solved.output
    assert "stars matched" in solved.output
    assert (
        "one time fits one file" in run("solve", file, file, *HERE, "--at", "2026-11-13T23").output
    )
    assert "--longitude go together" in run("solve", file, "--latitude", 3).output.replace(
        "\n", " "
    )
    assert "no such frame" in run("solve", file, *HERE, "--frames", "3:4").output
    assert isinstance(run("solve", file).exception, SettingsError)  # no site


def test_frames_of_two_cameras_or_none_solved_make_no_lens_file(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    header = fits.Header({"EXPTIME": 10.0, "DATE-OBS": "2026-11-13T23:00:00"})
    noise = np.random.default_rng(1).normal(600, 10, (200, 260)).astype(np.uint16)
    fits.PrimaryHDU(noise, header).writeto(tmp_path / "cloud.fits")
    results = solve_files([tmp_path / "cloud.fits", tmp_path / "none.fits"], settings)
    assert [r.reason for r in results] == ["too-few-stars", "unreadable"]
    with pytest.raises(AllskyError, match="no frame was solved"):
        lens_of_files(results, SITE)
    seen = Seen("x", StarList(*[np.zeros(0)] * 9), WHEN, 900, 700)
    stars = found_stars(LENS, SITE, WHEN, np.random.default_rng(1))
    solution = solve_lens(stars, SITE, WHEN, LENS.width, LENS.height, hint=LENS)
    two = [
        FileSolved("a", "", seen, solution),
        FileSolved("b", "", replace(seen, width=450), solution),
    ]
    with pytest.raises(AllskyError, match="450 x 700, 900 x 700"):
        lens_of_files(two, SITE)


def test_a_night_is_calibrated_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLSKY360_STORAGE__ROOT", str(tmp_path))
    assert isinstance(run("calibrate").exception, AllskyError)  # nothing there
    store(tmp_path, [WHEN])
    assert f"{SLUG} has no lens file yet" in run("lens").output
    made = run("calibrate", SLUG, "2026-11-13")
    assert made.exit_code == 0, made.output
    assert "written (first), lens 1" in made.output
    assert len(lens_paths(tmp_path, SLUG)) == 1
    shown = run("lens", "Sim Camera 1")
    assert "lens 1 of sim-camera-1, 720 x 560 px" in shown.output
    assert "| 60 to 90 deg |" in shown.output
    assert "2026-11-13  written (first), lens 1" in shown.output
    assert run("calibrate", SLUG, "yesterday").exit_code == 2
    assert isinstance(run("calibrate", "other").exception, AllskyError)
    assert json.loads(lens_paths(tmp_path, SLUG)[0].read_text())["camera"] == SLUG
