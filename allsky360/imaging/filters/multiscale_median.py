"""Multi-scale median: hot pixels and blotches go, stars stay.

The pyramidal median transform (:func:`allsky360.arrays.medians.median_details`; Starck, Murtagh &
Bijaoui 1998, "Image Processing and Data Analysis", section 1.5) splits each channel into details of
about 1, 2, 4, … px. Unlike a wavelet's, its details have no rings of the other sign round a bright
point, so that one scale can be weakened without leaving marks. Of each scale the share
``amounts[j]`` of what lies below ``threshold`` sigmas is taken away (the ramp of
:mod:`allsky360.arrays.denoise`); hot pixels, significant but alone, are replaced first, by the rule
of the filter ``median``. Stars and edges are found in the two finest wavelet scales of luminance,
as in ``acdnr``, and nothing changes there.

The noise of each scale and channel is measured on tiles (:mod:`.tiles`).
"""

from __future__ import annotations

import numpy as np

from allsky360.arrays import Array
from allsky360.arrays.denoise import Rule, Source, grow, scan
from allsky360.arrays.luminance import luminance
from allsky360.arrays.medians import blend, median_change, median_details, repair_outliers
from allsky360.imaging.filters.acdnr import measure_noise
from allsky360.imaging.filters.extend import extend_outward
from allsky360.imaging.filters.filter import Filter, State
from allsky360.imaging.filters.median import channel_noise
from allsky360.imaging.filters.tiles import cut_tiles, quiet_shares
from allsky360.imaging.noise import NoiseModel


def multiscale_median(
    image: Array,
    *,
    amounts: tuple[float, ...] = (0.7, 0.7, 0.7, 0.5),
    threshold: float = 2.5,
    hot_sigmas: float = 6.0,
    protect: float = 4.5,
    protect_px: int = 4,
    noise: NoiseModel | None = None,
    state: State | None = None,
    mask: Array | None = None,
) -> Array:
    """Weaken insignificant details of each scale and remove hot pixels.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear.
    amounts
        0 to 1 for each scale, finest first, 1 to 6 of them. All 0 (and ``hot_sigmas`` 0) is
        identity.
    threshold
        Sigmas up to which a detail is noise, above 0.
    hot_sigmas
        Sigmas by which a hot pixel stands out, 0 to 100; 0 leaves hot pixels alone.
    protect, protect_px
        As in :func:`allsky360.imaging.filters.acdnr.acdnr`.
    noise
        Of the luminance, in the image's unit; measured when left out.
    state
        From :func:`measure_noise_of_scales`, smoothed in time; measured when left out.
    mask
        ``(H, W)`` bool, True = sky. Outside it the image is handed through.
    """
    if not 1 <= len(amounts) <= 6 or not all(0.0 <= a <= 1.0 for a in amounts):
        raise ValueError(f"amounts must be 1 to 6 numbers of 0 to 1, got {amounts}")
    for name, value, low, high in (
        ("threshold", threshold, 0.1, 20.0),
        ("hot_sigmas", hot_sigmas, 0.0, 100.0),
        ("protect", protect, 0.1, 100.0),
        ("protect_px", protect_px, 0, 16),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} must be {low:g} to {high:g}, got {value}")
    if not any(amounts) and hot_sigmas == 0:
        return image
    whole = extend_outward(image, mask)
    if hot_sigmas > 0:
        whole = repair_outliers(whole, 3, hot_sigmas, *channel_noise(image, noise, mask), True)
    if not any(amounts):
        return whole if mask is None else blend(image, whole - image, 1.0, None, mask)
    if state is None:
        state = measure_noise_of_scales(image, noise=noise, amounts=amounts, mask=mask)
    if noise is None:
        noise = NoiseModel(state["read_sigma"][0] ** 2, state["shot"][0])
    fine = tuple(state["share_luminance"][:2])
    protected, _ = scan(Source(whole), Rule(noise.read_var, noise.shot, protect, fine))
    protected = grow(protected, (protect_px + 1) // 2)
    shares = [state[f"share_scale_{j + 1}"] for j in range(len(amounts))]
    change = median_change(whole, amounts, threshold, noise.read_var, noise.shot, shares)
    cleaned = blend(whole, change, 1.0, protected, None)
    return cleaned if mask is None else blend(image, cleaned - image, 1.0, None, mask)


def measure_noise_of_scales(
    image: Array,
    *,
    noise: NoiseModel | None = None,
    amounts: tuple[float, ...] = (0.7, 0.7, 0.7, 0.5),
    mask: Array | None = None,
) -> State:
    """Measure the noise of every scale and channel over that of one pixel of luminance.

    Returns
    -------
    State
        "share_luminance" (and "read_sigma", "shot" where no noise model was given) as
        :func:`allsky360.imaging.filters.acdnr.measure_noise`; "share_scale_1" and so on: one number
        a channel.
    """
    state = measure_noise(luminance(image)[..., None], noise=noise, scales_luminance=2, mask=mask)
    if noise is None:
        noise = NoiseModel(state["read_sigma"][0] ** 2, state["shot"][0])
    tiles = cut_tiles(image, mask)
    levels = tiles.medians(luminance(tiles.canvas()))
    planes = median_details(tiles.level().canvas(), len(amounts))[::2]
    channels = image.shape[-1]
    found = [(plane[..., c], 2**j) for j, plane in enumerate(planes) for c in range(channels)]
    shares = np.reshape(quiet_shares(tiles.spreads(found), levels, noise), (-1, channels))
    for j, row in enumerate(shares):
        state[f"share_scale_{j + 1}"] = [float(v) for v in row]
    return state


FILTER = Filter(
    "multiscale_median",
    1,
    "linear",
    multiscale_median,
    measure=measure_noise_of_scales,
    needs=frozenset({"mask", "noise"}),
    settings_of_measure=frozenset({"amounts"}),
)
