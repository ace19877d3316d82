"""Reading files: the real ones, ones written here by other libraries, and damaged ones."""

from __future__ import annotations

import bz2
import gzip
import itertools
import lzma
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from allsky360.camera.errors import UnreadableFile
from allsky360.camera.file_fits import frame_type_of
from allsky360.camera.file_times import (
    from_unix,
    parse_date_and_clock,
    parse_time,
    start_from_cards,
)
from allsky360.camera.files import read_exposures
from allsky360.errors import AllskyError
from allsky360.model import Exposure

RealData = Callable[[str], Path]
RNG = np.random.default_rng(11)
GREY = RNG.integers(0, 65536, (12, 16), dtype=np.uint16)
RGB = RNG.integers(0, 65536, (12, 16, 3), dtype=np.uint16)


def one(path: Path) -> Exposure:
    (exposure,) = read_exposures(path)
    return exposure


def write_fits(path: Path, data: np.ndarray, **cards: object) -> Path:
    hdu = fits.PrimaryHDU(data)
    for key, value in cards.items():
        hdu.header[key.replace("_", "-")] = value
    hdu.writeto(path)
    return path


def write_dng(path: Path, mosaic: np.ndarray) -> Path:
    """A minimal DNG (TIFF/EP tags, DNG 1.4): GBRG mosaic, black 64, white 4000."""
    height, width = mosaic.shape
    body = mosaic.astype("<u2").tobytes()
    model = b"Test Camera\0"
    strings: list[bytes] = []
    entries: list[tuple[int, int, int, bytes]] = []

    def add(tag: int, kind: int, count: int, value: bytes) -> None:
        entries.append((tag, kind, count, value))

    short, long = (lambda *v: struct.pack(f"<{len(v)}H", *v)), (lambda v: struct.pack("<I", v))
    add(254, 4, 1, long(0))
    add(256, 4, 1, long(width))
    add(257, 4, 1, long(height))
    add(258, 3, 1, short(16))
    add(259, 3, 1, short(1))
    add(262, 3, 1, short(32803))
    add(271, 2, len(model), model)
    add(272, 2, len(model), model)
    add(273, 4, 1, b"DATA")
    add(277, 3, 1, short(1))
    add(278, 4, 1, long(height))
    add(279, 4, 1, long(len(body)))
    add(306, 2, 20, b"2024:03:05 21:22:23\0")
    add(33421, 3, 2, short(2, 2))
    add(33422, 1, 4, bytes([1, 2, 0, 1]))  # G B / R G
    add(33434, 5, 1, struct.pack("<II", 5, 2))
    add(34855, 3, 1, short(800))
    add(50706, 1, 4, bytes([1, 4, 0, 0]))
    add(50708, 2, len(model), model)
    add(50714, 3, 1, short(64))
    add(50717, 3, 1, short(4000))
    add(
        50721, 10, 9, struct.pack("<18i", *[n for v in (1, 0, 0, 0, 1, 0, 0, 0, 1) for n in (v, 1)])
    )
    add(50778, 3, 1, short(21))
    offset = 8 + 2 + 12 * len(entries) + 4
    table = b""
    for tag, kind, count, value in entries:
        if value == b"DATA":
            table += struct.pack("<HHI", tag, kind, count) + b"DATA"
        elif len(value) <= 4:
            table += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
        else:
            table += struct.pack("<HHII", tag, kind, count, offset)
            padded = value + b"\0" * (len(value) % 2)
            strings.append(padded)
            offset += len(padded)
    table = table.replace(b"DATA", struct.pack("<I", offset))
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", 0)
    path.write_bytes(head + b"".join(strings) + body)
    return path


class TestRealFrames:
    def test_lowell_matches_astropy(self, real_data: RealData) -> None:
        path = real_data("lowell-dct-2018/005.fits.bz2")
        exposure = one(path)
        np.testing.assert_array_equal(exposure.pixels, fits.getdata(path))
        assert exposure.start == datetime(2018, 8, 6, 5, 17, 4, 752000, UTC)
        assert exposure.exposure_s == 60
        assert exposure.metadata["time_source"] == "DATE-OBS"
        assert exposure.camera == "DCT_ALLSKY"

    def test_mmt_date_is_not_iso_and_gzip_length_is_wrong(self, real_data: RealData) -> None:
        first = one(real_data("mmt-skycam/2015_image_0001500.fits.gz"))
        assert first.start == datetime(2015, 6, 15, 6, 3, 4, tzinfo=UTC)  # UT, not the local DATE
        assert first.pixels.shape == (480, 640)
        assert first.pixels.dtype == np.uint8
        assert first.metadata["exposure_source"] == "unknown"
        path = real_data("mmt-skycam/2016_image_0003000.fits.gz")
        unpadded = one(path)
        np.testing.assert_array_equal(unpadded.pixels, fits.getdata(path))
        assert unpadded.start == datetime(2016, 3, 16, 8, 38, 49, tzinfo=UTC)

    def test_dasc_is_signed_and_its_maps_are_no_exposures(self, real_data: RealData) -> None:
        path = real_data("dasc-pokerflat-2015/PKR_DASC_0558_20151007_082351.743.FITS")
        exposure = one(path)
        np.testing.assert_array_equal(exposure.pixels, fits.getdata(path))
        assert exposure.start == datetime(2015, 10, 7, 8, 23, 51, 743000, UTC)
        assert exposure.binning == 2
        assert exposure.temperature_c == pytest.approx(-39.658)
        assert exposure.saturation_adu == 32767
        with pytest.raises(UnreadableFile, match=r"El\.FIT.*raw ADU"):
            one(real_data("dasc-pokerflat-2015/PKR_DASC_0558_20150213_El.FIT"))

    def test_themis_sequences(self, real_data: RealData) -> None:
        frames = list(
            read_exposures(real_data("themis-gakona-2011/thg_l1_asf_gako_2011010617_v01.cdf"))
        )
        assert len(frames) == 23
        assert {f.pixels.shape for f in frames} == {(256, 256)}
        gaps = {round((b.start - a.start).total_seconds()) for a, b in itertools.pairwise(frames)}
        assert gaps == {3}
        assert frames[0].start.replace(microsecond=0) == datetime(2011, 1, 6, 17, tzinfo=UTC)
        thumbs = list(
            read_exposures(real_data("themis-gakona-2011/thg_l1_ast_gako_20110505_v01.cdf"))
        )
        assert len(thumbs) == 1075
        assert thumbs[-1].metadata["record"] == 1074
        assert thumbs[0].metadata["exposure_source"] == "unknown"

    def test_xz_tiff_keeps_16_bits(self, real_data: RealData) -> None:
        path = real_data("kho-scmos-seq-2016/19_00_01_62.tif.xz")
        exposure = one(path)
        truth = cv2.imdecode(
            np.frombuffer(lzma.decompress(path.read_bytes()), np.uint8), cv2.IMREAD_UNCHANGED
        )
        np.testing.assert_array_equal(exposure.pixels, truth)
        assert exposure.pixels.dtype == np.uint16
        assert exposure.start == datetime(2016, 1, 11, 19, 0, 2, tzinfo=UTC)

    def test_jpeg_time_without_zone_is_said_to_be_so(self, real_data: RealData) -> None:
        exposure = one(real_data("winona-rpihq-2021/sky-2021-09-19-05-13-32.jpg"))
        assert exposure.pixels.shape == (3040, 4056, 3)
        assert exposure.exposure_s == pytest.approx(30, abs=1e-4)
        assert exposure.gain == 500
        assert exposure.camera == "RP_imx477"
        assert "zone unknown" in exposure.metadata["time_source"]
        assert exposure.metadata["linear"] is False


class TestFits:
    def test_cards_become_fields(self, tmp_path: Path) -> None:
        path = write_fits(
            tmp_path / "a.FITS", GREY, EXPTIME="2.5", GAIN=120, OFFSET=10, CCD_TEMP=-9.5,
            XBINNING=2, IMAGETYP="Dark Frame", INSTRUME="Cam", BAYERPAT="RGGB", EGAIN=0.8,
            DATE_OBS="2026-01-02T03:04:05.678",
        )  # fmt: skip
        e = one(path)
        assert (e.exposure_s, e.gain, e.offset, e.temperature_c) == (2.5, 120, 10, -9.5)
        assert (e.binning, e.frame_type, e.camera, e.pattern) == (2, "dark", "Cam", "RGGB")
        assert e.egain == 0.8
        assert e.start == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
        np.testing.assert_array_equal(e.pixels, GREY)

    @pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
    def test_compressed(self, tmp_path: Path, suffix: str) -> None:
        plain = write_fits(tmp_path / "a.fits", GREY).read_bytes()
        pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix]
        path = tmp_path / f"a.fits{suffix}"
        path.write_bytes(pack(plain))
        np.testing.assert_array_equal(one(path).pixels, GREY)
        path.write_bytes(pack(plain)[:-20])
        with pytest.raises(UnreadableFile, match="damaged"):
            one(path)

    def test_tile_compressed_extension(self, tmp_path: Path) -> None:
        path = tmp_path / "a.fits.fz"
        unit = fits.CompImageHDU(GREY, compression_type="RICE_1")
        unit.header["EXPTIME"] = 4.0
        fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path)
        exposure = one(path)
        np.testing.assert_array_equal(exposure.pixels, GREY)
        assert exposure.exposure_s == 4
        fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "none.fits")
        with pytest.raises(UnreadableFile, match="no image"):
            one(tmp_path / "none.fits")

    def test_unknown_time_falls_back_to_the_files_and_says_so(self, tmp_path: Path) -> None:
        path = write_fits(tmp_path / "a.fits", GREY)
        exposure = one(path)
        assert exposure.start == datetime.fromtimestamp(path.stat().st_mtime, UTC)
        assert "modification" in exposure.metadata["time_source"]

    def test_indigo_raw(self, tmp_path: Path) -> None:
        path = tmp_path / "a.raw"
        head = b"RAW2" + struct.pack("<II", 16, 12)
        path.write_bytes(head + GREY.tobytes() + b"SIMPLE=T;BAYERPAT='GBRG';")
        exposure = one(path)
        assert exposure.pattern == "GBRG"
        np.testing.assert_array_equal(exposure.pixels, GREY)


class TestPictures:
    def test_png_16_bit_grey_and_colour(self, tmp_path: Path) -> None:
        for name, image in (("grey", GREY), ("rgb", RGB)):
            path = tmp_path / f"{name}.png"
            cv2.imwrite(str(path), image if image.ndim == 2 else image[..., ::-1])
            exposure = one(path)
            assert exposure.pixels.dtype == np.uint16
            np.testing.assert_array_equal(exposure.pixels, image)

    def test_tiff_16_bit_grey_and_colour(self, tmp_path: Path) -> None:
        for name, image in (("grey", GREY), ("rgb", RGB)):
            path = tmp_path / f"{name}.tif"
            cv2.imwrite(str(path), image if image.ndim == 2 else image[..., ::-1])
            np.testing.assert_array_equal(one(path).pixels, image)

    def test_8_bit_kinds(self, tmp_path: Path) -> None:
        small = (RGB >> 8).astype(np.uint8)
        Image.fromarray(small).save(tmp_path / "a.tiff")
        np.testing.assert_array_equal(one(tmp_path / "a.tiff").pixels, small)
        Image.fromarray(small[..., 0]).save(tmp_path / "b.png")
        np.testing.assert_array_equal(one(tmp_path / "b.png").pixels, small[..., 0])
        Image.fromarray(small).convert("RGBA").save(tmp_path / "c.png")
        np.testing.assert_array_equal(one(tmp_path / "c.png").pixels, small)
        Image.fromarray(small[..., 0] > 9).save(tmp_path / "d.png")
        with pytest.raises(UnreadableFile, match="kind '1'"):
            one(tmp_path / "d.png")

    def test_float_tiff(self, tmp_path: Path) -> None:
        Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "a.tif")
        np.testing.assert_array_equal(one(tmp_path / "a.tif").pixels, GREY)
        Image.fromarray(GREY.astype(np.float32) / 3).save(tmp_path / "b.tif")
        with pytest.raises(UnreadableFile, match="raw ADU"):
            one(tmp_path / "b.tif")

    def test_exif_with_zone(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[272] = "Model X"
        exif.get_ifd(0x8769).update(
            {36867: "2024:03:05 21:22:23", 36881: "+02:00", 37521: "25", 33434: 0.5, 34855: 400}
        )
        Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "a.jpg", exif=exif)
        exposure = one(tmp_path / "a.jpg")
        assert exposure.start == datetime(2024, 3, 5, 19, 22, 23, 250000, UTC)
        assert exposure.metadata["time_source"] == "EXIF DateTimeOriginal"
        assert (exposure.exposure_s, exposure.gain, exposure.camera) == (0.5, 400, "Model X")

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "rgb.tif", "rgb.png"])
    def test_half_a_picture_is_no_picture(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        image = RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        deep = (image.astype(np.uint16) * 257)[..., ::-1]
        cv2.imwrite(str(path), deep if name.startswith("rgb") else image)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(UnreadableFile, match=name):
            one(path)

    def test_flipped_bit_in_a_png(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        cv2.imwrite(str(path), RGB)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)
        with pytest.raises(UnreadableFile, match="checksum"):
            one(path)


class TestCameraRaw:
    def test_dng_mosaic_pattern_levels_and_exif(self, tmp_path: Path) -> None:
        mosaic = RNG.integers(64, 4000, (64, 96)).astype(np.uint16)
        exposure = one(write_dng(tmp_path / "a.dng", mosaic))
        np.testing.assert_array_equal(exposure.pixels, mosaic)
        assert exposure.pattern == "GBRG"
        assert exposure.saturation_adu == 4000
        assert set(exposure.metadata["black_level_adu"]) == {64.0}
        assert exposure.exposure_s == 2.5
        assert exposure.gain == 800
        assert exposure.start == datetime(2024, 3, 5, 21, 22, 23, tzinfo=UTC)

    def test_dng_is_known_by_content_too(self, tmp_path: Path) -> None:
        mosaic = RNG.integers(64, 4000, (64, 96)).astype(np.uint16)
        assert one(write_dng(tmp_path / "a.tif", mosaic)).pattern == "GBRG"

    def test_damaged(self, tmp_path: Path) -> None:
        path = write_dng(tmp_path / "a.dng", np.zeros((64, 96), np.uint16))
        path.write_bytes(path.read_bytes()[:400])
        with pytest.raises(UnreadableFile, match=r"a\.dng"):
            one(path)


class TestFailures:
    def test_missing_empty_unknown_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableFile, match=r"none\.fits.*No such file"):
            one(tmp_path / "none.fits")
        (tmp_path / "empty.fits").touch()
        with pytest.raises(UnreadableFile, match="empty"):
            one(tmp_path / "empty.fits")
        (tmp_path / "note.txt").write_text("hello world")
        with pytest.raises(UnreadableFile, match="no format we know"):
            one(tmp_path / "note.txt")
        with pytest.raises(UnreadableFile, match="directory"):
            one(tmp_path)

    def test_damaged_cdf(self, tmp_path: Path) -> None:
        path = tmp_path / "a.cdf"
        path.write_bytes(b"\xcd\xf3\x00\x01\x00\x00\xff\xff" + bytes(200))
        with pytest.raises(UnreadableFile, match=r"a\.cdf"):
            one(path)

    def test_gzip_with_wrong_length_but_right_checksum(self, tmp_path: Path) -> None:
        packed = gzip.compress(write_fits(tmp_path / "a.fits", GREY).read_bytes())
        path = tmp_path / "a.fits.gz"
        path.write_bytes(packed[:-4] + b"\1\2\3\4")
        np.testing.assert_array_equal(one(path).pixels, GREY)
        path.write_bytes(packed[:-8] + bytes(8))
        with pytest.raises(UnreadableFile, match="checksum"):
            one(path)

    @settings(
        max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        st.sampled_from(
            [b"", b"SIMPLE  =", b"RAW2", b"II*\0", b"MM\0*", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff",
             b"\xcd\xf3\x00\x01", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0"]
        ),
        st.binary(max_size=600),
        st.sampled_from([".fits", ".dng", ".tif"]),
    )  # fmt: skip
    def test_any_bytes_give_exposures_or_one_clear_error(
        self, tmp_path: Path, magic: bytes, rest: bytes, suffix: str
    ) -> None:
        path = tmp_path / f"wild{suffix}"
        path.write_bytes(magic + rest)
        try:
            found = list(read_exposures(path))
        except AllskyError as error:
            message = str(error)
        else:
            message = str(path)
            assert all(f.pixels.dtype in (np.uint8, np.uint16) for f in found)
        assert str(path) in message


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "iso"),
        [
            ("2018-08-06T05:17:04.752", "2018-08-06T05:17:04.752000"),
            ("2018-08-06 05:17", "2018-08-06T05:17:00"),
            ("2021:09:19 05:13:38", "2021-09-19T05:13:38"),
            ("MON JUN 15 06:03:04 2015", "2015-06-15T06:03:04"),
            ("Jun 5 06:03:04 2015", "2015-06-05T06:03:04"),
            ("2018-08-06T05:17:04Z", "2018-08-06T05:17:04"),
            ("2018-08-06T05:17:04-05:30", "2018-08-06T10:47:04"),
            ("2016-12-31T23:59:60", "2017-01-01T00:00:00"),
        ],
    )
    def test_read(self, text: str, iso: str) -> None:
        assert parse_time(text) == datetime.fromisoformat(iso + "+00:00")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "2018-08-06",
            "2018-13-06T05:17:04",
            "yesterday",
            "2018-08-06T05:17:75",
            "XYZ 5 06:03:04 2015",
        ],
    )
    def test_refuse(self, text: str) -> None:
        assert parse_time(text) is None

    def test_cards_in_order_of_trust(self) -> None:
        beg = start_from_cards(
            {"DATE-BEG": "2020-01-01T00:00:00", "DATE-OBS": "2020-01-01T00:00:30"}, {}, 30
        )
        assert beg is not None
        assert beg[1] == "DATE-BEG"
        end = start_from_cards(
            {"DATE-OBS": "2020-01-01T00:00:30"}, {"DATE-OBS": "end of exposure"}, 30
        )
        assert end == (datetime(2020, 1, 1, tzinfo=UTC), "DATE-OBS less the exposure time")
        split = start_from_cards({"DATE-OBS": "2020-01-01", "TIME-OBS": "01:02:03.5"}, {}, None)
        assert split == (datetime(2020, 1, 1, 1, 2, 3, 500000, UTC), "DATE-OBS and TIME-OBS")
        late = start_from_cards({"DATE-END": "2020-01-01T00:00:30"}, {}, 30)
        assert late == (datetime(2020, 1, 1, tzinfo=UTC), "DATE-END less the exposure time")
        mjd = start_from_cards({"MJD-OBS": "58849.5"}, {}, None)
        assert mjd == (datetime(2020, 1, 1, 12, tzinfo=UTC), "MJD-OBS")
        assert start_from_cards({"DATE-OBS": True, "JD": -5.0}, {}, None) is None

    def test_old_fits_date_and_bad_clock(self) -> None:
        assert parse_date_and_clock("31/12/98", "1:02:03") == datetime(
            1998, 12, 31, 1, 2, 3, tzinfo=UTC
        )
        assert parse_date_and_clock("31/12/98", "noon") is None
        assert parse_date_and_clock("sometime", "01:02:03") is None
        assert from_unix(float("nan")) is None

    @given(st.text(max_size=40))
    def test_any_text_gives_a_time_or_none(self, text: str) -> None:
        found = parse_time(text)
        assert found is None or found.tzinfo is UTC


def test_frame_types() -> None:
    assert frame_type_of({"IMAGETYP": "Flat Field"}) == "flat"
    assert frame_type_of({"IMAGETYP": "DarkFlat"}) == "dark"
    assert frame_type_of({"IMGTYPE": "OBJECT"}) == "light"
    assert frame_type_of({"IMAGETYP": "Bias Frame"}) == "bias"
