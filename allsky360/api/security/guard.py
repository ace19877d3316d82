"""The door: what an address asks for, who asks, and whether they may."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from allsky360.api.addresses import API
from allsky360.api.problems import Kind, problem_response
from allsky360.api.security.rate import RateLimit
from allsky360.api.security.tokens import Grant, find_grant, token_from
from allsky360.config_api import ApiSettings
from allsky360.config_api import Scope as Right

VIEWER = "allsky360.viewer"
"""Key of the :class:`Viewer` in a request's scope."""
_CHALLENGE = 'Bearer realm="allsky360", Basic realm="allsky360", charset="UTF-8"'


@dataclass(frozen=True)
class Viewer:
    """Who asks. ``exact`` is whether they may know where the camera stands."""

    name: str
    scopes: frozenset[Right]
    exact: bool = True


LOCAL = Viewer("this machine", frozenset(("read", "raw", "system")))


def right_for(path: str) -> Right | None:
    """Return what an address needs; None for pages without data, and for "are you alive"."""
    if path.startswith("/zarr"):
        return "raw"
    if path == "/metrics":
        return "system"
    if not path.startswith("/api/"):
        return None
    rest = path.removeprefix(API)
    if rest in ("/health", "/health/ready", "/openapi.json"):
        return None
    if rest.endswith("/raw.fits"):
        return "raw"
    if rest.split("/")[1:2] in (["configuration"], ["system"], ["storage"]):
        return "system"
    return "read"


@dataclass(frozen=True)
class Guard:
    """Decides for every request, WebSockets included.

    Programs on this machine may read everything unless ``api.require_token`` says otherwise: the
    connection comes from here, nobody forwarded it, and the page that makes it (if any) was
    addressed by number or as localhost, so that no foreign name was pointed here.
    """

    app: ASGIApp
    settings: ApiSettings
    grants: tuple[Grant, ...]
    limit: RateLimit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request pass, or answer it here."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = _headers(scope)
        viewer = self.viewer(scope, headers)
        refusal = self._refusal(scope, headers, viewer)
        if refusal is None:
            scope[VIEWER] = viewer
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[0].title})
            return
        kind, detail, extra = refusal
        await problem_response(scope, kind, detail, headers=extra)(scope, receive, send)

    def viewer(self, scope: Scope, headers: Mapping[str, str]) -> Viewer | None:
        """Say who asks; None for a token that is not known."""
        token = token_from(headers.get("authorization"))
        if token is not None:
            grant = find_grant(self.grants, token)
            return None if grant is None else Viewer(grant.name, grant.scopes)
        if not self.settings.require_token and is_local(scope, headers):
            return LOCAL
        return Viewer("anybody", frozenset(self.settings.public), exact=False)

    def _refusal(
        self, scope: Scope, headers: Mapping[str, str], viewer: Viewer | None
    ) -> tuple[Kind, str, dict[str, str]] | None:
        if viewer is not LOCAL:
            address = (scope.get("client") or ("unknown",))[0]
            wait = self.limit.wait_s(address, time.monotonic())
            if wait > 0:
                kind = Kind(429, "too-many-requests", "Too many requests", math.ceil(wait))
                return kind, f"Ask again in {math.ceil(wait)} s.", {}
        right = right_for(scope["path"])
        if right is None:
            return None
        if viewer is None:
            detail = "The token is not known here."
        elif right in viewer.scopes:
            return None
        elif viewer.exact:
            kind = Kind(403, "forbidden", "The token does not allow that")
            return kind, f"This needs a token with the scope '{right}'.", {}
        else:
            detail = f"This needs a token with the scope '{right}': Authorization: Bearer TOKEN."
        kind = Kind(401, "unauthorized", "A token is needed")
        return kind, detail, {"www-authenticate": _CHALLENGE}


def is_local(scope: Scope, headers: Mapping[str, str]) -> bool:
    """Whether a program on this machine asks, and asks for this machine."""
    if any(name in headers for name in ("forwarded", "x-forwarded-for", "x-real-ip")):
        return False
    client, server = (scope.get("client") or ("",))[0], (scope.get("server") or ("",))[0]
    if not (_is_loopback(client) or (client and client == server)):
        return False
    host = headers.get("host", "")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
    return name == "localhost" or _is_address(name)


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _headers(scope: Scope) -> Mapping[str, str]:
    raw: Iterable[tuple[bytes, bytes]] = scope.get("headers", ())
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
