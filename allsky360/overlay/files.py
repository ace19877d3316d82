"""Overlay files: the lens read from, the picture written to."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allsky360.overlay.draw import burn_in, to_png
from allsky360.overlay.options import OverlayError
from allsky360.overlay.scene import OverlayScene
from allsky360.overlay.svg import to_svg
from allsky360.sky import lens_file
from allsky360.sky.lens import LensModel

_JPEG = (".jpg", ".jpeg")


def read_lens(path: Path) -> LensModel:
    """Read a lens model: from a lens file, or from bare JSON of its fields.

    Bare fields, for those who know their lens without solving it, stand at the top or in a table
    ``lens``.

    Raises
    ------
    OverlayError, LensFileError
        Naming file and reason.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and data.get("kind") == lens_file.KIND:
            return lens_file.read_lens(path).lens
        fields = data.get("lens", data)
        return LensModel(**{k: fields[k] for k in LensModel.__dataclass_fields__ if k in fields})
    except OSError as error:
        raise OverlayError(
            f"cannot read the lens file {path}: {error.strerror}.",
            mend="'allsky360 sky solve --out' writes one.",
        ) from error
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise OverlayError(
            f"{path} is no lens file: {error}.", mend="'allsky360 sky solve --out' writes one."
        ) from error


def write_overlay(path: Path, scene: OverlayScene, picture: NDArray[Any] | None) -> None:
    """Write a scene as ``.svg`` or ``.png``, or burnt into ``picture`` as ``.png`` or ``.jpg``.

    The file appears whole or not at all.

    Raises
    ------
    OverlayError
        For another ending, a picture of another depth, or a disk that refuses.
    """
    kind = path.suffix.lower()
    if kind == ".svg":
        data = to_svg(scene).encode()
    elif kind == ".png" and picture is None:
        data = to_png(scene)
    elif kind in (".png", *_JPEG) and picture is not None:
        data = _encoded(burn_in(_rgb(picture), scene), kind)
    else:
        raise OverlayError(
            f"cannot write {path.name}{' without the picture' if picture is None else ''}.",
            mend="Take .svg, .png, or with the picture .jpg.",
        )
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        raise OverlayError(
            f"cannot write {path}: {error.strerror}.", mend="Name a file where you may write."
        ) from error


def _rgb(picture: NDArray[Any]) -> NDArray[np.uint8]:
    if picture.dtype != np.uint8:
        raise OverlayError(
            f"the picture holds {picture.dtype}, not 8-bit values.",
            mend="Develop it first: allsky360 process.",
        )
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture


def _encoded(picture: NDArray[np.uint8], kind: str) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(picture)
    if kind in _JPEG:
        image.save(out, "JPEG", quality=92)
    else:
        image.save(out, "PNG", compress_level=3)
    return out.getvalue()
