"""Row and column noise: found to a fraction of a pixel's noise, and nothing else taken away."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest
from PIL import Image

from allsky360.imaging.rows import line_levels, remove_pattern

H, W = 300, 420
DEVICE = array_api_strict.Device("device1")


def scene(seed: int = 1, *, mosaic: bool = True) -> np.ndarray:
    """A night sky: gradient, Milky Way, stars, circle, colours of a mosaic."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:H, :W]
    light = 200 + 0.4 * x + 80 * np.exp(-(((y - x * 0.5 - 40) / 40.0) ** 2))
    for _ in range(250):
        sy, sx = rng.uniform(0, H), rng.uniform(0, W)
        light += 10 ** rng.uniform(2, 4) * np.exp(-((y - sy) ** 2 + (x - sx) ** 2) / 3.0)
    light *= np.hypot(y - H / 2, x - W / 2) < 0.47 * W
    if mosaic:
        light = light * np.where(y % 2 == 0, np.where(x % 2, 1.0, 0.5), np.where(x % 2, 0.7, 1.0))
    return np.asarray(light, np.float32)


def noisy(levels: np.ndarray, seed: int = 2, **keywords: Any) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 6, (H, W))
    return (scene(**keywords) + noise + levels[:, None]).astype(np.float32)


@pytest.mark.parametrize("mosaic", [True, False])
def test_levels_are_found(mosaic: bool) -> None:
    levels = np.random.default_rng(3).normal(0, 4, H)
    found = line_levels(noisy(levels, mosaic=mosaic), mosaic=mosaic)
    assert np.corrcoef(found, levels)[0, 1] > 0.9
    assert np.std(levels - found - np.median(levels - found)) < 0.4 * np.std(levels)


def test_the_sky_stays() -> None:
    """Without row noise next to nothing is taken, and nothing smooth at all."""
    clean = noisy(np.zeros(H))
    out = remove_pattern(clean, mosaic=True)
    taken = (clean - out)[:, 0]
    assert np.std(taken) < 1.0  # a sixth of a pixel's noise
    assert np.abs(np.convolve(taken, np.ones(31) / 31, "valid")).max() < 0.5
    ramp = np.arange(H, dtype=np.float32)[:, None] * 3 + np.zeros((1, W), np.float32)
    assert np.abs(line_levels(ramp, mosaic=True)[20:-20]).max() < 1e-3


def test_columns_too() -> None:
    levels = np.random.default_rng(4).normal(0, 5, W)
    frame = (noisy(np.zeros(H)) + levels[None, :]).astype(np.float32)
    found = line_levels(frame, axis="columns", mosaic=True)
    assert np.corrcoef(found, levels)[0, 1] > 0.9
    both = remove_pattern(frame, rows=True, columns=True, mosaic=True)
    after = line_levels(both, axis="columns", mosaic=True)
    assert np.std(after) < 0.3 * np.std(levels)
    with pytest.raises(ValueError, match="axis must be rows or columns"):
        line_levels(frame, axis="planes", mosaic=True)  # type: ignore[arg-type]


def test_a_border_tells_slow_levels_too() -> None:
    """Levels that drift over the frame look like sky; only the dark border tells them apart."""
    y, x = np.mgrid[:H, :W]
    dark = np.hypot(y - H / 2, x - W / 2) > 0.49 * W
    dark |= x < 40
    levels = 8 * np.sin(np.arange(H) / 40.0) + np.random.default_rng(5).normal(0, 2, H)
    frame = (scene() * (x >= 40) + levels[:, None]).astype(np.float32)
    frame += np.random.default_rng(2).normal(0, 6, frame.shape).astype(np.float32)
    frame[50, 3] = 60_000  # hot pixel in the border
    found = line_levels(frame, mosaic=True, dark=dark)
    error = levels - found
    assert np.std(error) < 1.4
    assert np.std(error) < 0.4 * np.std(levels - line_levels(frame, mosaic=True))
    thin = np.zeros_like(dark)
    thin[:, :5] = True
    assert np.array_equal(
        line_levels(frame, mosaic=True, dark=thin), line_levels(frame, mosaic=True)
    )


def test_same_on_a_device() -> None:
    frame = noisy(np.random.default_rng(3).normal(0, 4, H))
    there = remove_pattern(
        array_api_strict.asarray(frame, device=DEVICE), rows=True, columns=True, mosaic=True
    )
    assert there.device == DEVICE
    back = np.asarray(there.to_device(array_api_strict.Device("CPU_DEVICE")))
    assert np.array_equal(back, remove_pattern(frame, columns=True, mosaic=True))


def test_a_real_scmos_frame_gets_quieter(real_data: Callable[[str], Path]) -> None:
    """Levels found on one half of the pixels are those of the other half."""
    path = real_data("kho-scmos-seq-2016/19_00_01_62.tif.xz")
    with Image.open(BytesIO(lzma.decompress(path.read_bytes()))) as picture:
        frame = np.asarray(picture).astype(np.float32)
    # Columns: measured on the even rows, they are those of the odd rows, and gone without them.
    first, second = (line_levels(frame[k::2], axis="columns", mosaic=False) for k in (0, 1))
    assert np.corrcoef(first, second)[0, 1] > 0.9
    quiet = line_levels(frame[1::2] - first[None, :], axis="columns", mosaic=False)
    assert np.std(quiet) < 0.4 * np.std(second)
    # Rows: the same with columns side by side.
    first, second = (line_levels(frame[:, k::2], mosaic=False) for k in (0, 1))
    assert np.corrcoef(first, second)[0, 1] > 0.7
