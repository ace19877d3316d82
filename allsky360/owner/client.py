"""Talk to a camera owner, synchronously: what flows and commands use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from types import TracebackType
from typing import Any

import httpx

from allsky360.errors import AllskyError
from allsky360.model import as_utc

CONNECT_S = 5.0
STATUS_S = 10.0
#: Silence a running burst may keep: the longest exposure allowed plus the waits around it.
SILENCE_S = 4200.0


class OwnerUnreachable(AllskyError):
    """The camera owner does not answer, or hung up."""

    name = "owner-unreachable"


class OwnerRefused(AllskyError):
    """The camera owner answered with an error."""

    name = "owner-refused"


class OwnerClient:
    """A camera owner at ``url``, for example ``http://127.0.0.1:8361``.

    Parameters
    ----------
    url
        Address of its control service.
    silence_s
        Longest silence of a burst's stream before the owner counts as gone.
    """

    def __init__(self, url: str, *, silence_s: float = SILENCE_S) -> None:
        self.url = url.rstrip("/")
        self._silence_s = silence_s
        # A proxy from the environment has no business between us and the camera.
        self._http = httpx.Client(
            base_url=self.url,
            trust_env=False,
            timeout=httpx.Timeout(STATUS_S, connect=CONNECT_S),
        )

    def __enter__(self) -> OwnerClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def status(self) -> dict[str, Any]:
        """Return the owner's state."""
        return self._json("GET", "/status")

    def abort(self) -> bool:
        """Abort the running exposure; return whether there was one."""
        return bool(self._json("POST", "/abort")["aborted"])

    def burst(self, until: datetime, run_id: str) -> Iterator[dict[str, Any]]:
        """Ask for brackets until an instant (wall-clock UTC) and yield the events as they come.

        The last event is ``end`` or ``failed``; a stream that ends without either raises
        :class:`OwnerUnreachable`. Leaving the iterator early ends the burst.
        """
        body = {"until": as_utc(until).isoformat(), "run_id": run_id}
        yield from self._stream("/burst", body)

    def calibration(
        self, kind: str, exposure_s: float, count: int, *, gain: float | None = None, run_id: str
    ) -> Iterator[dict[str, Any]]:
        """Ask for calibration frames and yield the events as they come.

        ``frame`` events name the file, relative to ``storage.root``. The last event is ``end`` or
        ``failed``. Bursts wait while the frames are taken.
        """
        body = {
            "kind": kind, "exposure_s": exposure_s, "count": count, "gain": gain, "run_id": run_id,
        }  # fmt: skip
        yield from self._stream("/calibration", body)

    def _stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        timeout = httpx.Timeout(STATUS_S, connect=CONNECT_S, read=self._silence_s)
        try:
            with self._http.stream("POST", path, json=body, timeout=timeout) as reply:
                if reply.status_code != 200:
                    reply.read()
                    raise self._refusal(reply)
                for line in reply.iter_lines():
                    if not line.strip():
                        continue
                    event: dict[str, Any] = json.loads(line)
                    yield event
                    if event.get("event") in ("end", "failed"):
                        return
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        except json.JSONDecodeError as error:
            raise self._unreachable(error) from error
        raise OwnerUnreachable(
            f"The camera owner at {self.url} ended the burst without saying how it went.",
            mend="It was probably stopped; the next slot asks again.",
        )

    def _json(self, method: str, path: str) -> dict[str, Any]:
        try:
            reply = self._http.request(method, path)
            if reply.status_code != 200:
                raise self._refusal(reply)
            body: dict[str, Any] = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            raise self._unreachable(error) from error
        return body

    def _unreachable(self, error: Exception) -> OwnerUnreachable:
        return OwnerUnreachable(
            f"The camera owner at {self.url} does not answer ({type(error).__name__}: {error}).",
            mend="Start it with 'allsky360 owner' or 'allsky360 up'.",
        )

    def _refusal(self, reply: httpx.Response) -> OwnerRefused:
        return OwnerRefused(
            f"The camera owner at {self.url} answered {reply.status_code}: {reply.text[:300]}"
        )
