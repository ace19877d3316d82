"""What was done to a frame, in order, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One step that was done: what, which version, with which parameters, how long."""

    name: str
    version: int
    parameters: dict[str, Any]
    seconds: float


@dataclass
class StepLog:
    """Collects steps and warnings while a frame is developed."""

    steps: list[Step] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def copy(self) -> StepLog:
        """Return a log that goes on from here."""
        return StepLog(list(self.steps), list(self.warnings))

    @contextmanager
    def step(
        self, name: str, version: int, parameters: dict[str, Any] | None = None, **more: Any
    ) -> Iterator[dict[str, Any]]:
        """Time a step; the block may add to its parameters."""
        begin = time.perf_counter()
        parameters = (parameters or {}) | more
        yield parameters
        self.steps.append(Step(name, version, parameters, round(time.perf_counter() - begin, 4)))
