"""From a frame to the bytes behind the URL, spoilt where a fault knob says so."""

from __future__ import annotations

import random
import struct

from allsky360.simulator.blobs import Blob
from allsky360.simulator.faults import FaultBoard
from allsky360.simulator.images import FitsFacts, encode_fits, encode_raw, to_depth
from allsky360.simulator.source import SimulatedFrame


def encode(
    frame: SimulatedFrame, wanted: str, bits: int, facts: FitsFacts, faults: FaultBoard
) -> Blob:
    """Write a frame in the wanted format.

    Parameters
    ----------
    frame
        Pixels and pattern.
    wanted
        ``RAW`` or ``FITS``.
    bits
        8 or 16.
    facts
        Values of the FITS header.
    faults
        The knobs that spoil images.
    """
    pixels = to_depth(frame.pixels, bits)
    swapped = faults.take("mislabelled-format") is not None
    if (wanted == "RAW") != swapped:
        data = encode_raw(pixels, frame.pattern)
    else:
        data = encode_fits(pixels, frame.pattern, facts)
    return Blob(_spoilt(data, pixels.shape[1], faults), f".{wanted.lower()}")


def _spoilt(data: bytes, width: int, faults: FaultBoard) -> bytes:
    wider = faults.number("mislabelled-header")
    if wider is not None:
        data = _claim_width(data, width, width + int(wider))
    keep = faults.number("truncated-image")
    if keep is not None:
        data = data[: int(len(data) * keep)]
    junk = faults.number("oversized-image")
    if junk is not None:
        data += b"\xa5" * int(junk)
    if faults.take("garbage-image") is not None:
        data = random.Random(len(data)).randbytes(len(data))
    return data


def _claim_width(data: bytes, width: int, claimed: int) -> bytes:
    """Change the width an image header gives, leaving the pixels."""
    if data.startswith(b"RAW"):
        return data[:4] + struct.pack("<I", claimed) + data[8:]
    old, new = (f"NAXIS1  = {w:>20}".encode() for w in (width, claimed))
    return data.replace(old, new, 1)
