"""Following the event stream: reading it, and coming back after a cut."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator

import httpx

from allsky360.client.http import Http, problem_of
from allsky360.client.records import Event

SILENCE_S = 45.0
"""The service says something every 15 s; longer silence is a cut."""
RETRY_S = 2.0


def follow(http: Http, after: str | None = None, *, retry_s: float = RETRY_S) -> Iterator[Event]:
    """Yield events for ever.

    Raises
    ------
    ServiceError
        When the service answers and refuses: no token, too many readers.
    """
    while True:
        headers = {"accept": "text/event-stream"} | ({"last-event-id": after} if after else {})
        timeout = httpx.Timeout(SILENCE_S)
        # cut off: come back with the last id, and miss nothing
        with (
            contextlib.suppress(httpx.HTTPError),
            http.client.stream("GET", "/api/v1/events", headers=headers, timeout=timeout) as reply,
        ):
            if reply.status_code != 200:
                reply.read()
                raise problem_of(reply)
            for event in read_events(reply.iter_lines()):
                after = event.id or after
                yield event
        time.sleep(retry_s)


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Read the text/event-stream format."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
        elif fields:
            if "data" in fields:
                data = json.loads(fields["data"])
                yield Event(fields.get("id", ""), fields.get("event", "message"), data)
            fields = {}
