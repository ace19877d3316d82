"""Files and archived frames through the whole chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits
from PIL import Image
from typer.testing import CliRunner

from allsky360.archive import Archive, RawWriter
from allsky360.cli import app
from allsky360.config import ProcessingSettings, Settings
from allsky360.errors import AllskyError
from allsky360.imaging.encode import read_facts
from allsky360.masters import MasterError
from allsky360.model import Bracket, Exposure, Site
from allsky360.processing import (
    masters_for,
    process_archived_frame,
    process_files,
    reduce_linear,
)

WHEN = datetime(2026, 1, 1, 2, 3, 4, tzinfo=UTC)


def raw(seed: int = 0, level: float = 2000.0, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.poisson(level, size) + 300.0
    image[20:23, 30:33] += 8000
    return np.clip(image, 0, 65535).astype(np.uint16)


def write(path: Path, data: np.ndarray, exposure_s: float, seconds: int = 0) -> Path:
    header = fits.Header()
    header["EXPTIME"] = exposure_s
    header["DATE-OBS"] = (WHEN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    header["BAYERPAT"] = "RGGB"
    fits.PrimaryHDU(data, header).writeto(path)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        storage={"root": tmp_path / "archive"},
        camera={"black_level_adu": 300.0},
        site={"latitude_deg": 28.0, "longitude_deg": -17.0, "name": "Test"},
        dask={"gpu": "never"},
    )


def test_one_picture_and_one_record_a_file(tmp_path: Path, settings: Settings) -> None:
    paths = [write(tmp_path / f"{k}.fits", raw(k), 10.0, 20 * k) for k in range(2)]
    report = process_files(paths, tmp_path / "out", settings)
    assert [r.picture.name for r in report.done] == ["0.jpg", "1.jpg"]
    assert not report.failed
    record = json.loads((tmp_path / "out" / "1.json").read_text())
    assert record["sources"] == [str(paths[1])]
    assert record["start"] == "2026-01-01T02:03:24+00:00"
    assert record["statistics"]["background_green"] > 0
    assert [s["name"] for s in record["steps"]][:2] == ["calibrate", "noise"]
    assert all(s["seconds"] >= 0 for s in record["steps"])
    with Image.open(tmp_path / "out" / "1.jpg") as picture:
        assert picture.size == (128, 96)


def test_unreadable_file_is_named_and_the_rest_goes_on(tmp_path: Path, settings: Settings) -> None:
    bad = tmp_path / "bad.fits"
    bad.write_bytes(b"SIMPLE  = this is no FITS")
    paths = [bad, tmp_path / "missing.fits", write(tmp_path / "good.fits", raw(), 10.0)]
    report = process_files(paths, tmp_path / "out", settings)
    assert [Path(f.source).name for f in report.failed] == ["bad.fits", "missing.fits"]
    assert all(f.source in f.reason for f in report.failed)
    assert [r.picture.name for r in report.done] == ["good.jpg"]


def test_same_names_do_not_overwrite(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [write(tmp_path / folder / "x.fits", raw(), 1.0) for folder in "ab"]
    report = process_files(paths, tmp_path / "out", settings)
    assert [r.picture.name for r in report.done] == ["x.jpg", "x-2.jpg"]


def test_brackets_only_when_asked(tmp_path: Path, settings: Settings) -> None:
    paths = [
        write(tmp_path / f"{k}.fits", raw(k, 20_000 / 4 ** (k % 2)), 8.0 / 4 ** (k % 2), k)
        for k in range(5)
    ]
    report = process_files(paths, tmp_path / "out", settings, bracket=2)
    assert [len(r.sources) for r in report.done] == [2, 2]
    assert "1 exposures left over" in report.failed[0].reason
    record = json.loads((tmp_path / "out" / "0.json").read_text())
    assert [e["exposure_s"] for e in record["exposures"]] == [8.0, 2.0]


def test_unequal_files_do_not_merge(tmp_path: Path, settings: Settings) -> None:
    paths = [
        write(tmp_path / "a.fits", raw(), 8.0),
        write(tmp_path / "b.fits", raw(size=(64, 64)), 2.0),
    ]
    report = process_files(paths, tmp_path / "out", settings, bracket=2)
    assert not report.done
    assert "must share shape" in report.failed[0].reason


def test_output_folder_that_cannot_be(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AllskyError, match="cannot be made"):
        process_files([], tmp_path / "file", settings)


def test_command_line(tmp_path: Path) -> None:
    good = write(tmp_path / "good.fits", raw(), 10.0)
    out = tmp_path / "out"
    run = CliRunner().invoke(app, ["process", str(good), "--out", str(out)])
    assert run.exit_code == 0, run.output
    assert "1 pictures" in run.output
    run = CliRunner().invoke(app, ["process", str(good), str(tmp_path / "no.fits"), "-o", str(out)])
    assert run.exit_code == 1
    assert "no.fits" in run.output
    for wrong in ("x", "1:2:3", "-1:2"):
        run = CliRunner().invoke(app, ["process", str(good), "-o", str(out), f"--frames={wrong}"])
        assert run.exit_code == 2


def test_frames_of_a_long_file(
    tmp_path: Path, real_data: Callable[[str], Path], settings: Settings
) -> None:
    cdf = real_data("themis-gakona-2011/thg_l1_asf_gako_2011010617_v01.cdf")
    report = process_files([cdf], tmp_path, settings, frames=slice(3, 5))
    assert [r.picture.name.rsplit("-", 1)[1] for r in report.done] == ["0003.jpg", "0004.jpg"]


@pytest.mark.parametrize(
    "name",
    [
        "lowell-dct-2018/005.fits.bz2",
        "kho-svalbard/LYR-Sony-111220_200933.jpg",
        "mmt-skycam/2016_image_0003000.fits.gz",
        "dasc-pokerflat-2015/PKR_DASC_0558_20151007_082351.743.FITS",
        "kho-scmos-seq-2016/19_00_01_62.tif.xz",
    ],
)
def test_real_frames_give_a_picture_with_a_sky(
    name: str, tmp_path: Path, real_data: Callable[[str], Path]
) -> None:
    report = process_files([real_data(name)], tmp_path, Settings())
    assert not report.failed
    with Image.open(report.done[0].picture) as opened:
        picture = np.asarray(opened).astype(float)
    h, w = picture.shape[:2]
    middle = picture[h // 4 : -h // 4, w // 4 : -w // 4].reshape(-1, 3)
    level = np.median(middle, axis=0)
    assert 0.10 < level.mean() / 255 < 0.32
    assert np.ptp(level) <= 12  # no cast
    assert np.mean(middle.mean(axis=1) > 250) < 0.02


def test_archived_frame(tmp_path: Path, settings: Settings) -> None:
    site = Site("Test", 28.0, -17.0)
    refs = []
    writer = RawWriter(settings.storage.root, "Camera", site)
    for k in range(2):
        start = WHEN + timedelta(seconds=30 * k)
        exposures = tuple(
            Exposure(raw(k, 2000 / 4**n), "RGGB", start, 8.0 / 4**n, camera="Camera")
            for n in range(2)
        )
        refs.append(writer.append(Bracket(exposures), {}))
    writer.close()
    root = settings.storage.root
    records = [process_archived_frame(root, ref, settings) for ref in refs]
    assert [r["index"] for r in records] == [ref.index for ref in refs]
    json.dumps(records, allow_nan=False)
    archive = Archive(root)
    stored = archive.record(refs[1])["provenance"]
    assert archive.picture(refs[1]) is not None
    assert archive.unprocessed(refs[0].camera, refs[0].night) == []
    # The second frame continued the first one's tone instead of starting afresh.
    first = archive.record(refs[0])["provenance"]["tone"]
    process_archived_frame(root, refs[1], settings)
    again = archive.record(refs[1])["provenance"]
    assert again["tone"] == stored["tone"]
    assert stored["tone"]["time"] > first["time"]


def test_every_so_many_frames_keep_small_pictures_of_their_steps(
    tmp_path: Path, settings: Settings
) -> None:
    chosen = settings.model_copy(update={"processing": ProcessingSettings(step_pictures_every=2)})
    root = settings.storage.root
    writer = RawWriter(root, "Cam", Site("Test", 28.0, -17.0))
    shots = [
        Exposure(raw(k, size=(600, 1400)), "RGGB", WHEN + timedelta(minutes=k), 8.0, camera="Cam")
        for k in range(3)
    ]
    refs = [writer.append(Bracket((shot,)), {}) for shot in shots]
    writer.close()
    for ref in refs:
        process_archived_frame(root, ref, chosen)
    archive = Archive(root)
    assert archive.frames_with_steps("cam", refs[0].night) == [0, 2]
    steps = archive.record(refs[2])["provenance"]["steps"]
    found = archive.step_pictures(refs[2])
    assert [steps[n]["name"] for n in found] == [p.stem.partition("-")[2] for p in found.values()]
    names = [s["name"] for s in steps]
    first, last = names.index("balance"), len(names) - 1 - names[::-1].index("quantise")
    assert list(found) == list(range(first, last))
    assert {Image.open(p).size for p in found.values()} == {(640, 274)}
    whole = np.asarray(Image.open(archive.picture(refs[2])), float).mean()
    assert np.asarray(Image.open(found[last - 1]), float).mean() == pytest.approx(whole, abs=2.0)


def test_linear_frames_are_reduced_by_whole_blocks() -> None:
    small = np.ones((100, 100, 3), np.float32)
    assert reduce_linear(small).shape == (100, 100, 3)
    mono = np.broadcast_to(np.ones((2180, 3856, 1), np.float32), (2180, 3856, 3))
    assert reduce_linear(mono).shape == (726, 1285, 3)


def test_masters_are_read_again_when_the_folder_changes(tmp_path: Path) -> None:
    assert masters_for(Settings()) is None
    settings = Settings(processing={"dark_root": tmp_path})
    first = masters_for(settings)
    assert first is masters_for(settings)
    fits.PrimaryHDU(np.zeros((4, 4), np.float32), fits.Header([("IMAGETYP", "bias")])).writeto(
        tmp_path / "bias.fits"
    )
    second = masters_for(settings)
    assert second is not None
    assert len(second.frames) == 1
    below = tmp_path / "cold"
    below.mkdir()
    for level in (1.0, 20.0):  # the same name again: the folders' own times say nothing
        data = np.full((4, 4 + int(level)), level, np.float32)
        fits.PrimaryHDU(data, fits.Header([("IMAGETYP", "bias")])).writeto(
            below / "bias.fits", overwrite=True
        )
        again = masters_for(settings)
        assert again is not None
        assert max(float(np.max(np.asarray(m.pixels))) for m in again.frames) == level


def test_an_archive_applies_the_masters_that_lie_in_it(tmp_path: Path) -> None:
    assert masters_for(Settings(), tmp_path) is None
    (tmp_path / "masters").mkdir()
    fits.PrimaryHDU(np.zeros((4, 4), np.float32), fits.Header([("IMAGETYP", "bias")])).writeto(
        tmp_path / "masters" / "bias.fits"
    )
    found = masters_for(Settings(), tmp_path)
    assert found is not None
    assert [m.name for m in found.frames] == ["bias.fits"]
    # Files of other cameras get none unless the settings name them.
    assert masters_for(Settings()) is None
    # What the settings name is used, and missed.
    named = Settings(processing={"dark_root": tmp_path / "nothing"})
    with pytest.raises(MasterError, match="does not exist"):
        masters_for(named, tmp_path)


def test_a_damaged_earlier_record_costs_only_its_tone(tmp_path: Path, settings: Settings) -> None:
    root = settings.storage.root
    writer = RawWriter(root, "Test", Site("Test", 28.0, -17.0))
    refs = [
        writer.append(
            Bracket((Exposure(raw(k), "RGGB", WHEN + timedelta(seconds=20 * k), 10.0),)), {}
        )
        for k in range(2)
    ]
    writer.close()
    process_archived_frame(root, refs[0], settings)
    (record,) = root.rglob("frames/*.json")
    for damage in ("", "{}", "[]", '{"provenance": {"tone": {"time": null}}}', "\x00"):
        record.write_text(damage)
        assert process_archived_frame(root, refs[1], settings)["index"] == refs[1].index
    record.unlink()
    record.mkdir()  # reading it is an error of the system, not of JSON
    assert process_archived_frame(root, refs[1], settings)["index"] == refs[1].index


def test_every_step_can_be_written_by_command(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", raw(), 10.0)
    out = tmp_path / "out"
    run = CliRunner().invoke(
        app, ["process", str(path), "-o", str(out), "--profile", "cloudy", "--steps"]
    )
    assert run.exit_code == 0, run.output
    names = sorted(p.name for p in out.glob("a.*-*.jpg"))
    assert names[0] == "a.1-balance.jpg"
    record = json.loads((out / "a.json").read_text())
    made = [s["name"] for s in record["steps"] if s["parameters"].get("profile") == "cloudy"]
    assert [n.split("-", 1)[1].removesuffix(".jpg") for n in names] == ["balance", *made]


@pytest.mark.parametrize(
    ("name", "suffix"), [("png", "png"), ("webp", "webp"), ("avif", "avif"), ("jpeg", "jpg")]
)
def test_pictures_in_other_formats(name: str, suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", raw(), 10.0)
    out = tmp_path / "out"
    run = CliRunner().invoke(
        app, ["process", str(path), "-o", str(out), "--steps", "--format", name]
    )
    assert run.exit_code == 0, run.output
    with Image.open(out / f"a.{suffix}") as picture:
        assert picture.format == name.upper()
        assert picture.size == (128, 96)
        assert read_facts((out / f"a.{suffix}").read_bytes())["exposure_s"] == 10.0
    assert (out / f"a.1-balance.{suffix}").exists()
    assert json.loads((out / "a.json").read_text())["picture"] == f"a.{suffix}"


def test_formats_that_cannot_be_written_are_refused_first(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CliRunner().invoke(app, ["process", "a.fits", "-o", str(tmp_path), "--format", "gif"])
    assert run.exit_code == 2
    Image.init()
    monkeypatch.delitem(Image.SAVE, "AVIF")  # an older Pillow
    with pytest.raises(AllskyError, match="This Pillow cannot write avif"):
        process_files([], tmp_path / "out", settings, format="avif")
    assert not (tmp_path / "out").exists()


def test_unknown_profile_is_refused(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(AllskyError, match="no profile 'noon'"):
        process_files([], tmp_path / "out", settings, profile="noon")


def test_a_frame_with_a_lens_is_measured_and_named(tmp_path: Path, settings: Settings) -> None:
    from allsky360.imaging.parameters import ChainParameters
    from allsky360.lenses import lens_folder
    from allsky360.simulator.sky import SkySource
    from allsky360.simulator.source import ExposureRequest, as_exposure
    from allsky360.sky.lens_file import LensFile, write_lens

    site = Site("La Palma", 28.7606, -17.8816, 2326.0)
    source = SkySource.from_settings(
        Settings(simulator={"width": 1000, "height": 800, "cloud_cover": 0.0}), site
    )
    start = datetime(2026, 11, 14, 0, 0, tzinfo=UTC)
    request = ExposureRequest(start=start, exposure_s=10.0, gain=0.0)
    shot = source.expose(request)
    exposure = as_exposure(shot, request)
    root = settings.storage.root
    writer = RawWriter(root, "Test", site)
    refs = [writer.append(Bracket((exposure,)), {}) for _ in range(2)]
    folder = lens_folder(root, refs[0].camera)
    folder.mkdir(parents=True)
    about = LensFile(source.lens, "Test", 1, start, site, (start,), {}, {}, "test", ())
    write_lens(folder / "0001.json", about)

    plain = Settings(storage={"root": root}, dask={"gpu": "never"})
    record = process_archived_frame(root, refs[0], plain)
    truth = shot.truth["sky_v_mag_arcsec2_zenith"]
    assert record["statistics"]["sky_brightness_mag_arcsec2"] == pytest.approx(truth, abs=0.15)
    kept = Archive(root).record(refs[0])["provenance"]["sky"]
    assert kept["night_phase"] == "night"
    assert kept["lens"]["serial"] == 1
    picture = Archive(root).picture(refs[0])
    assert picture is not None
    night = xr.open_zarr(next(root.rglob("v0001.zarr"))).isel(time=0).load()
    assert night.sky_brightness_mag_arcsec2.units == "mag arcsec-2"
    assert night.zero_point_mag.ancillary_variables == "zero_point_mag_sigma"
    capella = float(night.star_flux.sel(star=24608))
    assert capella > 20 * float(night.star_flux_sigma.sel(star=24608)) > 0
    assert np.isfinite(night.star_flux.values).sum() > 1500
    zenith = night.where(night.cell_altitude_deg > 80).cell_brightness_mag_arcsec2
    assert float(zenith.median()) == pytest.approx(truth, abs=0.2)
    assert float((night.cloud_state == 1).mean()) < 0.1

    named = Settings(
        storage={"root": root},
        dask={"gpu": "never"},
        overlay={"burn_in": True},
        processing={
            "white_balance": {"mode": "stars"},
            "profiles": {
                name: ["stretch", "flip(horizontal=true)"] for name in ChainParameters().profiles
            },
        },
    )
    process_archived_frame(root, refs[1], named)
    later = Archive(root).record(refs[1])["provenance"]
    balance = later["sky"]["memory"]["balance"]
    # The same light again: a frame without a gap starts the tone afresh, and both frames agree.
    assert later["tone"]["gains"] == [balance["red"], 1.0, balance["blue"]]
    assert balance["frames"] == 2
    assert balance["red"] == pytest.approx(1.221, rel=0.05)
    assert balance["blue"] == pytest.approx(1.768, rel=0.05)
    burnt = Archive(root).picture(refs[1])
    assert burnt is not None
    with Image.open(picture) as before, Image.open(burnt) as after:
        difference = np.abs(np.asarray(before, int)[:, ::-1] - np.asarray(after, int))
    assert 0.005 < (difference.max(axis=2) > 60).mean() < 0.2
