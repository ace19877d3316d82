"""Decoding against what astropy writes, against byte layouts built here, and against wild bytes."""

from __future__ import annotations

import io
import struct
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from allsky360.camera.decode import (
    DecodedImage,
    card_number,
    decode_fits,
    decode_image,
    parse_number,
    sniff,
)
from allsky360.camera.errors import (
    CameraError,
    MislabelledImage,
    OversizedImage,
    TruncatedImage,
    UnsupportedImage,
)

RNG = np.random.default_rng(5)
MOSAIC = RNG.integers(0, 65536, (6, 8), dtype=np.uint16)


def raw(signature: bytes, width: int, height: int, body: bytes, cards: str = "") -> bytes:
    return signature + struct.pack("<II", width, height) + body + cards.encode()


def fits_bytes(data: np.ndarray, **cards: object) -> bytes:
    hdu = fits.PrimaryHDU(data)
    for key, value in cards.items():
        hdu.header[key.replace("_", "-")] = value
    out = io.BytesIO()
    hdu.writeto(out)
    return out.getvalue()


class TestRaw:
    def test_mono_8(self) -> None:
        body = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
        image = decode_image(raw(b"RAW1", 7, 5, body.tobytes()))
        assert image.pixels.dtype == np.uint8
        np.testing.assert_array_equal(image.pixels, body)

    def test_mono_16_is_little_endian_and_row_0_is_first(self) -> None:
        image = decode_image(raw(b"RAW2", 8, 6, MOSAIC.astype("<u2").tobytes()))
        assert image.pixels.dtype == np.uint16
        np.testing.assert_array_equal(image.pixels, MOSAIC)
        assert image.pattern is None
        assert image.cards == {}

    @pytest.mark.parametrize(("signature", "dtype"), [(b"RAW3", "u1"), (b"RAW6", "<u2")])
    def test_colour_is_interleaved(self, signature: bytes, dtype: str) -> None:
        body = RNG.integers(0, 200, (3, 4, 3)).astype(dtype)
        image = decode_image(raw(signature, 4, 3, body.tobytes()))
        np.testing.assert_array_equal(image.pixels, body)

    @pytest.mark.parametrize(
        ("signature", "pixel"), [(b"RGB6", [10, 20, 30, 255]), (b"BGR6", [255, 30, 20, 10])]
    )
    def test_four_channels_lose_alpha(self, signature: bytes, pixel: list[int]) -> None:
        image = decode_image(raw(signature, 2, 1, bytes(pixel * 2)))
        assert image.pixels.tolist() == [[[10, 20, 30], [10, 20, 30]]]

    @pytest.mark.parametrize(
        "cards",
        [
            "SIMPLE=T;BAYERPAT='GRBG';",
            "SIMPLE=T;BAYERPAT='GRBG'",
            "SIMPLE T;BAYERPAT 'GRBG';EXPTIME=1.5;",
            "SIMPLE = T; BAYERPAT = 'grbg ';",
            "SIMPLE=T;BAYERPAT='GRBG';XBAYROFF=1;YBAYROFF=0;\0",
        ],
    )
    def test_bayer_card_is_read_leniently(self, cards: str) -> None:
        image = decode_image(raw(b"RAW2", 8, 6, MOSAIC.tobytes(), cards))
        assert image.pattern == "GRBG"

    def test_unknown_filter_pattern_is_not_taken_for_mono(self) -> None:
        data = raw(b"RAW2", 8, 6, MOSAIC.tobytes(), "SIMPLE=T;BAYERPAT='CMYG';")
        with pytest.raises(UnsupportedImage, match="CMYG"):
            decode_image(data)

    @pytest.mark.parametrize("missing", [1, 2, 50, 96])
    def test_half_an_image_is_truncated(self, missing: int) -> None:
        data = raw(b"RAW2", 8, 6, MOSAIC.tobytes())
        with pytest.raises(TruncatedImage, match=f"{len(data) - missing} of {len(data)}"):
            decode_image(data[:-missing])

    def test_header_alone_is_truncated(self) -> None:
        with pytest.raises(TruncatedImage):
            decode_image(b"RAW2\1\0\0\0")

    def test_pixels_beyond_the_header_are_oversized(self) -> None:
        with pytest.raises(OversizedImage, match="16 bytes follow"):
            decode_image(raw(b"RAW2", 8, 5, MOSAIC.tobytes()))

    @pytest.mark.parametrize(("width", "height"), [(2**31, 2**31), (2**32 - 1, 1), (70000, 70000)])
    def test_absurd_dimensions_allocate_nothing(self, width: int, height: int) -> None:
        data = raw(b"RAW6", width, height, b"abc")
        tracemalloc.start()
        with pytest.raises(OversizedImage):
            decode_image(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20

    @pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (0, 0)])
    def test_no_pixels_is_no_image(self, width: int, height: int) -> None:
        with pytest.raises(UnsupportedImage):
            decode_image(raw(b"RAW1", width, height, b""))


class TestFits:
    def test_unsigned_16_bit_matches_astropy(self) -> None:
        image = decode_image(fits_bytes(MOSAIC, EXPTIME=2.5, BAYERPAT="BGGR"))
        np.testing.assert_array_equal(image.pixels, MOSAIC)
        assert image.pixels.dtype == np.uint16
        assert image.pixels.dtype.isnative
        assert image.pattern == "BGGR"
        assert image.cards["EXPTIME"] == 2.5

    def test_8_bit_and_planar_colour(self) -> None:
        mono = RNG.integers(0, 256, (4, 5), dtype=np.uint8)
        np.testing.assert_array_equal(decode_image(fits_bytes(mono)).pixels, mono)
        planes = RNG.integers(0, 65536, (3, 4, 5), dtype=np.uint16)
        image = decode_image(fits_bytes(planes, BAYERPAT="RGGB"))
        np.testing.assert_array_equal(image.pixels, np.moveaxis(planes, 0, -1))
        assert image.pattern is None

    def test_pattern_card_and_offsets_are_not_applied_both(self) -> None:
        both = decode_image(fits_bytes(MOSAIC, BAYERPAT="GRBG", XBAYROFF=1, YBAYROFF=0))
        assert both.pattern == "GRBG"
        offsets = decode_image(fits_bytes(MOSAIC, XBAYROFF=0, YBAYROFF=1))
        assert offsets.pattern == "GBRG"

    def test_bottom_up_rows_are_turned_with_their_pattern(self) -> None:
        image = decode_image(fits_bytes(MOSAIC[::-1], ROWORDER="BOTTOM-UP", BAYERPAT="GBRG"))
        np.testing.assert_array_equal(image.pixels, MOSAIC)
        assert image.pattern == "RGGB"

    def test_numbers_stored_as_text_and_quotes(self) -> None:
        image = decode_image(fits_bytes(MOSAIC, EXPTIME="12.5 s", OBJECT="Bob's / sky"))
        assert card_number(image.cards, "EXPTIME") == 12.5
        assert image.cards["OBJECT"] == "Bob's / sky"

    def test_truncated_oversized_and_headless(self) -> None:
        data = fits_bytes(MOSAIC)
        end = 2880 + MOSAIC.nbytes
        with pytest.raises(TruncatedImage):
            decode_image(data[: end - 1])
        with pytest.raises(TruncatedImage, match="END"):
            decode_image(data[:300])
        with pytest.raises(OversizedImage):
            decode_image(data + bytes(2880))
        with pytest.raises(OversizedImage):
            decode_image(data[:end] + b"more pixels")
        np.testing.assert_array_equal(decode_fits(data[:end]).pixels, MOSAIC)
        np.testing.assert_array_equal(decode_fits(data + data, from_camera=False).pixels, MOSAIC)

    def test_signed_numbers(self) -> None:
        signed = np.array([[-3, 0], [7, 300]], dtype=np.int16)
        with pytest.raises(UnsupportedImage, match="negative"):
            decode_fits(fits_bytes(signed))
        image = decode_fits(fits_bytes(signed), from_camera=False)
        assert image.pedestal_adu == 1024
        assert image.pixels.tolist() == [[1021, 1024], [1031, 1324]]
        deep = decode_fits(fits_bytes(signed * 4000), from_camera=False)
        assert deep.pedestal_adu == 32768
        assert decode_fits(fits_bytes(abs(signed))).pixels.tolist() == [[3, 0], [7, 300]]

    def test_whole_floats_are_adu_and_fractions_are_not(self) -> None:
        whole = np.array([[0, 65535.0]], dtype=np.float32)
        assert decode_fits(fits_bytes(whole)).pixels.tolist() == [[0, 65535]]
        for bad in (0.5, -1.0, 65536.0, np.nan, np.inf):
            with pytest.raises(UnsupportedImage, match="raw ADU"):
                decode_fits(fits_bytes(np.array([[1.0, bad]])))

    @pytest.mark.parametrize(
        ("card", "value", "error"),
        [
            ("NAXIS1", "99999999", OversizedImage),
            ("NAXIS1", "0", UnsupportedImage),
            ("NAXIS1", "-8", UnsupportedImage),
            ("NAXIS", "1", UnsupportedImage),
            ("NAXIS", "'two'", UnsupportedImage),
            ("BITPIX", "17", UnsupportedImage),
            ("NAXIS2", "6000", TruncatedImage),
        ],
    )
    def test_lying_headers(self, card: str, value: str, error: type[CameraError]) -> None:
        data = fits_bytes(MOSAIC)
        at = data.index(card.ljust(8).encode())
        data = data[: at + 10] + value.rjust(20).encode() + data[at + 30 :]
        with pytest.raises(error):
            decode_image(data)

    def test_four_planes_are_refused(self) -> None:
        with pytest.raises(UnsupportedImage, match="planes"):
            decode_image(fits_bytes(np.zeros((4, 4, 4), np.uint16)))

    def test_endless_header(self) -> None:
        card = b"COMMENT x".ljust(80)
        data = b"SIMPLE  =                    T".ljust(80) + card * (256 * 36)
        with pytest.raises(UnsupportedImage, match="too long"):
            decode_image(data)


class TestExpectations:
    def test_wrong_format_size_or_depth_is_mislabelled(self) -> None:
        data = raw(b"RAW2", 8, 6, MOSAIC.tobytes())
        assert decode_image(data, image_format="RAW", shape=(6, 8), bits=16).pixels.shape == (6, 8)
        with pytest.raises(MislabelledImage, match="asked for FITS"):
            decode_image(data, image_format="FITS")
        with pytest.raises(MislabelledImage, match="8x6"):
            decode_image(data, shape=(8, 6))
        with pytest.raises(MislabelledImage, match="16 bits"):
            decode_image(data, bits=8)

    def test_jpeg_is_neither(self) -> None:
        with pytest.raises(UnsupportedImage, match="neither"):
            decode_image(b"\xff\xd8\xff\xe0\0\x10JFIF")
        assert sniff(b"") is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.5", 1.5),
        ("1.5D2", 150.0),
        (".5", 0.5),
        ("-3.", -3.0),
        ("60.0 s", 60.0),
        ("x", None),
        ("1e999", None),
        ("12:30", None),
        ("", None),
    ],
)
def test_parse_number(text: str, number: float | None) -> None:
    assert parse_number(text) == number


FITS_SAMPLE = fits_bytes(MOSAIC, BAYERPAT="RGGB")[: 2880 + 96]
RAW_SAMPLE = raw(b"RAW2", 8, 6, MOSAIC.tobytes(), "SIMPLE=T;BAYERPAT='GRBG';")


NAMES = {"truncated-image", "oversized-image", "mislabelled-image", "unsupported-image"}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good image with bytes overwritten, cut or repeated."""
    data = bytearray(draw(st.sampled_from([FITS_SAMPLE, RAW_SAMPLE])))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, min(len(data) - 1, 800)))
        data[at] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) * draw(st.sampled_from([1, 1, 1, 2]))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=4096),
        st.builds(
            lambda s, wh, b: s + wh + b,
            st.sampled_from([b"RAW1", b"RAW2", b"RAW3", b"RAW6", b"RGB6", b"BGR6"]),
            st.binary(min_size=8, max_size=8),
            st.binary(max_size=200),
        ),
        damaged(),
    )
)
@example(b"SIMPLE  =" + b" " * 3000)
def test_any_bytes_give_an_image_or_a_named_fault(data: bytes) -> None:
    tracemalloc.start()
    result: DecodedImage | CameraError
    try:
        result = decode_image(data)
    except CameraError as fault:
        result = fault
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 << 20
    if isinstance(result, DecodedImage):
        assert result.pixels.dtype in (np.uint8, np.uint16)
        assert result.pixels.size <= len(data)
    else:
        assert result.name in NAMES
