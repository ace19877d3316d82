"""The array layer: one name for each primitive, whatever library holds the pixels.

Filters do arithmetic with the array-API namespace of their input (:func:`namespace`) and call the
primitives below for everything that would be slow written that way. Each primitive has

* a CPU body for NumPy arrays (OpenCV, or a numba loop where fusing saves passes),
* a generic body in pure array-API code. It runs on any conforming library, is what CuPy gets where
  nothing faster exists, and is what the tests run on array-api-strict's second device, where a
  hidden copy to the host raises.
* for the few where it pays, a CuPy body (``cuda.py``): cupyx.scipy.ndimage or a raw kernel.

The CuPy bodies have not run on a GPU yet; see ``cuda.py`` for how they were checked without one.

Conventions: images are ``(H, W)`` or ``(H, W, C)`` float32; borders are mirrored about the edge
pixel (``... 2 1 | 0 1 2 ...``), which keeps the phase of a Bayer mosaic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import generic, gpu_faults

Array = Any
"""An array of NumPy, CuPy or any other array-API library."""

Backend = Literal["numpy", "cupy"]


def namespace(*arrays: Array) -> Any:
    """Return the array-API namespace of the arrays."""
    return array_api_compat.array_namespace(*arrays)


def cuda_available() -> bool:
    """Whether CuPy is installed and sees a CUDA device that still works here. Never raises."""
    if gpu_faults.lost():
        return False
    try:
        import cupy
    except ImportError:
        return False
    try:
        return bool(cupy.cuda.is_available())
    except Exception:  # noqa: BLE001 - a broken driver may raise anything; it means "no"
        return False


def best_backend() -> Backend:
    """Return "cupy" where a CUDA device is visible, else "numpy"."""
    return "cupy" if cuda_available() else "numpy"


def to_device(array: NDArray[Any], backend: Backend) -> Array:
    """Bring a host array to the backend's device, contiguous and in the machine's byte order."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if backend == "numpy":
        return np.ascontiguousarray(array)
    import cupy

    return cupy.asarray(np.ascontiguousarray(array))


def to_host(array: Array) -> NDArray[Any]:
    """Bring an array to the host as NumPy: the one place where a download happens."""
    if isinstance(array, np.ndarray):
        return array
    if array_api_compat.is_cupy_array(array):
        return np.asarray(array.get())
    cpu = array_api_compat.to_device(array, "cpu") if _is_jax_or_torch(array) else _strict(array)
    return np.asarray(cpu)


def _is_jax_or_torch(array: Array) -> bool:
    return bool(array_api_compat.is_torch_array(array) or array_api_compat.is_jax_array(array))


def _strict(array: Array) -> Array:
    """Move an array-api-strict array to its CPU device, from where NumPy may read it."""
    xp = namespace(array)
    return array.to_device(xp.Device("CPU_DEVICE"))


def _body(array: Array, name: str) -> Any:
    """Return the body of a primitive for the library that holds ``array``."""
    if isinstance(array, np.ndarray):
        from allsky360.arrays import cpu

        return getattr(cpu, name)
    if array_api_compat.is_cupy_array(array):
        from allsky360.arrays import cuda

        return getattr(cuda, name, None) or getattr(generic, name)
    return getattr(generic, name)


def convolve_separable(image: Array, kernel: Sequence[float]) -> Array:
    """Convolve rows and columns with one odd, symmetric kernel.

    Parameters
    ----------
    image
        ``(H, W)`` or ``(H, W, C)`` float32.
    kernel
        Odd number of taps; not normalised here.
    """
    if len(kernel) % 2 != 1:
        raise ValueError(f"the kernel must have an odd number of taps, got {len(kernel)}")
    return _body(image, "convolve_separable")(image, [float(k) for k in kernel])


def gaussian(image: Array, sigma_px: float) -> Array:
    """Gaussian blur, truncated at 4 sigma."""
    if sigma_px <= 0:
        return image
    return convolve_separable(image, gaussian_taps(sigma_px))


def gaussian_taps(sigma_px: float) -> list[float]:
    """Taps of a normalised Gaussian out to 4 sigma."""
    radius = max(1, int(4.0 * sigma_px + 0.5))
    x = np.arange(-radius, radius + 1, dtype=np.float64)
    taps = np.exp(-0.5 * (x / sigma_px) ** 2)
    return [float(t) for t in taps / taps.sum()]


def box_mean(image: Array, radius_px: int) -> Array:
    """Mean over a ``(2 radius + 1)`` square."""
    if radius_px <= 0:
        return image
    return _body(image, "box_mean")(image, radius_px)


def median3(image: Array, *, step: int = 1) -> Array:
    """Median of each pixel and its eight neighbours ``step`` pixels away.

    ``step=2`` takes like-coloured neighbours on a Bayer mosaic.
    """
    return _body(image, "median3")(image, step)


def maximum3(image: Array) -> Array:
    """Maximum over the 3x3 neighbourhood."""
    return _body(image, "maximum3")(image)


def block_mean(image: Array, size: int) -> Array:
    """Mean over ``size`` x ``size`` blocks (area binning); rows and columns left over are dropped.

    On a Bayer mosaic use an even size.
    """
    if size <= 1:
        return image
    h, w = image.shape[:2]
    if h < size or w < size:
        raise ValueError(f"blocks of {size} do not fit into an image of {w}x{h}")
    return _body(image, "block_mean")(image, size)


def remap(image: Array, x: Array, y: Array) -> Array:
    """Sample an image at floating positions (bilinear); outside it is 0.

    Parameters
    ----------
    image
        ``(H, W)`` or ``(H, W, C)`` float32.
    x, y
        ``(h, w)`` float32 column and row of each output pixel; pixel centres are whole numbers.
    """
    return _body(image, "remap")(image, x, y)


def pyramid_down(image: Array) -> Array:
    """Blur with the 5-tap binomial kernel and drop every other row and column."""
    return _body(image, "pyramid_down")(image)


def pyramid_up(image: Array, shape: tuple[int, int]) -> Array:
    """Double an image to ``shape`` (which pyramid_down would halve to it)."""
    h, w = image.shape[:2]
    if ((shape[0] + 1) // 2, (shape[1] + 1) // 2) != (h, w):
        raise ValueError(f"an image of {w}x{h} does not double to {shape[1]}x{shape[0]}")
    return _body(image, "pyramid_up")(image, shape)


def demosaic(
    mosaic: Array,
    pattern: str,
    *,
    method: str,
    noise: float = 0.0,
    clip: float = float("inf"),
    balance: Sequence[float] = (1.0, 1.0, 1.0),
) -> Array:
    """Interpolate a Bayer mosaic to RGB; see :mod:`allsky360.imaging.debayer`.

    Parameters
    ----------
    mosaic
        ``(H, W)`` float32.
    pattern
        Colours of the top-left 2x2 cell, row by row.
    method
        "edge-aware" or "bilinear".
    noise
        Standard deviation of the background in the mosaic's unit; gradients below it do not steer.
    clip
        Level from which a sample counts as saturated.
    balance
        Gains of red, green and blue while interpolating; they are taken out again.
    """
    ry, rx = divmod(pattern.index("R"), 2)
    return _body(mosaic, "demosaic")(
        mosaic, ry, rx, method, float(noise), float(clip), [float(g) for g in balance]
    )


def repair_isolated(
    mosaic: Array, *, sigmas: float, read_var: float, shot: float, in_place: bool = False
) -> tuple[Array, Array]:
    """Replace isolated outliers; see :mod:`allsky360.imaging.hot_pixels`.

    Parameters
    ----------
    mosaic
        ``(H, W)`` float32, background-free ADU.
    sigmas
        How far, in noise sigmas, a pixel must stand out.
    read_var, shot
        The noise variance is ``read_var + shot * max(value, 0)``.
    in_place
        The mosaic may be written to, which saves a copy; what is returned may be the mosaic.

    Returns
    -------
    repaired, count
        ``(H, W)`` float32, and the number of repaired pixels as a 0-d array or int.
    """
    repaired: tuple[Array, Array] = _body(mosaic, "repair_isolated")(
        mosaic, float(sigmas), float(read_var), float(shot), in_place
    )
    return repaired


def block_differences(
    values: Sequence[Array], ratios: Sequence[float], *, full: Sequence[float], size: int
) -> tuple[Array, Array, Array]:
    """Compare each exposure of a bracket with the longer ones; see :mod:`allsky360.imaging.motion`.

    Parameters
    ----------
    values
        K exposures in ADU above black, float32, ``(H, W)`` or ``(H, W, C)``, longest first.
    ratios
        Exposure time over the reference exposure time.
    full
        Full well of each exposure, ADU above black.
    size
        Side of a block, pixels.

    Returns
    -------
    difference, signal, change
        ``(K - 1, ceil(H / size), ceil(W / size))`` float32, sums over each block, ADU of the
        reference exposure: how much more light exposure ``k + 1`` saw than the longest exposure
        that is not near saturation there; that exposure's light; and how much that light changes
        to the next sample of the same colour in the row. Where all longer exposures are near
        saturation, only what lies clearly under that counts as a difference.
    """
    sums: tuple[Array, Array, Array] = _body(values[0], "block_differences")(
        list(values), [float(r) for r in ratios], [float(f) for f in full], int(size)
    )
    return sums


def merge_weighted(
    values: Sequence[Array],
    ratios: Sequence[float],
    *,
    full: Sequence[float],
    read_var: float,
    shot: float,
    knee: tuple[float, float],
    keep: Array | None = None,
    size: int = 8,
    scale: float = 1.0,
) -> tuple[Array, Array]:
    """Merge exposures into one radiance; see :mod:`allsky360.imaging.hdr`.

    Parameters
    ----------
    values
        Each exposure in ADU above black, float32, one shape, ``(H, W)`` or ``(H, W, C)``.
    ratios
        Exposure time over the reference exposure time.
    full
        Full well of each exposure, ADU above black.
    read_var, shot
        Noise variance in ADU squared: ``read_var + shot * signal``.
    knee
        Fractions of full well between which the weight of an exposure falls from 1 to 0, judged
        by the brightest of the 3x3 neighbourhood, or of the colours of a pixel.
    keep
        ``(K, h, w)`` float32, 0 to 1, one value for each exposure and block of ``size`` pixels: a
        factor on the weight, interpolated between the centres of the blocks; the exposures are
        then in order, longest first. None: all 1. Where all longer exposures saturate, an exposure
        that shows as much light as they do keeps its weight all the same.
    size
        See above.
    scale
        Factor on the result.

    Returns
    -------
    radiance, clipped
        ADU of the reference exposure times ``scale``, float32; and uint8, 255 where every exposure
        that is kept is saturated.
    """
    merged: tuple[Array, Array] = _body(values[0], "merge_weighted")(
        list(values),
        [float(r) for r in ratios],
        [float(f) for f in full],
        float(read_var),
        float(shot),
        (float(knee[0]), float(knee[1])),
        keep,
        int(size),
        float(scale),
    )
    return merged


__all__ = [
    "Array",
    "Backend",
    "best_backend",
    "block_differences",
    "block_mean",
    "box_mean",
    "convolve_separable",
    "cuda_available",
    "demosaic",
    "gaussian",
    "gaussian_taps",
    "maximum3",
    "median3",
    "merge_weighted",
    "namespace",
    "pyramid_down",
    "pyramid_up",
    "remap",
    "repair_isolated",
    "to_device",
    "to_host",
]
