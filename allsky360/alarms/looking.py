"""One look at the system: owner, parts, disk, newest frame."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from allsky360.alarms.troubles import Look
from allsky360.archive import Archive, FrameRecord
from allsky360.archive.retention import is_short
from allsky360.config import Settings, clock_from
from allsky360.errors import AllskyError
from allsky360.offsite.state import read_state
from allsky360.supervisor.parts import owner_status_url, parts_of
from allsky360.supervisor.probe import ailments

ANSWER_S = 5.0


def look_at(settings: Settings, archive: Archive) -> tuple[str, Look]:
    """Return the camera with the newest frame, and what is seen. Blocks for some seconds at most.

    Parameters
    ----------
    settings
        The whole tree.
    archive
        Kept from look to look, for its cache.
    """
    now = clock_from(settings).now()
    owner = _owner(settings)
    raw = _latest(archive, processed=False)
    done = _latest(archive, processed=True)
    camera = raw.ref.camera if raw is not None else "camera"
    temperature = raw.scalars.get("temperature_c") if raw is not None else None
    return camera, Look(
        now=now,
        newest=raw.time if raw is not None else None,
        owner=owner,
        silent=_silent(settings),
        free_bytes=_free(settings),
        min_free_bytes=settings.storage.min_free_gb * 1e9,
        backlog=_backlog(archive, raw),
        temperature_c=temperature,
        measured=dict(done.scalars) if done is not None else {},
        safety=_safety(settings, camera, now),
        offsite=offsite_words(settings, datetime.now(UTC)),
        offsite_holds_bytes=_offsite_holds(settings),
        short=_short(settings),
    )


def _silent(settings: Settings) -> tuple[str, ...]:
    """Name the parts that do not answer."""
    parts = parts_of(settings)
    found = ailments([p.probe for p in parts])
    return tuple(p.name for p, what in zip(parts, found, strict=True) if what)


def _owner(settings: Settings) -> dict[str, Any] | None:
    try:
        content = httpx.get(owner_status_url(settings), timeout=ANSWER_S, trust_env=False).json()
    except (OSError, httpx.HTTPError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _latest(archive: Archive, *, processed: bool) -> FrameRecord | None:
    try:
        return archive.latest(processed=processed)
    except (AllskyError, OSError):
        return None  # the disk is told of by its own trouble


def _free(settings: Settings) -> float | None:
    try:
        return float(shutil.disk_usage(settings.storage.root).free)
    except OSError:
        return None


def _backlog(archive: Archive, newest: FrameRecord | None) -> int:
    if newest is None:
        return 0
    try:
        return len(archive.unprocessed(newest.ref.camera, newest.ref.night))
    except (AllskyError, OSError):
        return 0


def offsite_words(settings: Settings, now: datetime) -> str:
    """Say what is wrong with the off-site copy; empty where all is well, or there is none."""
    place = settings.offsite
    if not place.url:
        return ""
    state = read_state(settings.storage.root)
    if state is None or state.url != place.url:
        return ""  # it has not begun: the first try notes what it found
    whole = state.whole_at
    if whole is not None and now - whole <= timedelta(hours=place.alarm_after_h):
        return ""
    if whole is None and not state.problem:
        return ""
    since = f"not whole since {whole:%Y-%m-%d %H:%M} UTC" if whole else "never been whole"
    why = f": {state.problem}" if state.problem else ": it does not run"
    return f"The off-site copy is {since}{why}" if whole else f"The off-site copy has {since}{why}"


def _offsite_holds(settings: Settings) -> float:
    """Return the bytes that waited for the off-site copy when it was tried last."""
    state = read_state(settings.storage.root) if settings.offsite.url else None
    return float(state.waiting_bytes) if state is not None else 0.0


def _short(settings: Settings) -> bool:
    floor = settings.storage.min_free_gb * 1e9
    try:
        return is_short(settings.storage.root, settings.retention, floor)
    except OSError:
        return False


def _safety(settings: Settings, camera: str, now: datetime) -> tuple[str, str]:
    from allsky360.processing.chain import safety_rules
    from allsky360.safety import current_safety

    try:
        found = current_safety(
            settings.storage.root, now.astimezone(UTC), camera, safety_rules(settings)
        )
    except (AllskyError, OSError) as error:
        return "unknown", str(error)
    return found.verdict, found.reason
