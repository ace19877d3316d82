"""Masters are matched, scaled, or refused with every reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from allsky360.errors import AllskyError
from allsky360.imaging.calibrate import (
    Master,
    MasterMismatch,
    Masters,
    calibrate,
    is_display_referred,
)
from allsky360.masters import MasterError, load_masters
from allsky360.model import Exposure

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
LIGHT = Exposure(
    np.full((8, 10), 1500, np.uint16), "RGGB", WHEN, 10.0, gain=100.0, offset=10.0,
    temperature_c=-10.0, saturation_adu=60_000,
)  # fmt: skip
DARK = Master(np.full((8, 10), 700, np.float32), "dark", "dark10.fits", 10.0, 100.0, 10.0, -10.5, 1)
BIAS = Master(np.full((8, 10), 500, np.float32), "bias", "bias.fits", 0.0, 100.0, 10.0, 0.0, 1)


def test_black_level_and_negatives() -> None:
    result = calibrate(LIGHT, black_level_adu=1600.0)
    np.testing.assert_array_equal(result.light, -100)
    assert result.full_adu == 58_400
    assert result.used == ("black level 1600",)
    with pytest.raises(AllskyError, match=r"camera\.black_level_adu"):
        calibrate(LIGHT, black_level_adu=60_000.0)


def test_equal_dark_is_subtracted() -> None:
    result = calibrate(LIGHT, black_level_adu=0.0, masters=Masters((BIAS, DARK)))
    np.testing.assert_array_equal(result.light, 800)
    assert result.full_adu == 59_300
    assert result.used == ("dark10.fits",)


def test_other_dark_is_scaled_with_its_bias() -> None:
    long = replace(DARK, exposure_s=40.0, pixels=np.full((8, 10), 1300, np.float32))
    result = calibrate(LIGHT, black_level_adu=0.0, masters=Masters((BIAS, long)))
    np.testing.assert_allclose(result.light, 1500 - 500 - 800 / 4)
    alone = calibrate(LIGHT, black_level_adu=0.0, masters=Masters((BIAS,)))
    np.testing.assert_allclose(alone.light, 1000)
    with pytest.raises(MasterMismatch, match="is 40 s and there is no bias"):
        calibrate(LIGHT, black_level_adu=0.0, masters=Masters((long,)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gain": 50.0}, "has gain 50, the exposure 100"),
        ({"offset": 20.0}, "has offset 20, the exposure 10"),
        ({"temperature_c": 5.0}, "was taken at 5 C"),
        ({"binning": 2}, "is binned 2"),
        ({"pixels": np.zeros((4, 5), np.float32)}, "is 5x4, the exposure 10x8"),
        ({"exposure_s": 0.0}, "names no exposure time"),
    ],
)
def test_unfitting_master_is_refused_with_its_reason(
    change: dict[str, object], reason: str
) -> None:
    with pytest.raises(MasterMismatch, match=reason):
        calibrate(LIGHT, black_level_adu=0.0, masters=Masters((replace(DARK, **change),)))  # type: ignore[arg-type]


def test_unknown_camera_settings_do_not_forbid() -> None:
    vague = replace(DARK, gain=None, offset=None, temperature_c=None)
    assert calibrate(LIGHT, black_level_adu=0, masters=Masters((vague,))).used == ("dark10.fits",)


def test_jpeg_is_decoded_to_linear_light() -> None:
    pixels = np.array([[[0, 128, 255]]], dtype=np.uint8)
    jpeg = Exposure(pixels, None, WHEN, 1.0, saturation_adu=255, metadata={"linear": False})
    assert is_display_referred(jpeg)
    light = calibrate(jpeg, black_level_adu=0.0).light
    # sRGB 128 is 21.59 % of white.
    np.testing.assert_allclose(light[0, 0], [0, 0.21586 * 255, 255], rtol=1e-4)
    assert not is_display_referred(replace(jpeg, metadata={}))


def write(path: Path, data: np.ndarray, **cards: object) -> None:
    fits.PrimaryHDU(data, fits.Header(list(cards.items()))).writeto(path)


def test_masters_are_read_by_header(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(
        tmp_path / "deep" / "a.fits", np.full((8, 10), 700.25, np.float32),
        IMAGETYP="Master Dark", EXPTIME="10.0", GAIN=100, OFFSET=10, XBINNING=1,
    )  # fmt: skip
    write(tmp_path / "b.fit", np.full((8, 10), 500, np.uint16), FRAME="Bias", GAIN=100)
    (tmp_path / "notes.txt").write_text("not a master")
    masters = load_masters(tmp_path)
    assert [(m.kind, m.exposure_s) for m in masters.frames] == [("bias", 0.0), ("dark", 10.0)]
    result = calibrate(LIGHT, black_level_adu=0.0, masters=masters)
    np.testing.assert_allclose(result.light, 799.75)


def test_bad_master_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(MasterError, match=r"processing\.dark_root"):
        load_masters(tmp_path / "none")
    write(tmp_path / "light.fits", np.zeros((4, 4), np.uint16), IMAGETYP="Light")
    with pytest.raises(MasterError, match=r"light\.fits does not say"):
        load_masters(tmp_path)
    (tmp_path / "light.fits").write_bytes(b"SIMPLE  = nothing")
    with pytest.raises(MasterError, match="cannot be read as FITS"):
        load_masters(tmp_path)
    (tmp_path / "light.fits").unlink()
    write(tmp_path / "cut.fits.gz", np.zeros((4, 4), np.uint16), IMAGETYP="Dark")
    whole = (tmp_path / "cut.fits.gz").read_bytes()
    (tmp_path / "cut.fits.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MasterError, match=r"cut\.fits\.gz cannot be read as FITS"):
        load_masters(tmp_path)
    (tmp_path / "cut.fits.gz").unlink()
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(MasterError, match="holds no image"):
        load_masters(tmp_path)
