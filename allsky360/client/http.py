"""Asking the service: one answer, or one clear error."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import httpx

from allsky360.errors import AllskyError

TIMEOUT_S = 30.0


class ServiceError(AllskyError):
    """The service refused, or cannot be reached.

    Attributes
    ----------
    status
        HTTP status; 0 where there was no answer.
    kind
        Last part of the problem's type, such as ``not-found``.
    """

    def __init__(self, message: str, *, status: int = 0, kind: str = "", mend: str = "") -> None:
        super().__init__(message, mend=mend)
        self.status = status
        self.kind = kind


class Http:
    """A connection to one service.

    Parameters
    ----------
    url
        Where it is, such as ``http://127.0.0.1:8360``.
    token
        Sent with every request; None sends none.
    timeout_s
        Longest silence.
    """

    def __init__(self, url: str, token: str | None, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self.headers = {"authorization": f"Bearer {token}"} if token else {}
        self.client = httpx.Client(
            base_url=self.url,
            headers={"accept": "*/*", **self.headers},
            timeout=timeout_s,
            follow_redirects=False,
        )

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> httpx.Response:
        """Ask once.

        Raises
        ------
        ServiceError
            For any answer that is none.
        """
        given = {k: text_of(v) for k, v in (parameters or {}).items() if v is not None}
        try:
            # addresses that the service gives bring their own query
            reply = self.client.get(path, params=given or None)
        except httpx.HTTPError as error:
            raise ServiceError(
                f"{self.url} cannot be reached: {error}.", mend="Does 'allsky360 api' run there?"
            ) from error
        if reply.status_code >= 400:
            raise problem_of(reply)
        return reply

    def json(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Ask for JSON."""
        return self.get(path, parameters).json()


def problem_of(reply: httpx.Response) -> ServiceError:
    """Return an answer's problem as an error."""
    try:
        body = reply.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    kind = str(body.get("type", "")).rpartition(":")[2]
    return ServiceError(
        str(body.get("detail") or f"{reply.request.url} answered {reply.status_code}."),
        status=reply.status_code,
        kind=kind,
    )


def text_of(value: Any) -> Any:
    """Write a parameter as addresses carry it."""
    if isinstance(value, datetime):
        aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return aware.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(str(v) for v in value)
    return value
