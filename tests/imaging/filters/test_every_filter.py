"""What every registered filter owes: shapes, grey, its mask, its input, and no hidden host copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from allsky360.arrays import to_host
from allsky360.config_filters import FilterSettings
from allsky360.imaging.filters.filter import Conditions, Filter
from allsky360.imaging.filters.registry import FILTERS
from allsky360.imaging.noise import NoiseModel
from tests.imaging.filters.local_helpers import away, circle

NAMES = sorted(FILTERS)
WORKING: dict[str, dict[str, Any]] = {
    "crop": {"left": 4, "top": 6, "width": 90},
    "flip": {"horizontal": True},
    "local_histogram": {"radius_px": 32},
    "mask": {"shape": "circle"},
    "neutralise": {"share": 0.5},
    "rotate": {"angle_deg": 20.0},
}
"""Keywords with which filters that do nothing by default, or look far, work on small frames."""
IDENTITY: dict[str, dict[str, Any]] = {
    "acdnr": {"amount_luminance": 0.0, "amount_chrominance": 0.0},
    "clarity": {"amount": 0.0},
    "crop": {},
    "dehaze": {"amount": 0.0},
    "flip": {},
    "gamma": {"value": 1.0},
    "gradient": {"amount": 0.0},
    "local_histogram": {"amount": 0.0},
    "mask": {"shape": "auto"},
    "median": {"amount": 0.0},
    "multiscale_median": {"amounts": (0.0,), "hot_sigmas": 0.0},
    "neutralise": {"amount": 0.0},
    "rotate": {},
    "saturation": {"amount": 1.0},
    "scnr": {"amount": 0.0},
    "sharpen": {"gains": (0.0,)},
    "tone_map": {"highlights": 0.0, "shadows": 0.0},
}
"""Keywords that switch a filter off."""
TO_DISPLAY = {"fuse", "stretch"}
"""Linear in, display codes out: these cannot be switched off."""
MOVES_PIXELS = {"crop", "flip", "rotate"}
SMALL = [(5, 7), (1, 1), (2, 9), (33, 8)]


def picture(chosen: Filter, shape: tuple[int, int], channels: int, seed: int = 3) -> np.ndarray:
    """Noisy sky with a gradient and stars, in the filter's domain."""
    rng = np.random.default_rng(seed)
    h, w = shape
    y, x = np.mgrid[:h, :w]
    sky = (0.9 + 0.3 * y / h + 0.1 * np.sin(x / 9.0))[..., None] * np.linspace(0.9, 1.1, channels)
    image = sky + rng.normal(0, 0.04, (h, w, channels))
    for _ in range(h * w // 400):
        at = rng.uniform(0, h), rng.uniform(0, w)
        star = np.exp(-0.5 * ((y - at[0]) ** 2 + (x - at[1]) ** 2) / 1.1**2)
        image += (rng.uniform(0.5, 8) * star)[..., None]
    if chosen.domain == "display":
        image = np.clip(0.25 * image, 0, 1)
    return image.astype(np.float32)


def given(chosen: Filter, mask: Any = None) -> dict[str, Any]:
    """What the pipeline hands over."""
    everything = {
        "mask": mask,
        "noise": NoiseModel(2e-4, 1.4e-3),
        "conditions": Conditions(noise=0.04, saturation=20.0, range=4.0),
    }
    return {k: everything[k] for k in chosen.needs}


def keywords(name: str) -> dict[str, Any]:
    table: dict[str, Any] = getattr(FilterSettings(), name).model_dump()
    return table | WORKING.get(name, {})


def state_of(chosen: Filter, image: Any, mask: np.ndarray | None) -> dict[str, Any]:
    """As the pipeline does it: the mask of ``measure`` lies on the host."""
    if chosen.measure is None:
        return {}
    settings = {k: keywords(chosen.name)[k] for k in chosen.settings_of_measure}
    return {"state": chosen.measure(image, **settings, **(given(chosen) | {"mask": mask}))}


def out_shape(name: str, shape: tuple[int, int], channels: int) -> tuple[int, ...]:
    return (shape[0] - 6, 90, channels) if name == "crop" else (*shape, channels)


@pytest.mark.parametrize(("channels", "masked"), [(3, False), (3, True), (1, True)])
@pytest.mark.parametrize("name", NAMES)
def test_host_and_second_device_agree(name: str, channels: int, masked: bool) -> None:
    chosen, shape = FILTERS[name], (97, 122)
    image = picture(chosen, shape, channels)
    before = image.copy()
    mask = circle(*shape) if masked else None
    state = state_of(chosen, image, mask)
    ours = chosen.run(image, **keywords(name), **given(chosen, mask), **state)
    assert np.array_equal(image, before)
    assert ours.dtype == np.float32
    assert ours.shape == out_shape(name, shape, channels)
    assert np.isfinite(ours).all()
    if chosen.domain == "display" or name in TO_DISPLAY:
        assert ours.min() >= 0.0
        assert ours.max() <= 1.0
    there = away(image)
    far_state = state_of(chosen, there, mask)
    for key, values in state.get("state", {}).items():
        np.testing.assert_allclose(far_state["state"][key], values, rtol=2e-3, atol=1e-5)
    theirs = chosen.run(
        there, **keywords(name), **given(chosen, None if mask is None else away(mask)), **state
    )
    assert theirs.device == there.device
    assert theirs.dtype == there.dtype
    np.testing.assert_allclose(to_host(theirs), ours, atol=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_grey_stays_grey(name: str) -> None:
    chosen = FILTERS[name]
    image = np.repeat(picture(chosen, (121, 170), 1), 3, axis=2)
    out = chosen.run(image, **keywords(name), **given(chosen, circle(121, 170)))
    np.testing.assert_allclose(out[..., 0], out[..., 1], atol=2e-5)
    np.testing.assert_allclose(out[..., 2], out[..., 1], atol=2e-5)


def test_every_other_filter_can_be_switched_off() -> None:
    assert set(NAMES) - set(IDENTITY) <= TO_DISPLAY


@pytest.mark.parametrize("name", sorted(IDENTITY))
def test_switched_off_it_is_identity(name: str) -> None:
    chosen = FILTERS[name]
    image = picture(chosen, (64, 80), 3)
    off = getattr(FilterSettings(), name).model_dump() | IDENTITY[name]
    assert chosen.run(image, **off, **given(chosen)) is image


@pytest.mark.parametrize("name", sorted(set(NAMES) - MOVES_PIXELS - {"mask"}))
def test_what_lies_outside_the_mask_changes_nothing_inside(name: str) -> None:
    chosen, mask = FILTERS[name], circle(121, 170)
    image = picture(chosen, (121, 170), 3)
    ours = chosen.run(image, **keywords(name), **given(chosen, mask))
    for outside in (1e3 if chosen.domain == "linear" else 1.0, np.nan):
        other = np.where(mask[..., None], image, np.float32(outside))
        theirs = chosen.run(other, **keywords(name), **given(chosen, mask))
        np.testing.assert_array_equal(theirs[mask], ours[mask])


@pytest.mark.parametrize("shape", SMALL)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_tiny_frames(name: str, channels: int, shape: tuple[int, int]) -> None:
    chosen = FILTERS[name]
    settings = keywords(name) | ({"left": 0, "top": 0, "width": 0} if name == "crop" else {})
    noisy = picture(chosen, shape, channels)
    nowhere, everywhere = np.zeros(shape, bool), np.ones(shape, bool)
    for image, masks in (
        (noisy, (None, nowhere, everywhere)),
        (np.zeros_like(noisy), (None,)),
        (np.ones_like(noisy), (everywhere,)),
    ):
        for mask in masks:
            out = chosen.run(image, **settings, **given(chosen, mask))
            assert out.shape == image.shape
            assert np.isfinite(out).all()


@pytest.mark.parametrize("name", NAMES)
def test_views_of_larger_arrays(name: str) -> None:
    chosen = FILTERS[name]
    whole = picture(chosen, (100, 130), 3)
    for view in (whole[::-1, ::-1], whole[::2, ::-2], np.asfortranarray(whole)):
        ours = chosen.run(view, **keywords(name), **given(chosen))
        theirs = chosen.run(np.ascontiguousarray(view), **keywords(name), **given(chosen))
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
