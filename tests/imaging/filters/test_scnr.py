"""Excess green goes, everything else stays."""

from __future__ import annotations

from typing import Any

import array_api_strict as xp
import numpy as np
import pytest

from allsky360.arrays.luminance import luminance
from allsky360.imaging.filters.scnr import scnr

IMAGE = np.random.default_rng(0).uniform(0.2, 2.0, (40, 50, 3)).astype(np.float32)


@pytest.mark.parametrize("protection", ["average", "maximum"])
def test_green_is_taken_down_to_the_neutral(protection: Any) -> None:
    out = scnr(IMAGE, amount=1.0, protection=protection, keep_luminance=False)
    r, g, b = np.moveaxis(IMAGE, -1, 0)
    neutral = (r + b) / 2 if protection == "average" else np.maximum(r, b)
    np.testing.assert_allclose(out[..., 1], np.minimum(g, neutral), rtol=1e-6)
    np.testing.assert_array_equal(out[..., [0, 2]], IMAGE[..., [0, 2]])


def test_luminance_is_kept() -> None:
    out = scnr(IMAGE, amount=0.7)
    np.testing.assert_allclose(luminance(out), luminance(IMAGE), rtol=1e-5)
    untouched = IMAGE[..., 1] <= (IMAGE[..., 0] + IMAGE[..., 2]) / 2
    np.testing.assert_allclose(out[untouched], IMAGE[untouched], rtol=1e-6)


def test_identity_grey_and_mono() -> None:
    assert scnr(IMAGE, amount=0.0) is IMAGE
    grey = np.repeat(IMAGE[..., :1], 3, axis=2)
    np.testing.assert_allclose(scnr(grey, amount=1.0), grey, rtol=1e-6)
    assert scnr(IMAGE[..., :1]).shape == (40, 50, 1)


@pytest.mark.parametrize("keep", [True, False])
def test_devices_agree(keep: bool) -> None:
    there = scnr(xp.asarray(IMAGE, device=xp.Device("device1")), keep_luminance=keep)
    host = np.asarray(there.to_device(xp.Device("CPU_DEVICE")))
    np.testing.assert_allclose(host, scnr(IMAGE, keep_luminance=keep), rtol=1e-5)
