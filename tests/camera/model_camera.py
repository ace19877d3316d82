"""A camera whose physics is known in closed form: photons in, ADU out. Truth for control tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from allsky360.model import Exposure


@dataclass
class ModelCamera:
    """``sky``: fraction of full well per second at gain 0 in the middle of the green pixels."""

    full_well_e: float = 97_000.0
    read_noise_e: float = 2.6
    pedestal_adu: float = 480.0
    digit_adu: int = 4
    ev_per_gain: float = 0.1 / (20 * np.log10(2))
    size: int = 96
    circle: bool = True
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def expose(self, sky: float, exposure_s: float, gain: float) -> Exposure:
        n = self.size
        y, x = np.indices((n, n))
        r = np.hypot(x - n / 2 + 0.5, y - n / 2 + 0.5) / (n / 2)
        shape = 1.0 - 0.4 * (r / 0.95) ** 2  # vignetting
        # The metered disc reaches 0.85 x 0.95: scale so that its median pixel sees `sky`.
        shape /= np.median(shape[r < 0.85 * 0.95])
        if self.circle:
            shape = np.where(r < 0.95, shape, 0.0)
        colour = np.where((x + y) % 2 == 1, 1.0, np.where(y % 2 == 0, 0.6, 0.5))  # RGGB
        electrons = self.rng.poisson(
            np.minimum(sky * exposure_s * shape * colour, 50.0) * self.full_well_e
        ).astype(float)
        electrons += self.rng.normal(0, self.read_noise_e, (n, n))
        range_adu = 65535.0 - self.pedestal_adu
        adu = self.pedestal_adu + electrons * 2 ** (gain * self.ev_per_gain) * (
            range_adu / self.full_well_e
        )
        adu = np.clip(np.round(adu / self.digit_adu) * self.digit_adu, 0, 65535)
        return Exposure(
            adu.astype(np.uint16),
            "RGGB",
            datetime(2026, 1, 1, tzinfo=UTC),
            exposure_s,
            gain=gain,
        )
