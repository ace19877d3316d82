"""What the owner says about itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from allsky360.camera.control import Plan
from allsky360.errors import AllskyError

StateName = Literal["connecting", "ready", "exposing", "fault", "paused"]
Event = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """A fault that lasts, with the name that logs, metrics and pages show."""

    name: str
    message: str
    since: datetime

    def as_json(self) -> dict[str, str]:
        """Return plain JSON values."""
        return {"name": self.name, "message": self.message, "since": iso(self.since)}


@dataclass
class OwnerState:
    """The owner's public state; written by the owner only, read by ``GET /status``."""

    camera: str = ""
    connected: bool = False
    exposing: bool = False
    camera_fault: Fault | None = None
    storage_fault: Fault | None = None
    burst: str | None = None
    plan: Plan | None = None
    exposures_s: tuple[float, ...] = ()
    last_frame: dict[str, Any] | None = None
    frames: int = 0
    fault_counts: Counter[str] = field(default_factory=Counter)
    open_s: float = 0.0
    burst_s: float = 0.0

    @property
    def name(self) -> StateName:
        """The state in one word; what stops capture comes first."""
        if self.storage_fault is not None:
            return "paused"
        if self.camera_fault is not None:
            return "fault"
        if not self.connected:
            return "connecting"
        return "exposing" if self.exposing else "ready"

    def as_json(self) -> dict[str, Any]:
        """Return the body of ``GET /status``."""
        fault = self.storage_fault or self.camera_fault
        plan = self.plan
        return {
            "state": self.name,
            "fault": fault.as_json() if fault else None,
            "camera": self.camera,
            "burst": self.burst,
            "plan": None
            if plan is None
            else {
                "period": plan.period,
                "exposures_s": list(self.exposures_s),
                "gain": plan.gain,
                "target": plan.target,
                "enabled": plan.enabled,
            },
            "last_frame": self.last_frame,
            "frames": self.frames,
            "faults": self.fault_counts.total(),
            "fault_counts": dict(self.fault_counts),
            "open_share": self.open_s / self.burst_s if self.burst_s > 0 else None,
        }


def fault_name(error: BaseException) -> str:
    """Return the name of a fault: its own, or that of its class."""
    name = getattr(error, "name", None)
    if isinstance(name, str) and isinstance(error, AllskyError):
        return name
    return type(error).__name__


def iso(when: datetime) -> str:
    """Write an instant as ISO 8601 UTC with a Z."""
    return when.isoformat().replace("+00:00", "Z")
