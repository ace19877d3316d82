"""A page of frames: by time range, over any number of nights, without gap or duplicate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from urllib.parse import urlencode

from fastapi import Request, Response

from allsky360.api.conditional import json_answer
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

    def covers(self, when: datetime) -> bool:
        """Whether an instant lies in the range."""
        return (self.start is None or when >= self.start) and (self.end is None or when < self.end)

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


def matching(
    service: Service, camera: str, nights: Iterable[date], asked: Asked
) -> Iterator[FrameInfo]:
    """Yield the frames asked for in order, opening one night at a time."""
    newest_first = asked.sorting == "newest"
    for night in sorted(filter(asked.may_hold, nights), reverse=newest_first):
        frames = service.store.frames(camera, night)
        for frame in reversed(frames) if newest_first else frames:
            key = (frame.night, frame.index)
            if asked.position is not None and not asked.position.precedes(key):
                continue
            if asked.covers(frame.time):
                yield frame


def answer(
    request: Request, service: Service, camera: str, nights: Sequence[date], asked: Asked
) -> Response:
    """Answer one page."""
    page: list[FrameInfo] = []
    more = False
    for frame in matching(service, camera, nights, asked):
        if len(page) == asked.limit:
            more = True
            break
        page.append(frame)
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
    return json_answer(request, body, headers=link_header(following))


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
    return f"{request.url.path}?{urlencode(query | {'cursor': cursor})}"


def self_address(request: Request) -> str:
    """Address of the request itself, without host."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def link_header(following: str | None) -> dict[str, str]:
    """RFC 8288 header of the next page."""
    return {"link": f'<{following}>; rel="next"'} if following else {}
