"""Writing the files of products: pictures with a small preview, each there whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allsky360 import __version__
from allsky360.archive.durable import write_atomic
from allsky360.archive.products import FileRole, ProductFile
from allsky360.errors import AllskyError

PREVIEW_WIDTH = 960


def write_jpeg(
    folder: Path,
    name: str,
    picture: NDArray[np.uint8],
    *,
    quality: int = 92,
    role: FileRole = "main",
    xmp: bytes | None = None,
    description: str = "",
) -> ProductFile:
    """Write ``(H, W, 3)`` uint8 sRGB as a JPEG, with XMP where given."""
    tags = Image.Exif()
    tags[0x0131] = f"allsky360 {__version__}"  # Software
    if description:
        tags[0x010E] = description.encode("ascii", "replace").decode()
    out = io.BytesIO()
    more: dict[str, Any] = {"xmp": xmp} if xmp is not None else {}
    Image.fromarray(picture).save(
        out, "JPEG", quality=quality, subsampling="4:2:0", exif=tags, **more
    )
    write_atomic(folder / name, out.getvalue(), sync=False)
    height, width = picture.shape[:2]
    return ProductFile(name, role, "image/jpeg", width=width, height=height)


def write_png(
    folder: Path, name: str, picture: NDArray[np.uint8], *, role: FileRole = "main"
) -> ProductFile:
    """Write ``(H, W, 3)`` or ``(H, W)`` uint8 as a PNG."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", compress_level=3)
    write_atomic(folder / name, out.getvalue(), sync=False)
    height, width = picture.shape[:2]
    return ProductFile(name, role, "image/png", width=width, height=height)


def write_png16(
    folder: Path, name: str, light: NDArray[np.float32], full_scale: float
) -> ProductFile:
    """Write ``(H, W, 3)`` light as a 16-bit PNG, linear; ``full_scale`` becomes 65535."""
    height, width = light.shape[:2]
    codes = np.empty(light.shape, np.uint16)
    for row in range(0, height, 64):  # in pieces: a night's products share the memory
        part = slice(row, row + 64)
        codes[part] = np.clip(light[part][..., ::-1] * (65535.0 / full_scale) + 0.5, 0, 65535)
    done, data = cv2.imencode(".png", codes, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise AllskyError(f"{name} cannot be encoded.")
    write_atomic(folder / name, data.tobytes(), sync=False)
    return ProductFile(name, "data", "image/png", width=width, height=height)


def write_preview(folder: Path, name: str, picture: NDArray[np.uint8]) -> ProductFile:
    """Write a small JPEG of a picture."""
    height, width = picture.shape[:2]
    if width > PREVIEW_WIDTH:
        size = (PREVIEW_WIDTH, max(1, round(height * PREVIEW_WIDTH / width)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return write_jpeg(folder, name, picture, quality=85, role="preview")


def write_arrays(folder: Path, name: str, **arrays: NDArray[Any]) -> ProductFile:
    """Write arrays as an ``.npz``."""
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    write_atomic(folder / name, out.getvalue(), sync=False)
    return ProductFile(name, "data", "application/x-npz")
