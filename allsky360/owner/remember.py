"""The exposure control's memory on disk, so that a restart begins converged."""

from __future__ import annotations

import json
import logging
import math
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from allsky360.camera.black import BlackLevel
from allsky360.camera.circle import Circle
from allsky360.camera.control import Memory

log = logging.getLogger(__name__)

#: A memory older than this says where to begin, but no longer that the exposure is settled.
FRESH = timedelta(minutes=15)


@dataclass(frozen=True)
class Remembered:
    """What a restart begins with."""

    when: datetime
    camera: str
    memory: Memory
    circle: Circle | None


def save(path: Path, what: Remembered) -> None:
    """Write atomically: a reader sees the old file or the new one, never half."""
    m = what.memory
    body = {
        "when": what.when.isoformat(),
        "camera": what.camera,
        "sky": m.sky,
        "settled": m.settled,
        "sun_altitude_deg": m.sun_altitude_deg,
        "total": m.total,
        "black": m.black.value,
        "black_sigma": m.black.sigma,
        "circle": None if what.circle is None else [*_circle(what.circle)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(body, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path, camera: str, now: datetime, black_known: bool) -> Remembered | None:
    """Read what was remembered of this camera; None when there is nothing usable."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body["camera"] != camera:
            return None
        when = datetime.fromisoformat(body["when"])
        sky, total = _number(body["sky"]), _number(body["total"])
        altitude = _number(body["sun_altitude_deg"])
        black = BlackLevel.start(black_known)
        if not black_known:
            black = BlackLevel(_number(body["black"]), max(1e-5, _number(body["black_sigma"])))
        fresh = bool(body["settled"]) and abs(now - when) < FRESH
        memory = Memory(sky, fresh, sun_altitude_deg=altitude, total=total, black=black)
        circle = None if body["circle"] is None else Circle(*map(_number, body["circle"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is not readable (%s); exposure control starts afresh", path, error)
        return None
    return Remembered(when, camera, memory, circle)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a finite number")
    return number


def _circle(circle: Circle) -> tuple[float, float, float]:
    return circle.x, circle.y, circle.radius
