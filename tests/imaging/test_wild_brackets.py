"""Whatever a camera delivers becomes a frame and a picture, or one error that names the thing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allsky360.imaging.display import SkyHints
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.pipeline import develop
from allsky360.imaging.tone import Tone
from allsky360.model import BAYER_PATTERNS, Bracket, Exposure

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = (*BAYER_PATTERNS, "mono", "colour", "jpeg")
PLAIN = {
    name: (("stretch", keywords), ("saturation", {"amount": 1.5}))
    for name, keywords in (
        ("clear", {}),
        ("moonlit", {"method": "mtf"}),
        ("cloudy", {"linked": False}),
        ("day", {"background": 0.4}),
    )
}
"""A chain of few filters: each of them is judged alone in ``filters/test_every_filter.py``."""


@st.composite
def brackets(draw: Any) -> Bracket:
    kind = draw(st.sampled_from(KINDS))
    shape = tuple(draw(st.integers(4, 90)) for _ in range(2))
    shape = (*shape, 3) if kind in ("colour", "jpeg") else shape
    top = 255 if kind == "jpeg" else draw(st.sampled_from([255, 4095, 65535]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    level, pedestal = draw(st.sampled_from([0, 1, 30, 1000, 10**6])), draw(st.sampled_from([0, 90]))
    count = draw(st.integers(1, 5))
    first = draw(st.sampled_from([0.0, 3e-5, 1.0, 60.0] if count == 1 else [3e-5, 1.0, 60.0]))
    ratio = draw(st.sampled_from([1.0, 0.5, 0.25, 0.01]))
    gain, egain = draw(st.sampled_from([None, 0.0, 300.0])), draw(st.sampled_from([None, 0.3]))
    shots = []
    for k in range(count):
        values = rng.poisson(level * ratio**k, shape) + pedestal
        hit = rng.random(shape) < draw(st.sampled_from([0.0, 0.01, 1.0]))
        values = np.where(hit, rng.integers(0, top + 1, shape), values)
        pixels = np.minimum(values, top).astype(np.uint8 if kind == "jpeg" else np.uint16)
        shots.append(
            Exposure(
                pixels,
                kind if kind in BAYER_PATTERNS else None,
                WHEN,
                first * ratio**k,
                gain=gain,
                egain=egain,
                saturation_adu=float(top),
                metadata={"linear": False} if kind == "jpeg" else {},
            )
        )
    return Bracket(tuple(shots))


@given(
    bracket=brackets(),
    profile=st.sampled_from(["auto", "clear", "moonlit", "cloudy", "day"]),
    hints=st.sampled_from([None, SkyHints(1.0, 0.65, -30.0), SkyHints(0.2, 0.0, 50.0)]),
    black=st.sampled_from([0.0, 90.0]),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_it_becomes_a_frame_and_a_picture(
    bracket: Bracket, profile: str, hints: SkyHints | None, black: float
) -> None:
    raw = [e.pixels.copy() for e in bracket.exposures]
    parameters = ChainParameters(profile=profile, profiles=PLAIN, black_level_adu=black)
    first = develop(bracket, parameters, hints=hints)
    later = Bracket(
        tuple(replace(e, start=e.start + timedelta(seconds=60)) for e in bracket.exposures)
    )
    tone = Tone.from_json(json.loads(json.dumps(first.tone.to_json(), allow_nan=False)))
    second = develop(later, parameters, hints=hints, tone=tone)
    for before, exposure in zip(raw, bracket.exposures, strict=True):
        assert np.array_equal(before, exposure.pixels)
    for done in (first, second):
        assert done.linear.shape == (*raw[0].shape[:2], 3)
        assert done.picture.shape == done.linear.shape
        assert done.picture.dtype == np.uint8
        assert np.isfinite(done.linear).all()
        assert all(np.isfinite(v) for k, v in done.statistics.items() if k != "border_level")
        json.dumps([s.parameters for s in done.steps])
    assert np.array_equal(first.linear, second.linear)
    # Nothing moved and nothing brightened: the picture stays.
    apart = np.abs(first.picture.astype(int) - second.picture.astype(int))
    assert apart.max() <= 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("profile", ["auto", "clear", "cloudy", "moonlit", "day"])
def test_black_stays_dark_and_saturated_bright(kind: str, profile: str) -> None:
    shape = (64, 80, 3) if kind in ("colour", "jpeg") else (64, 80)
    top = 255 if kind == "jpeg" else 65535
    for level, dark in ((0, True), (top, False)):
        shot = Exposure(
            np.full(shape, level, np.uint8 if kind == "jpeg" else np.uint16),
            kind if kind in BAYER_PATTERNS else None,  # type: ignore[arg-type]
            WHEN,
            10.0,
            saturation_adu=float(top),
            metadata={"linear": False} if kind == "jpeg" else {},
        )
        picture = develop(
            Bracket((shot,)), ChainParameters(profile=profile, profiles=PLAIN)
        ).picture
        assert (picture.max() < 40) if dark else (picture.min() > 200)
