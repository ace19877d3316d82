"""The machine: Python and packages, memory, clock, GPU."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
import sys
from collections.abc import Iterator
from importlib import metadata

from allsky360 import __version__
from allsky360.arrays import cuda_available
from allsky360.config import Settings
from allsky360.doctor.finding import Finding

#: package, first version that is known not to work, what it does then (docs/architecture.md, Pins)
TOO_NEW = (
    ("fastapi", (0, 151), "Prefect's server does not start"),
    ("sqlalchemy", (2, 1), "Prefect's server starts and never schedules a run"),
)
PACKAGES = ("numpy", "zarr", "xarray", "prefect", "fastapi", "sqlalchemy", "dask", "distributed")
LEAST_MEMORY_GB = 3.0
_TIME_ERROR = 5  # adjtimex: the clock is not synchronised
_MUCH_DRIFT_S = 0.5


def machine(settings: Settings) -> Iterator[Finding]:
    """Look at what the system stands on."""
    yield _versions()
    yield from _packages()
    yield _memory(settings)
    yield _clock(settings)
    yield _gpu(settings)


def _versions() -> Finding:
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    says = f"allsky360 {__version__}, Python {platform.python_version()}, {platform.platform()}"
    mend = "" if supported else "Use Python 3.11 to 3.13."
    return Finding("machine", "versions", "good" if supported else "doubt", says, mend)


def _packages() -> Iterator[Finding]:
    for name, first_bad, what in TOO_NEW:
        version = metadata.version(name)
        if _numbers(version) >= first_bad:
            limit = ".".join(map(str, first_bad))
            yield Finding(
                "machine",
                name,
                "bad",
                f"{name} {version} is too new: {what}",
                f"Install the locked packages again (make setup), or '{name}<{limit}'.",
            )
    found = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    yield Finding("machine", "packages", "good", found)


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(p) if p.isdigit() else 0 for p in parts)


def _memory(settings: Settings) -> Finding:
    import psutil

    total = psutil.virtual_memory().total / 1e9
    available = psutil.virtual_memory().available / 1e9
    says = f"{available:.1f} of {total:.1f} GB of memory are available"
    if available < LEAST_MEMORY_GB / 3:
        return Finding("machine", "memory", "bad", says, "End what uses it, or add memory.")
    if total < LEAST_MEMORY_GB:
        mend = f"Keep dask.workers = 1 (it is {settings.dask.workers})."
        return Finding("machine", "memory", "doubt", says, mend)
    return Finding("machine", "memory", "good", says)


class _Timex(ctypes.Structure):
    """What adjtimex(2) needs, with room for what we do not read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_long * 40),
    )


def _clock(settings: Settings) -> Finding:
    """Ask the kernel whether something keeps the clock right: stars move 15 arcsec a second."""
    if settings.clock.start is not None:
        return Finding("machine", "clock", "doubt", "a rehearsal clock is set", "Remove [clock].")
    mend = "Switch on time synchronisation: sudo timedatectl set-ntp true"
    try:
        libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
        state = _Timex()
        answer = int(libc.adjtimex(ctypes.byref(state)))
    except (OSError, AttributeError, TypeError) as error:
        return Finding("machine", "clock", "none", f"the kernel cannot be asked: {error}")
    if answer < 0:
        return Finding("machine", "clock", "none", "the kernel does not tell about its clock")
    error_s = state.maxerror / 1e6
    if answer == _TIME_ERROR:
        return Finding("machine", "clock", "doubt", "nothing keeps the clock right", mend)
    says = f"synchronised, off by at most {error_s:.3f} s"
    if error_s > _MUCH_DRIFT_S:
        return Finding("machine", "clock", "doubt", says, mend)
    return Finding("machine", "clock", "good", says)


def _gpu(settings: Settings) -> Finding:
    if settings.dask.gpu == "never":
        return Finding("machine", "GPU", "none", "switched off by dask.gpu")
    if cuda_available():
        return Finding("machine", "GPU", "good", "CuPy finds a CUDA device")
    try:
        metadata.version("cupy-cuda12x")
    except metadata.PackageNotFoundError:
        try:
            metadata.version("cupy-cuda13x")
        except metadata.PackageNotFoundError:
            return Finding("machine", "GPU", "none", "CuPy is not installed: the CPU does the work")
    return Finding(
        "machine",
        "GPU",
        "bad",
        "CuPy is installed and finds no CUDA device: the CPU does the work",
        "Check the driver with nvidia-smi, and that CuPy's CUDA version fits it (INSTALL.md).",
    )
