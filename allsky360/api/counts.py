"""How many requests were answered, how fast, with how many bytes: for /metrics."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from allsky360.api.addresses import API

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass
class Course:
    """Requests of one address: a histogram of seconds until the answer began."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    seconds: float = 0.0
    bytes: int = 0

    @property
    def count(self) -> int:
        """How many."""
        return sum(self.buckets)


@dataclass
class Counts:
    """By route and status; the number of routes bounds it."""

    courses: dict[tuple[str, int], Course] = field(default_factory=lambda: defaultdict(Course))

    def note(self, route: str, status: int, seconds: float, sent: int) -> None:
        """Count one answer."""
        course = self.courses[route, status]
        course.buckets[bisect_left(BUCKETS_S, seconds)] += 1
        course.seconds += seconds
        course.bytes += sent


@dataclass(frozen=True)
class Counting:
    """Notes every answer."""

    app: ASGIApp
    counts: Counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = time.perf_counter()
        answered, status, sent = begin, 500, 0

        async def noting(message: Message) -> None:
            nonlocal answered, status, sent
            if message["type"] == "http.response.start":
                answered, status = time.perf_counter(), message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            self.counts.note(_route(scope), status, answered - begin, sent)


def _route(scope: Scope) -> str:
    """Template of the address; FastAPI's own routes may know it without the prefix."""
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None:
        return "other"
    return path if path.startswith(API) or not scope["path"].startswith(API) else API + path
