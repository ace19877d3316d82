"""Whether it is safe to observe, for scripts: safe, unsafe or unknown, with age and reason.

Only clouds are judged: rain, wind and humidity need other sensors. Bad news counts at once, good
news only after it has lasted, and no news is "unknown": stale, half of the sky not to be told, or
no knowledge of what clear air looks like. A script must treat "unknown" as it treats "unsafe".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from allsky360.model import as_utc

if TYPE_CHECKING:  # the read service judges nothing, and does without what measuring needs
    from allsky360.sky.clouds import CloudMap

Verdict = Literal["safe", "unsafe", "unknown"]


@dataclass(frozen=True)
class SafetyRules:
    """When a sky is safe.

    Attributes
    ----------
    unsafe_above, safe_below
        Cloudy share of the sky above which it becomes unsafe, and below which it may become safe
        again; between them the last verdict stays.
    max_unknown
        Share of the sky that may remain untold.
    safe_after
        Clear frames in a row before "safe".
    max_age_s
        Age from which the last frame says nothing.
    max_gap_s
        A longer gap between frames begins the count of clear frames anew.
    need_memory
        Only trust frames that were compared with a remembered clear sky (or, by day, with the
        colour of one): uniform cloud can pass for clear air in a frame judged by itself.
    """

    unsafe_above: float = 0.4
    safe_below: float = 0.25
    max_unknown: float = 0.5
    safe_after: int = 3
    max_age_s: float = 300.0
    max_gap_s: float = 600.0
    need_memory: bool = True

    def __post_init__(self) -> None:
        """Refuse rules that could flip-flop or never answer."""
        if not 0.0 <= self.safe_below <= self.unsafe_above <= 1.0:
            raise ValueError("need 0 <= safe_below <= unsafe_above <= 1")
        if self.safe_after < 1 or self.max_age_s <= 0 or not 0.0 <= self.max_unknown < 1.0:
            raise ValueError("need safe_after >= 1, max_age_s > 0 and 0 <= max_unknown < 1")


@dataclass(frozen=True)
class SafetyState:
    """What the frames so far add up to; plain values, to be kept between frames.

    ``clear_frames`` counts the clear frames in a row up to ``frame_time``.
    """

    verdict: Verdict = "unknown"
    reason: str = "no frame has been judged yet"
    frame_time: datetime | None = None
    clear_frames: int = 0
    cloudy: float = float("nan")
    unknown: float = float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        time = self.frame_time
        return asdict(self) | {"frame_time": time.isoformat() if time else None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SafetyState:
        """Read what :meth:`to_json` wrote, NaN as null.

        Raises
        ------
        ValueError, TypeError, KeyError
            For anything else.
        """
        time = data["frame_time"]
        told = {k: float("nan") if data[k] is None else float(data[k]) for k in _SHARES}
        given = {"frame_time": datetime.fromisoformat(time) if time else None, **told}
        return cls(**{**data, **given})


_SHARES = ("cloudy", "unknown")


@dataclass(frozen=True)
class Safety:
    """The answer at one instant. ``age_s`` is that of the frame behind it, None without one."""

    verdict: Verdict
    reason: str
    age_s: float | None

    @property
    def is_safe(self) -> bool:
        """True for "safe" alone."""
        return self.verdict == "safe"


def judge_frame(
    state: SafetyState,
    clouds: CloudMap,
    frame_time: datetime,
    rules: SafetyRules = SafetyRules(),
) -> SafetyState:
    """Return the state after one more frame; a frame older than the last changes nothing."""
    frame_time = as_utc(frame_time)
    if state.frame_time is not None and frame_time < state.frame_time:
        return state
    gap = (frame_time - state.frame_time).total_seconds() if state.frame_time else 0.0
    before = SafetyState() if gap > rules.max_gap_s else state
    now = replace(before, frame_time=frame_time, cloudy=clouds.cloudy, unknown=clouds.unknown)
    percent = f"{100 * clouds.cloudy:.0f} % of the sky is cloudy"
    if clouds.cloudy > rules.unsafe_above:  # however little is known of the rest
        return replace(now, verdict="unsafe", reason=percent, clear_frames=0)
    if clouds.method == "none":
        return replace(now, verdict="unknown", reason="nothing tells the clouds", clear_frames=0)
    if rules.need_memory and clouds.reference == "frame":
        reason = "no clear sky is remembered to compare with"
        return replace(now, verdict="unknown", reason=reason, clear_frames=0)
    told = 1.0 - clouds.unknown
    if clouds.unknown > rules.max_unknown or told <= 0.0:
        reason = f"{100 * clouds.unknown:.0f} % of the sky cannot be told"
        return replace(now, verdict="unknown", reason=reason, clear_frames=0)
    share = clouds.cloudy / told
    if share > rules.unsafe_above:
        reason = f"{100 * share:.0f} % of the sky that can be told is cloudy"
        return replace(now, verdict="unsafe", reason=reason, clear_frames=0)
    if share > rules.safe_below:
        kept: Verdict = "safe" if before.verdict == "safe" else "unsafe"
        reason = f"{percent}: between the limits, the last verdict stays"
        return replace(now, verdict=kept, reason=reason, clear_frames=0)
    count = before.clear_frames + 1
    if count >= rules.safe_after or before.verdict == "safe":
        return replace(now, verdict="safe", reason=percent, clear_frames=count)
    waiting: Verdict = "unsafe" if before.verdict == "unsafe" else "unknown"
    reason = f"clear for {count} of {rules.safe_after} frames"
    return replace(now, verdict=waiting, reason=reason, clear_frames=count)


def safety_at(
    state: SafetyState,
    now: datetime,
    rules: SafetyRules = SafetyRules(),
) -> Safety:
    """Return the answer at an instant: the last verdict while it is fresh, else "unknown"."""
    if state.frame_time is None:
        return Safety("unknown", state.reason, None)
    age = (as_utc(now) - state.frame_time).total_seconds()
    if age > rules.max_age_s:
        return Safety("unknown", f"the last frame is {age:.0f} s old", age)
    if age < -rules.max_age_s:
        return Safety("unknown", f"the last frame lies {-age:.0f} s in the future", age)
    return Safety(state.verdict, state.reason, age)
