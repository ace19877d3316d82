"""A pixel that is no number spoils itself alone, and no table is read outside its ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from allsky360.arrays import to_host
from allsky360.arrays.bit_tables import LEAST, bit_table, place
from allsky360.arrays.histogram import tile_curves, tile_histograms
from allsky360.arrays.luminance import bend_luminance
from allsky360.arrays.oklab import scale_chroma
from allsky360.arrays.tone_curve import apply_curve
from tests.imaging.filters.local_helpers import away

WILD = [np.nan, np.inf, -np.inf, 3e38, -3e38]
LINE = np.linspace(0.0, 1.0, 256, dtype=np.float32)
CURVES = np.tile(np.linspace(0.0, 1.0, 17), (2, 2, 1)).astype(np.float32)


def test_every_number_has_a_place_in_the_table() -> None:
    table = bit_table(lambda x: x)
    least, one = np.float32(LEAST), np.float32(1.0)

    @njit
    def clamped(value: Any) -> Any:
        return place(min(max(least, value), one))

    for value in [*WILD, 0.0, -0.0, 1.0, LEAST, 1e-30]:
        assert 0 <= clamped(np.float32(value)) < table.size
    assert clamped(np.float32(np.nan)) == 0


STEPS: list[tuple[str, Callable[[Any], Any]]] = [
    ("curve", lambda x: apply_curve(x, white=1.0, black=0.0, curve=LINE, chroma_floor=0.1)),
    ("chroma", lambda x: scale_chroma(x, 1.4)),
    ("bend", lambda x: bend_luminance(x, 0.8)),
    (
        "tiles",
        lambda x: tile_curves(
            x, CURVES if isinstance(x, np.ndarray) else away(CURVES), 32, 0.5, None
        ),
    ),
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", WILD)
@pytest.mark.parametrize(("name", "step"), STEPS, ids=[n for n, _ in STEPS])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_others_are_untouched(
    name: str, step: Callable[[Any], Any], value: float, channels: int
) -> None:
    if name == "chroma" and channels == 1:
        return
    image = np.random.default_rng(1).uniform(0, 1, (40, 50, channels)).astype(np.float32)
    spoilt = image.copy()
    spoilt[20, 30] = value
    others = np.ones((40, 50), bool)
    others[20, 30] = False
    for put in (np.asarray, away):
        whole, found = to_host(step(put(image))), to_host(step(put(spoilt)))
        assert np.array_equal(found[others], whole[others])


def test_histograms_count_it_as_black() -> None:
    plane = np.full((70, 70), 0.5, np.float32)
    plane[3, 4] = np.nan
    for put in (np.asarray, away):
        counts = to_host(tile_histograms(put(plane), None, 35, 8))
        assert counts.sum() == 70 * 70
        assert counts[0, 0, 0] == 1
