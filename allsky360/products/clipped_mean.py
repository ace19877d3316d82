"""A mean that grows value by value and leaves out what does not belong: aircraft, satellites.

Mean and variance per value are those of Welford (1962, Technometrics 4, 419). From the eighth value
on, one further from the mean than ``sigma`` standard deviations is left out; it widens the variance
a little (by its mean), so that a sky that truly changed is believed in the end. Before, a prior
takes the place of the variance: the noise of the first frame and a third of the value, since the
peaks of undersampled stars vary by that; where more values are left out than taken the mean starts
anew: what was there before was the aircraft (the majority vote of Boyer and Moore, 1981).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.products.light import flat

FEW = 8
PEAKS = 0.35


@compiled
def _take(first: int, last: int, values, mean, spread, count, left, sigma, noise) -> None:  # type: ignore[no-untyped-def]
    for row in range(first, last):
        v, m, s, n, out = values[row], mean[row], spread[row], count[row], left[row]
        for k in range(v.size):
            value = v[k]
            if value != value:
                continue
            seen = n[k]
            if seen == 0:
                m[k], s[k], n[k] = value, np.float32(0.0), np.uint16(1)
                continue
            away = value - m[k]
            if seen < FEW:
                low = min(abs(value), abs(m[k]))
                if abs(away) > sigma * (noise + np.float32(PEAKS) * low):
                    out[k] += np.uint16(1)
                    if out[k] > seen:
                        out[k] = np.uint16(seen)
                        m[k], s[k], n[k] = value, np.float32(0.0), np.uint16(1)
                    continue
            else:
                variance = max(s[k] / np.float32(seen - 1), np.float32(0.09) * noise * noise)
                if away * away > sigma * sigma * variance:
                    s[k] += variance
                    out[k] += np.uint16(1)
                    continue
            if seen == 65535:
                continue
            m[k] += away / np.float32(seen + 1)
            s[k] += away * (value - m[k])
            n[k] = np.uint16(seen + 1)


class ClippedMean:
    """Grows a clipped mean of pictures ``(H, W, C)`` float32, NaN where one shows nothing.

    Attributes
    ----------
    mean, spread
        Float32; sum of squared deviations.
    count, left
        Uint16: values taken, values left out.
    noise
        Noise of a single picture, set by the first.
    """

    ARRAYS = ("mean", "spread", "count", "left")

    def __init__(self, shape: tuple[int, ...], sigma: float) -> None:
        self.mean = np.zeros(shape, np.float32)
        self.spread = np.zeros(shape, np.float32)
        self.count = np.zeros(shape, np.uint16)
        self.left = np.zeros(shape, np.uint16)
        self.sigma = sigma
        self.noise = 0.0

    def add(self, picture: NDArray[np.float32]) -> None:
        """Take one picture."""
        if not self.noise:
            self.noise = noise_of(picture)
        in_bands(
            _take, picture.shape[0], flat(np.ascontiguousarray(picture)), flat(self.mean),
            flat(self.spread), flat(self.count), flat(self.left), np.float32(self.sigma),
            np.float32(self.noise),
        )  # fmt: skip


def noise_of(picture: NDArray[np.float32]) -> float:
    """Return the noise of a picture from differences of neighbours, never 0."""
    with np.errstate(invalid="ignore"):
        steps = np.abs(picture[::4, 1::4] - picture[::4, :-1:4][:, : picture[::4, 1::4].shape[1]])
    steps = steps[np.isfinite(steps)]
    if not len(steps):
        return 1e-4
    return max(float(np.median(steps)) * 1.4826 / float(np.sqrt(2.0)), 1e-4)
