"""Telling a fault of the GPU from any other error, without CuPy at hand.

Errors are known by the module of their class (``cupy``, ``cupy_backends``, ``rmm``) and, for RMM's
``MemoryError``, by their words. An error of the CUDA runtime that leaves the context unusable
(CUDA Runtime API, "Error handling": every later call returns it again) ends the use of the GPU in
this process. Tested with errors of the same names; not proven on a GPU.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["gpu-out-of-memory", "gpu-error", "gpu-context-lost"]

_OURS = ("cupy", "cupy_backends", "cupyx", "rmm", "cucim")
_MEMORY = re.compile(r"out.?of.?memory|bad_alloc|cudaErrorMemoryAllocation", re.I)
_STICKY = re.compile(
    r"IllegalAddress|LaunchFailure|LaunchTimeout|HardwareStackError|IllegalInstruction"
    r"|MisalignedAddress|InvalidAddressSpace|InvalidPc|Assert\b|ECCUncorrectable|NvlinkUncorrectable"
    r"|ContextIsDestroyed|DevicesUnavailable|NoDevice|InsufficientDriver|SystemNotReady"
    r"|InitializationError|cudaErrorUnknown|(?:ILLEGAL|MISALIGNED)_ADDRESS|LAUNCH_FAILED"
    r"|DEINITIALIZED|NOT_INITIALIZED|NO_DEVICE|libcuda",
)

_lost = ""


@dataclass(frozen=True)
class GpuFault:
    """A fault of the GPU: what kind, and the error's own words."""

    kind: Kind
    words: str


def gpu_fault(error: BaseException) -> GpuFault | None:
    """Return the GPU's fault that an error is, or was raised because of; None for any other."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        kind = _kind(at)
        if kind is not None:
            text = " ".join(str(at).split())[:200]
            return GpuFault(kind, f"{type(at).__name__}: {text}")
        at = at.__cause__ or at.__context__
    return None


def _kind(error: BaseException) -> Kind | None:
    room = type(error).__module__.partition(".")[0]
    words = f"{type(error).__name__} {error}"
    if isinstance(error, MemoryError) and (room in _OURS or re.search("CUDA|rmm", words)):
        return "gpu-out-of-memory"
    if room not in _OURS and not (isinstance(error, ImportError | OSError) and "libcu" in words):
        return None
    if _MEMORY.search(words):
        return "gpu-out-of-memory"
    return "gpu-context-lost" if _STICKY.search(words) else "gpu-error"


def note_lost(words: str) -> None:
    """Remember that this process can use the GPU no longer."""
    global _lost
    _lost = words


def lost() -> str:
    """Return why this process can use the GPU no longer; empty where it can, or never could."""
    return _lost
