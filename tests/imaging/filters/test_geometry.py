"""Mask, crop, rotate and flip: what they do to pixels, and where they say a pixel went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import array_api_strict
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from allsky360.imaging.filters import crop as crop_module
from allsky360.imaging.filters import flip as flip_module
from allsky360.imaging.filters import rotate as rotate_module
from allsky360.imaging.filters.crop import crop, crop_raw
from allsky360.imaging.filters.flip import flip
from allsky360.imaging.filters.geometry import affine_of, apply, compose, identity, invert
from allsky360.imaging.filters.mask import MaskError, fit_circle, mask, measure
from allsky360.imaging.filters.registry import FILTERS
from allsky360.imaging.filters.rotate import rotate
from allsky360.simulator.sensor import shifted_pattern

DEVICE = array_api_strict.Device("device1")
STEPS = {
    "crop": {"left": 7, "top": 5, "width": 40, "height": 30},
    "flip": {"horizontal": True, "vertical": False},
    "rotate": {"angle_deg": 90.0, "interpolation": "bilinear"},
}


def picture(h: int = 60, w: int = 84, channels: int = 3) -> np.ndarray:
    noise = np.random.default_rng(5).random((h, w, channels), np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.5).reshape(h, w, channels), np.float32)


def on_device(image: np.ndarray, run: Any) -> np.ndarray:
    out = run(array_api_strict.asarray(image, device=DEVICE))
    assert out.device == DEVICE
    return np.asarray(out.to_device(array_api_strict.Device("CPU_DEVICE")))


# -- where pixels go --------------------------------------------------------------------------


def spot(h: int, w: int, x: float, y: float) -> np.ndarray:
    rows, columns = np.mgrid[:h, :w]
    plane = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.6**2)).astype(np.float32)
    return np.repeat(plane[..., None], 3, axis=-1)


def centroid(image: np.ndarray) -> tuple[float, float]:
    plane = np.clip(image[..., 0], 0, None)
    rows, columns = np.mgrid[: plane.shape[0], : plane.shape[1]]
    return (columns * plane).sum() / plane.sum(), (rows * plane).sum() / plane.sum()


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("crop", {"left": 3, "top": 11, "width": 50, "height": 40}),
        ("crop", {"left": 4}),
        ("flip", {"horizontal": True}),
        ("flip", {"vertical": True}),
        ("flip", {"horizontal": True, "vertical": True}),
        *(("rotate", {"angle_deg": a}) for a in (90.0, 180.0, 270.0, -90.0, 450.0, 360.0)),
        *(("rotate", {"angle_deg": a, "interpolation": i})
          for a in (17.3, -128.0) for i in ("bilinear", "lanczos")),
    ],
)  # fmt: skip
def test_a_star_goes_where_the_map_says(name: str, keywords: dict[str, Any]) -> None:
    image = spot(70, 90, 40.3, 32.6)
    out = FILTERS[name].run(image, **keywords)
    matrix, shape = affine_of([(name, keywords)], (70, 90))
    assert out.shape[:2] == shape
    x, y = apply(matrix, 40.3, 32.6)
    assert centroid(out) == pytest.approx((float(x), float(y)), abs=0.05)
    back = apply(invert(matrix), x, y)
    assert (float(back[0]), float(back[1])) == pytest.approx((40.3, 32.6))


def test_maps_compose_in_order() -> None:
    image = spot(70, 90, 40.3, 32.6)
    steps = [("flip", {"horizontal": True}), ("clarity", {"amount": 1}),
             ("crop", {"left": 10, "top": 4}), ("rotate", {"angle_deg": 270.0}),
             ("rotate", {"angle_deg": 10.0})]  # fmt: skip
    out = image
    for name, keywords in steps:
        out = FILTERS[name].run(out, **keywords) if name in STEPS else out
    matrix, shape = affine_of(steps, (70, 90))
    assert out.shape[:2] == shape
    x, y = apply(matrix, 40.3, 32.6)
    assert centroid(out) == pytest.approx((float(x), float(y)), abs=0.05)
    assert np.allclose(compose(matrix, invert(matrix)), identity())
    assert np.array_equal(affine_of([], (5, 6))[0], identity())


# -- exact operations -------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_quarter_turns_are_exact(turns: int, channels: int) -> None:
    image = picture(channels=channels)
    out = rotate(image, angle_deg=90.0 * turns)
    assert np.array_equal(out, np.rot90(image, turns))
    assert out.flags.c_contiguous
    assert np.array_equal(on_device(image, lambda i: rotate(i, angle_deg=90.0 * turns)), out)


def test_flip_is_exact_and_its_own_inverse() -> None:
    image = picture()
    assert np.array_equal(flip(image, horizontal=True), image[:, ::-1])
    assert np.array_equal(flip(image, vertical=True), image[::-1])
    assert np.array_equal(flip(flip(image, horizontal=True), horizontal=True), image)
    assert np.array_equal(on_device(image, lambda i: flip(i, vertical=True)), image[::-1])


@pytest.mark.parametrize("name", sorted(STEPS))
def test_defaults_move_nothing(name: str) -> None:
    image = picture()
    assert FILTERS[name].run(image) is image


def test_crop_cuts() -> None:
    image = picture()
    assert np.array_equal(crop(image, **STEPS["crop"]), image[5:35, 7:47])
    assert np.array_equal(crop(image, left=80, width=100), image[:, 80:])
    assert crop_module.affine((60, 84), left=80, width=100)[1] == (60, 4)
    assert np.array_equal(on_device(image, lambda i: crop(i, top=9)), image[9:])


@pytest.mark.parametrize(
    "keywords", [{"left": 84}, {"top": 60}, {"left": -1}, {"width": -2}, {"height": -1}]
)
def test_a_crop_outside_the_image_is_refused(keywords: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"crop: .* is no part of an image of 84x60"):
        crop(picture(), **keywords)


@given(
    st.integers(0, 20), st.integers(0, 20), st.integers(0, 30), st.integers(0, 30),
    st.integers(21, 40), st.integers(21, 40),
)  # fmt: skip
def test_a_raw_crop_keeps_the_bayer_phase(
    left: int, top: int, width: int, height: int, w: int, h: int
) -> None:
    mosaic = np.arange(w * h).reshape(h, w)
    cut, x0, y0 = crop_raw(mosaic, left=left, top=top, width=width, height=height)
    assert shifted_pattern("GRBG", x0, y0) == "GRBG"
    assert np.array_equal(cut, mosaic[y0 : y0 + cut.shape[0], x0 : x0 + cut.shape[1]])
    wanted = crop(mosaic, left=left, top=top, width=width, height=height)
    assert wanted[0, 0] in cut
    assert wanted[-1, -1] in cut
    assert x0 + cut.shape[1] <= left + (width or w) + 1


# -- other angles -----------------------------------------------------------------------------


def test_lanczos_keeps_fine_detail_that_bilinear_loses() -> None:
    """A pattern of period 4 px, turned six times by 60 degrees, comes back where it was."""
    x = np.arange(101) + np.zeros((101, 1))
    image = np.repeat((0.5 + 0.3 * np.cos(2 * np.pi * x / 4.0))[..., None], 3, -1)
    image = image.astype(np.float32)
    left = {}
    for how in ("bilinear", "lanczos"):
        out = image
        for _ in range(6):
            out = rotate(out, angle_deg=60.0, interpolation=how)  # type: ignore[arg-type]
        left[how] = np.std(out[40:61, 40:61]) / np.std(image[40:61, 40:61])
    assert left["lanczos"] > 0.95
    assert left["bilinear"] < 0.6


@pytest.mark.parametrize("how", ["bilinear", "lanczos"])
def test_turning_by_an_angle_is_the_same_on_a_device(how: Any) -> None:
    """OpenCV rounds positions to 1/32 px: as far apart as a smooth picture changes over that."""
    image = picture()
    ours = rotate(image, angle_deg=33.0, interpolation=how)
    theirs = on_device(image, lambda i: rotate(i, angle_deg=33.0, interpolation=how))
    assert np.abs(ours - theirs)[3:-3, 3:-3].max() < 0.03
    assert np.abs(ours - theirs).mean() < 2e-3
    assert ours.min() >= 0


def test_lanczos_stays_in_range() -> None:
    image = np.zeros((40, 40, 3), np.float32)
    image[20, 20] = 1.0
    out = rotate(image, angle_deg=20.0, interpolation="lanczos")
    assert 0.0 <= out.min() <= out.max() <= 1.0


def test_an_unknown_interpolation_is_refused() -> None:
    with pytest.raises(ValueError, match="interpolation must be bilinear or lanczos"):
        rotate(picture(), angle_deg=3.0, interpolation="cubic")  # type: ignore[arg-type]


# -- mask -------------------------------------------------------------------------------------


def disc(h: int, w: int, cx: float, cy: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:h, :w]
    return np.hypot(rows - cy, columns - cx) - radius


@pytest.mark.parametrize(
    ("cx", "cy", "radius", "soft"),
    [(41.5, 29.5, 25, 8), (30, 20, 40, 3), (-5, 30, 30, 10), (41.5, 29.5, 25, 0), (40, 30, 2, 9),
     (200, 30, 20, 5), (40, 30, 500, 8)],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_circle_follows_its_formula(
    cx: float, cy: float, radius: float, soft: float, channels: int
) -> None:
    image = picture(channels=channels)
    before = image.copy()
    keywords: dict[str, Any] = {
        "shape": "circle", "center_x_px": cx, "center_y_px": cy, "radius_px": radius,
        "soft_px": soft, "outside": (0.1, 0.2, 0.6),
    }  # fmt: skip
    out = mask(image, **keywords)
    d = disc(60, 84, cx, cy, radius)
    t = np.clip(0.5 - d / max(soft, 1e-3), 0, 1)
    alpha = (t * t * (3 - 2 * t))[..., None]
    colour = np.array([0.1, 0.2, 0.6]) if channels == 3 else np.array([0.3])
    np.testing.assert_allclose(out, colour + alpha * (image - colour), atol=2e-6)
    assert np.array_equal(out[d < -soft], image[d < -soft])
    assert np.array_equal(image, before)
    assert np.abs(on_device(image, lambda i: mask(i, **keywords)) - out).max() < 3e-4


def test_grey_stays_grey_under_a_grey_cover() -> None:
    image = np.repeat(picture(channels=1), 3, axis=-1)
    out = mask(image, shape="circle")
    assert np.ptp(out, axis=-1).max() < 1e-7


@pytest.mark.parametrize(
    ("h", "w", "cx", "cy", "radius"), [(200, 300, 150, 100, 90), (200, 300, 140, 90, 130)]
)
def test_auto_covers_what_lies_outside_the_rim(
    h: int, w: int, cx: float, cy: float, radius: float
) -> None:
    sky = disc(h, w, cx, cy, radius) < 0
    sky[20, 30] = True  # a hole in the border must not move the circle
    found = fit_circle(sky)
    assert found == pytest.approx((cx, cy, radius), abs=0.6)
    image = picture(h, w)
    state = measure(image, mask=sky)
    out = mask(image, state=state, soft_px=4)
    assert np.array_equal(
        out[disc(h, w, cx, cy, radius) < -4], image[disc(h, w, cx, cy, radius) < -4]
    )
    assert not out[disc(h, w, cx, cy, radius) > 4].any()
    assert np.array_equal(mask(image, mask=sky, soft_px=4), out)
    with_other_outside = np.where(sky[..., None], image, np.float32(0.7))
    kept = disc(h, w, cx, cy, radius) < -2
    assert np.array_equal(
        mask(with_other_outside, state=state)[kept], mask(image, state=state)[kept]
    )


def test_auto_without_a_round_rim_covers_nothing() -> None:
    image = picture()
    assert mask(image) is image
    assert mask(image, mask=np.ones((60, 84), bool)) is image
    square = np.zeros((60, 84), bool)
    square[10:50, 10:74] = True
    assert fit_circle(square) is None
    assert measure(image, mask=square) == {}
    assert measure(image, mask=disc(60, 84, 40, 30, 20) < 0, shape="circle") == {}


def test_a_file_covers(tmp_path: Path) -> None:
    image = picture()
    horizon = np.zeros((60, 84), np.uint8)
    horizon[:30] = 255
    path = tmp_path / "horizon.png"
    Image.fromarray(horizon).save(path)
    out = mask(image, shape="file", file=str(path), soft_px=0)
    assert np.array_equal(out[:30], image[:30])
    assert not out[30:].any()
    soft = mask(image, shape="file", file=str(path), soft_px=8)
    assert np.allclose(soft[29:31].sum(axis=0), (image[29] + image[30]) / 2, atol=0.12)
    assert np.array_equal(soft[:10], image[:10])
    there = on_device(image, lambda i: mask(i, shape="file", file=str(path), soft_px=0))
    assert np.array_equal(there, out)
    Image.fromarray(255 - horizon).save(path)
    assert np.array_equal(mask(image, shape="file", file=str(path), soft_px=0)[30:], image[30:])


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    image = picture()
    with pytest.raises(MaskError, match="There is no mask file"):
        mask(image, shape="file")
    path = tmp_path / "small.png"
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(path)
    with pytest.raises(MaskError, match=r"small\.png is 4x3, the frame 84x60"):
        mask(image, shape="file", file=str(path))
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture")
    with pytest.raises(MaskError, match=r"broken\.png is not a picture"):
        mask(image, shape="file", file=str(path))
    with pytest.raises(ValueError, match="shape must be"):
        mask(image, shape="oval")  # type: ignore[arg-type]


@pytest.mark.gpu
def test_geometry_on_the_gpu() -> None:
    cupy = pytest.importorskip("cupy")
    image = picture()
    for run in (
        lambda i: mask(i, shape="circle"),
        lambda i: flip(i, horizontal=True),
        lambda i: crop(i, left=4),
        lambda i: rotate(i, angle_deg=90),
    ):
        assert np.abs(run(cupy.asarray(image)).get() - run(image)).max() < 1e-4


def test_maps_of_the_modules_are_used() -> None:
    assert {m.FILTER.name for m in (crop_module, flip_module, rotate_module)} == set(STEPS)
