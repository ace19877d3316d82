"""Sorting networks, by the 0-1 principle: right for all zeros and ones is right for all values."""

from __future__ import annotations

import numpy as np
import pytest

from allsky360.arrays.networks import MEDIAN9, SORT8, exchange, median_network


def all_bits(n: int) -> list[np.ndarray]:
    every = np.arange(2**n)
    return [(every >> k & 1).astype(np.uint8) for k in range(n)]


def test_eight_values_are_sorted_in_19_exchanges() -> None:
    assert len(SORT8) == 19
    bits = all_bits(8)
    np.testing.assert_array_equal(np.stack(exchange(bits, SORT8)), np.sort(np.stack(bits), axis=0))


@pytest.mark.parametrize("n", [3, 5, 9, 15])
def test_the_median_lands_in_the_middle(n: int) -> None:
    bits = all_bits(n)
    np.testing.assert_array_equal(
        exchange(bits, median_network(n))[n // 2], np.median(np.stack(bits), axis=0)
    )


def test_25_values() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(25, 4000))
    values[:, 2000:] = rng.integers(0, 2, (25, 2000))
    found = exchange(list(values), median_network(25))[12]
    np.testing.assert_array_equal(found, np.median(values, axis=0))
    assert len(MEDIAN9) == 19
    assert len(median_network(25)) < 140
