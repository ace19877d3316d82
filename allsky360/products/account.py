"""How far a grower came, and which frames it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from allsky360.archive.products import FramesUsed, LeftOut


@dataclass
class Account:
    """What one grower has seen.

    Attributes
    ----------
    next
        Number of the first frame it has not been offered.
    used, first, last
        How many frames it took, and their least and greatest number.
    left_out
        Reason by frame number.
    passed_over
        Frames that were not processed when their turn came; also in ``left_out``.
    """

    next: int = 0
    used: int = 0
    first: int | None = None
    last: int | None = None
    left_out: dict[int, str] = field(default_factory=dict)
    passed_over: set[int] = field(default_factory=set)

    def took(self, index: int) -> None:
        """Note a frame that went in."""
        self.used += 1
        self.first = index if self.first is None else min(self.first, index)
        self.last = index if self.last is None else max(self.last, index)
        self.left_out.pop(index, None)
        self.passed_over.discard(index)
        self.next = max(self.next, index + 1)

    def left(self, index: int, reason: str) -> None:
        """Note a frame that did not go in."""
        self.left_out[index] = reason
        self.passed_over.discard(index)
        self.next = max(self.next, index + 1)

    def passed(self, index: int) -> None:
        """Note a frame that was not processed when its turn came."""
        self.left(index, "it was not processed when later frames were")
        self.passed_over.add(index)

    def frames(self) -> FramesUsed:
        """Return it as a product's record says it."""
        left_out = tuple(LeftOut(i, self.left_out[i]) for i in sorted(self.left_out))
        return FramesUsed(self.used, self.first, self.last, left_out)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "next": self.next,
            "used": self.used,
            "first": self.first,
            "last": self.last,
            "left_out": {str(i): reason for i, reason in sorted(self.left_out.items())},
            "passed_over": sorted(self.passed_over),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Account:
        """Read it back; KeyError, TypeError or ValueError where it is none."""
        return cls(
            next=int(content["next"]),
            used=int(content["used"]),
            first=content["first"],
            last=content["last"],
            left_out={int(i): str(reason) for i, reason in content["left_out"].items()},
            passed_over={int(i) for i in content["passed_over"]},
        )
