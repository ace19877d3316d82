"""Pictures in four formats, read back with what they say about themselves."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from allsky360.imaging import encode as encode_module
from allsky360.imaging.encode import EncodeError, encode, encode_jpeg, read_facts
from allsky360.model import Exposure, Site

SITE = Site("Peña del Águila", -28.7606, -17.8816, 2326.0)
EXPOSURE = Exposure(
    np.zeros((2, 2), np.uint16), "RGGB", datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC), 12.5,
    gain=100.0, camera="Sim",
)  # fmt: skip
FACTS: dict[str, Any] = {
    "sun_altitude_deg": -34.25,
    "sun_azimuth_deg": 12.5,
    "moon_altitude_deg": 7.75,
    "moon_illumination": 0.78,
    "level": float("nan"),
    "exposures_s": [12.5, 3.0],
    "camera": "Sim ü",
}


def picture() -> np.ndarray:
    y, x = np.mgrid[:90, :130]
    return np.stack([x + y // 2, 2 * y, 255 - x], axis=-1).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("format", "suffix", "worst"), [("jpeg", "jpg", 30), ("png", "png", 0), ("webp", "webp", 40),
                                    ("avif", "avif", 40)],
)  # fmt: skip
def test_every_format_says_when_where_and_under_what_sky(
    format: Any, suffix: str, worst: int
) -> None:
    result = encode(picture(), format=format, exposure=EXPOSURE, site=SITE, facts=FACTS)
    assert (result.suffix, result.media_type) == (suffix, f"image/{format}")
    with Image.open(io.BytesIO(result.data)) as image:
        assert image.format == format.upper()
        pixels = np.asarray(image.convert("RGB")).astype(int)
        tags = image.getexif()
    apart = np.abs(pixels - picture())
    assert apart.max() <= worst
    assert apart.mean() < 3
    base = ExifTags.Base
    assert tags[base.ImageDescription] == "Pe?a del ?guila; Sun -34.2 deg; Moon +7.8 deg, 78% lit"
    assert tags[base.Model] == "Sim"
    detail = tags.get_ifd(ExifTags.IFD.Exif)
    assert detail[base.DateTimeOriginal] == "2026:01:02 03:04:05"
    assert detail[base.SubsecTimeOriginal] == "678"
    assert detail[base.OffsetTimeOriginal] == "+00:00"
    assert float(detail[base.ExposureTime]) == 12.5
    gps = tags.get_ifd(ExifTags.IFD.GPSInfo)
    assert (gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLongitudeRef]) == ("S", "W")
    d, m, s = (float(v) for v in gps[ExifTags.GPS.GPSLatitude])
    assert d + m / 60 + s / 3600 == pytest.approx(28.7606, abs=1e-5)
    said = read_facts(result.data)
    assert said == {k: v for k, v in FACTS.items() if k != "level"}


def test_a_picture_without_anything_known() -> None:
    data = encode_jpeg(picture())
    assert read_facts(data) == {}
    with Image.open(io.BytesIO(data)) as image:
        assert ExifTags.Base.ImageDescription not in image.getexif()


@pytest.mark.parametrize("missing", ["sun_altitude_deg", "moon_altitude_deg", "moon_illumination"])
def test_what_is_not_known_is_not_said(missing: str) -> None:
    facts = {k: v for k, v in FACTS.items() if k != missing} | {"exposures_s": None}
    data = encode_jpeg(picture(), facts=facts)
    with Image.open(io.BytesIO(data)) as image:
        words = str(image.getexif()[ExifTags.Base.ImageDescription])
    assert ("Sun" in words) == (missing != "sun_altitude_deg")
    assert ("Moon" in words) == (missing != "moon_altitude_deg")
    assert ("lit" in words) == (missing == "sun_altitude_deg")


def test_what_cannot_be_written_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EncodeError, match="'gif' is no picture format"):
        encode(picture(), format="gif")  # type: ignore[arg-type]
    wide = np.zeros((2, 16_400, 3), np.uint8)
    with pytest.raises(EncodeError, match="16400x2 is too large for webp"):
        encode(wide, format="webp")

    def refuse(*args: Any, **more: Any) -> None:
        raise KeyError("AVIF")

    monkeypatch.setattr(encode_module.Image.Image, "save", refuse)
    with pytest.raises(EncodeError, match="This Pillow cannot write avif"):
        encode(picture(), format="avif")
