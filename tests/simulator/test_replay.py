"""Replaying folders of frames: made here, and real ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from astropy.io import fits

from allsky360.clock import REAL_CLOCK
from allsky360.config import Settings
from allsky360.model import Exposure, Site
from allsky360.simulator.factory import create_server, create_source
from allsky360.simulator.images import encode_raw
from allsky360.simulator.replay import ReplayError, ReplaySource, mosaic_of
from allsky360.simulator.source import ExposureRequest
from tests.simulator.simulator_helpers import JsonClient

REQUEST = ExposureRequest(start=datetime(2026, 11, 22, tzinfo=UTC), exposure_s=5.0)
RNG = np.random.default_rng(3)


def frame(seed: int, shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 60_000, shape).astype(np.uint16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three formats, something unreadable, and a frame of another size."""
    hdu = fits.PrimaryHDU(frame(1))
    hdu.header["BAYERPAT"] = "RGGB"
    hdu.header["EXPTIME"] = 12.5
    hdu.header["DATE-OBS"] = "2020-01-02T03:04:05.000"
    hdu.writeto(tmp_path / "a.fits")
    (tmp_path / "b.raw").write_bytes(encode_raw(frame(2), "RGGB"))
    (tmp_path / "c.fits").write_bytes(b"SIMPLE  = nonsense")
    (tmp_path / "d.raw").write_bytes(encode_raw(frame(4, (20, 20)), "RGGB"))
    (tmp_path / "e.raw").write_bytes(encode_raw(frame(5), "RGGB"))
    (tmp_path / "sub").mkdir()
    return tmp_path


def test_frames_come_in_order_and_loop(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = ReplaySource(folder)
    sensor = source.sensor
    assert (sensor.width, sensor.height, sensor.pattern) == (60, 40, "RGGB")
    for seed in (1, 2, 5, 1, 2):
        got = source.expose(REQUEST)
        assert got.pattern == "RGGB"
        np.testing.assert_array_equal(got.pixels, frame(seed))
    skipped = [r.getMessage() for r in caplog.records]
    assert len(skipped) == 2  # told once each
    assert any("c.fits" in words for words in skipped)
    assert any("d.raw is of another size" in words for words in skipped)


def test_the_truth_says_that_nothing_was_scaled(folder: Path) -> None:
    truth = ReplaySource(folder).expose(REQUEST).truth
    assert truth["replayed"] is True
    assert truth["scaled_to_request"] is False
    assert truth["file"].endswith("a.fits")
    assert truth["recorded"]["exposure_s"] == 12.5
    assert truth["recorded"]["start"].startswith("2020-01-02T03:04:05")


def test_region_and_binning_apply(folder: Path) -> None:
    source = ReplaySource(folder)
    request = ExposureRequest(REQUEST.start, 5.0, roi=(3, 2, 40, 24), binning=2)
    got = source.expose(request)
    assert got.pattern == "GRBG"  # one column further in
    cut = frame(1)[2:26, 3:43].astype(float)
    expected = np.rint((cut[0, 0] + cut[0, 2] + cut[2, 0] + cut[2, 2]) / 4)
    assert got.pixels.shape == (12, 20)
    assert got.pixels[0, 0] == expected


def test_a_folder_without_frames_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ReplayError, match="holds no frame that can be read"):
        ReplaySource(tmp_path)
    with pytest.raises(ReplayError, match="No such file"):
        ReplaySource(tmp_path / "nope")


def test_files_that_vanish_are_an_error_and_not_a_loop(folder: Path) -> None:
    source = ReplaySource(folder)
    for path in folder.glob("*.*"):
        path.unlink()
    with pytest.raises(ReplayError, match="no frame is left"):
        source.expose(REQUEST)
    (folder / "b.raw").write_bytes(encode_raw(frame(2), "RGGB"))
    np.testing.assert_array_equal(source.expose(REQUEST).pixels, frame(2))


def test_colour_and_8_bit_become_what_a_camera_reads_out() -> None:
    colour = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    mosaic, pattern = mosaic_of(Exposure(colour, None, REQUEST.start, 1.0))
    assert pattern == "RGGB"
    assert mosaic.dtype == np.uint16
    assert mosaic[0, 0] == 257 * int(colour[0, 0, 0])
    assert mosaic[0, 1] == 257 * int(colour[0, 1, 1])
    assert mosaic[3, 5] == 257 * int(colour[3, 5, 2])


@pytest.mark.parametrize("name", ["frame.png", "frame.tiff"])
def test_16_bit_pictures(tmp_path: Path, name: str) -> None:
    cv2.imwrite(str(tmp_path / name), frame(9))
    np.testing.assert_array_equal(ReplaySource(tmp_path).expose(REQUEST).pixels, frame(9))


@pytest.mark.parametrize(
    "name", ["dasc-pokerflat-2015", "kho-scmos-seq-2016", "lowell-dct-2018", "mmt-skycam"]
)
def test_real_frames(real_data: Callable[[str], Path], name: str) -> None:
    source = ReplaySource(real_data(name))
    first, second = source.expose(REQUEST), source.expose(REQUEST)
    assert first.pixels.shape == second.pixels.shape
    assert first.pixels.shape == (source.sensor.height, source.sensor.width)
    assert not np.array_equal(first.pixels, second.pixels)
    assert first.pixels.std() > 1


async def test_a_replayed_folder_over_the_wire(folder: Path, site: Site) -> None:
    settings = Settings.model_validate({"simulator": {"replay_dir": str(folder)}})
    assert isinstance(create_source(settings, site, REAL_CLOCK), ReplaySource)
    server = create_server(settings, site, REAL_CLOCK)
    server.port = 0
    async with server, JsonClient(server.port) as client:
        camera = server.camera.name
        client.get()
        await client.until(lambda: client.vectors("CONNECTION", "def"))
        client.new("Switch", "CONNECTION", camera, CONNECTED=True)
        await client.until(lambda: client.vectors("CCD_REMOVE_FITS_HEADER", "def"))
        assert client.vectors("CCD_COOLER", "def") == []
        assert client.vectors("CCD_TEMPERATURE", "def")[0]["perm"] == "ro"
        client.new("Switch", "CCD_IMAGE_FORMAT", camera, RAW=True)
        client.new("Number", "CCD_EXPOSURE", camera, EXPOSURE=0.01)
        await client.heard("CCD_EXPOSURE", "Ok")
        blob = server.blobs.get(client.image_url())
    assert blob is not None
    assert blob.data == encode_raw(frame(1), "RGGB")
