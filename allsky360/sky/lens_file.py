"""The lens file: a solved lens as JSON that people can read and programs can trust."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from allsky360.errors import AllskyError
from allsky360.model import Site
from allsky360.sky.lens import LensError, LensModel

KIND = "allsky360 lens"
FORMAT = 1


class LensFileError(AllskyError):
    """A lens file that cannot be written, read, or believed."""


@dataclass(frozen=True)
class LensFile:
    """What a lens file says.

    Attributes
    ----------
    lens
        The model.
    camera
        Whose lens it is.
    serial
        Counts a camera's lens files: 1, 2, …
    solved
        When it was solved, UTC.
    site
        Where.
    frames
        Mid-exposures of the frames used, UTC.
    sigma
        Standard deviation of each fitted parameter.
    quality
        Residuals of held-out stars, by altitude, and the odds against chance.
    software
        Who solved it.
    warnings
        Of the solver.
    """

    lens: LensModel
    camera: str
    serial: int
    solved: datetime
    site: Site
    frames: tuple[datetime, ...]
    sigma: Mapping[str, float] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)
    software: str = ""
    warnings: tuple[str, ...] = ()


def write_lens(path: Path, content: LensFile) -> Path:
    """Write a lens file; it appears whole and on disk, or not at all.

    Raises
    ------
    LensFileError
        Naming the file and the reason.
    """
    record = {
        "kind": KIND,
        "format": FORMAT,
        "camera": content.camera,
        "serial": content.serial,
        "solved": content.solved.isoformat(),
        "software": content.software,
        "site": {
            "name": content.site.name,
            "latitude_deg": content.site.latitude_deg,
            "longitude_deg": content.site.longitude_deg,
            "elevation_m": content.site.elevation_m,
        },
        "frames": [when.isoformat() for when in content.frames],
        "lens": content.lens.as_dict(),
        "sigma": dict(content.sigma),
        "quality": dict(content.quality),
        "warnings": list(content.warnings),
    }
    try:
        text = json.dumps(_plain(record), indent=2, allow_nan=False) + "\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except (OSError, TypeError, ValueError) as error:
        raise LensFileError(
            f"cannot write the lens file {path}: {error}.", mend="Mend the folder, or choose one."
        ) from error
    return path


def read_lens(path: Path) -> LensFile:
    """Read a lens file.

    Raises
    ------
    LensFileError
        Naming the file, the value and the mend.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LensFileError(
            f"cannot read the lens file {path}: {error}.", mend="Solve the lens again."
        ) from error
    if not isinstance(record, dict) or record.get("kind") != KIND:
        raise LensFileError(f"{path} is not a lens file.", mend=f'Its "kind" must be "{KIND}".')
    if record.get("format") != FORMAT:
        raise LensFileError(
            f"{path} has lens file format {record.get('format')!r}; this version reads {FORMAT}.",
            mend="Update allsky360, or solve the lens again.",
        )
    try:
        return _content(record)
    except LensError as error:
        raise LensFileError(
            f"{path} describes no lens: {error}", mend="Solve the lens again."
        ) from error
    except KeyError as error:
        raise LensFileError(f"{path} lacks {error}.", mend="Solve the lens again.") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise LensFileError(
            f"{path} holds a wrong value: {error}.", mend="Solve the lens again."
        ) from error


def _content(record: dict[str, Any]) -> LensFile:
    where = _mapping(record["site"], "site")
    site = Site(
        str(where["name"]),
        _number(where["latitude_deg"], "site.latitude_deg", 90.0),
        _number(where["longitude_deg"], "site.longitude_deg", 180.0),
        _number(where["elevation_m"], "site.elevation_m"),
    )
    return LensFile(
        lens=_lens(_mapping(record["lens"], "lens")),
        camera=str(record["camera"]),
        serial=_whole(record["serial"], "serial", 1),
        solved=_time(record["solved"], "solved"),
        site=site,
        frames=tuple(_time(when, "frames") for when in record["frames"]),
        sigma={
            str(k): _number(v, f"sigma.{k}") for k, v in _mapping(record["sigma"], "sigma").items()
        },
        quality=_mapping(record["quality"], "quality"),
        software=str(record["software"]),
        warnings=tuple(str(w) for w in record["warnings"]),
    )


def _lens(values: Mapping[str, Any]) -> LensModel:
    known = LensModel.__dataclass_fields__
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"lens.{unknown[0]} is unknown")
    checked: dict[str, Any] = {}
    for name in known:
        value = values[name]
        if name == "projection":
            checked[name] = str(value)
        elif name in ("width", "height"):
            checked[name] = _whole(value, f"lens.{name}", 1)
        elif name == "parity":
            checked[name] = _whole(value, "lens.parity", -1)
        else:
            checked[name] = _number(value, f"lens.{name}")
    return LensModel(**checked)


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not an object")
    return value


def _number(value: Any, name: str, most: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r}, not a number")
    if not math.isfinite(value) or abs(value) > most:
        raise ValueError(f"{name} is {value!r}")
    return float(value)


def _whole(value: Any, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is {value!r}")
    return value


def _time(value: Any, name: str) -> datetime:
    when = datetime.fromisoformat(str(value))
    if when.tzinfo is None:
        raise ValueError(f"{name} has a time without a zone, {value!r}")
    return when.astimezone(UTC)


def _plain(value: Any) -> Any:
    """Return JSON values; what is not a number becomes null."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
