"""A page of frames: by time and by what was measured, over any nights, no gap and no duplicate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from urllib.parse import urlencode

import numpy as np
from fastapi import Request, Response

from allsky360.api.conditional import json_answer, json_content
from allsky360.api.filters import Filters
from allsky360.api.index.night import NightIndex, microseconds
from allsky360.api.index.search import matching_rows
from allsky360.api.models import FramePage, PageLinks
from allsky360.api.paging import Order, Position, encode
from allsky360.api.problems import BadRange
from allsky360.api.service import Service, utc_text
from allsky360.api.store import FrameInfo
from allsky360.api.view import frame_view


@dataclass(frozen=True)
class Asked:
    """What a listing was asked for."""

    start: datetime | None
    end: datetime | None
    order: Order
    limit: int
    position: Position | None
    filters: Filters = field(default_factory=Filters)
    fields: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        if self.start and self.end and self.end <= self.start:
            raise BadRange(
                f"end ({utc_text(self.end)}) does not come after start ({utc_text(self.start)}).",
                mend="Swap them; end is exclusive.",
            )

    @property
    def sorting(self) -> Order:
        """The order: a cursor remembers its own."""
        return self.position.order if self.position else self.order

    def may_hold(self, night: date) -> bool:
        """Whether a night can hold frames of the range, whatever the site's longitude."""
        day = timedelta(days=1)
        if self.start and night < self.start.date() - 2 * day:
            return False
        if self.end and night > self.end.date() + day:
            return False
        if self.position is None:
            return True
        at = self.position.night
        return night >= at if self.sorting == "oldest" else night <= at

    def rows(self, night: NightIndex) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
        """Return the rows of a night that are asked for, in their order."""
        rows = matching_rows(
            night,
            self.filters.conditions,
            low_us=microseconds(self.start),
            high_us=microseconds(self.end),
            processed=self.filters.processed,
        )
        at = self.position
        if at is not None and at.night == night.night:
            rows = rows[rows > at.index] if self.sorting == "oldest" else rows[rows < at.index]
        return rows if self.sorting == "oldest" else rows[::-1]

    def measurements(self) -> tuple[str, ...] | None:
        """Measurements that the answer shows; None: all."""
        if self.fields is None or "measurements" in self.fields:
            return None
        return tuple(f.partition(".")[2] for f in self.fields if f.startswith("measurements."))


def matching(
    service: Service, camera: str, nights: Sequence[date], asked: Asked
) -> Iterator[FrameInfo]:
    """Yield the frames asked for in order, at most one more than its limit, night by night."""
    newest_first = asked.sorting == "newest"
    chosen = sorted(filter(asked.may_hold, nights), reverse=newest_first)
    left = asked.limit + 1
    names = asked.measurements()
    for night in service.store.each(camera, chosen):
        rows = asked.rows(night)[:left]
        if rows.size:
            yield from night.infos(rows.tolist(), names)
        left -= rows.size
        if left <= 0:
            return


def answer(
    request: Request, service: Service, camera: str, nights: Sequence[date], asked: Asked
) -> Response:
    """Answer one page."""
    page = list(matching(service, camera, nights, asked))
    more = len(page) > asked.limit
    page = page[: asked.limit]
    at = asked.position
    if page:
        at = Position(camera, page[-1].night, page[-1].index, asked.sorting)
    cursor = encode(at) if at else None
    following = _next_address(request, asked, cursor) if more and cursor else None
    body = FramePage(
        camera=camera,
        frames=[frame_view(service, f) for f in page],
        cursor=cursor,
        links=PageLinks(self=self_address(request), next=following),
    )
    headers = link_header(following)
    if asked.fields is None:
        return json_answer(request, body, headers=headers)
    tree = body.model_dump(mode="json")
    tree["frames"] = [_sparse(frame, asked.fields) for frame in tree["frames"]]
    content = json.dumps(tree, separators=(",", ":"), allow_nan=False).encode()
    return json_content(request, content, headers=headers)


def _sparse(frame: dict[str, object], fields: Sequence[str]) -> dict[str, object]:
    """Keep the fields asked for, and the id."""
    kept: dict[str, object] = {"id": frame["id"]}
    for name in fields:
        head, _, rest = name.partition(".")
        if not rest:
            kept[head] = frame[head]
        else:
            inner = frame[head]
            assert isinstance(inner, dict)
            part = kept.setdefault(head, {})
            if isinstance(part, dict):
                part[rest] = inner.get(rest)
    return kept


def empty_page(request: Request) -> FramePage:
    """Return the page of an archive without any camera."""
    links = PageLinks(self=self_address(request), next=None)
    return FramePage(camera=None, frames=[], cursor=None, links=links)


def _next_address(request: Request, asked: Asked, cursor: str) -> str:
    query: dict[str, object] = {"limit": asked.limit}
    if asked.start:
        query["start"] = utc_text(asked.start)
    if asked.end:
        query["end"] = utc_text(asked.end)
    query |= dict(asked.filters.query)
    if asked.fields is not None:
        query["fields"] = ",".join(asked.fields)
    return f"{request.url.path}?{urlencode(query | {'cursor': cursor})}"


def self_address(request: Request) -> str:
    """Address of the request itself, without host."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def link_header(following: str | None) -> dict[str, str]:
    """RFC 8288 header of the next page."""
    return {"link": f'<{following}>; rel="next"'} if following else {}
