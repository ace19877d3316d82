"""Conditional answers: ETag, Last-Modified, 304 (RFC 9110 section 13)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from fastapi import Request, Response
from pydantic import BaseModel

LIVE = "no-cache"
"""Keep it, but ask every time whether it still holds."""
IMMUTABLE = "public, max-age=31536000, immutable"


def make_etag(*parts: object, weak: bool = False) -> str:
    """Hash what an answer depends on into an entity tag."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()
    return f'W/"{digest}"' if weak else f'"{digest}"'


def cache_headers(etag: str, modified: datetime | None, cache: str) -> dict[str, str]:
    """Headers that a 200 and its 304 share."""
    headers = {"etag": etag, "cache-control": cache}
    if modified is not None:
        headers["last-modified"] = format_datetime(modified.astimezone(UTC), usegmt=True)
    return headers


def unchanged(request: Request, etag: str, modified: datetime | None) -> bool:
    """Whether the client's copy still holds; If-None-Match silences If-Modified-Since."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        opaque = etag.removeprefix("W/")
        return any(
            t.strip() == "*" or t.strip().removeprefix("W/") == opaque for t in tags.split(",")
        )
    since = request.headers.get("if-modified-since")
    if since is None or modified is None:
        return False
    try:
        copy = parsedate_to_datetime(since)
    except (ValueError, TypeError, OverflowError):
        return False  # RFC 9110: an unreadable date is ignored
    if copy.tzinfo is None:
        copy = copy.replace(tzinfo=UTC)
    return modified.replace(microsecond=0) <= copy


def not_modified(headers: Mapping[str, str]) -> Response:
    """Answer 304 with the headers of the 200."""
    return Response(status_code=304, headers=dict(headers))


def json_list(request: Request, items: Sequence[BaseModel]) -> Response:
    """Answer a list of models as JSON, or 304."""
    content = b"[" + b",".join(item.model_dump_json().encode() for item in items) + b"]"
    return _json(request, content, None, LIVE, {})


def json_answer(
    request: Request,
    body: BaseModel,
    *,
    modified: datetime | None = None,
    cache: str = LIVE,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer a model as JSON, or 304 where the client already has it.

    The tag is weak: gzip may change the bytes on the way. No If-Modified-Since answer is given
    without ``modified``.
    """
    return _json(request, body.model_dump_json().encode(), modified, cache, headers or {})


def json_content(
    request: Request, content: bytes, *, cache: str = LIVE, headers: Mapping[str, str]
) -> Response:
    """Answer JSON that is written already, or 304."""
    return _json(request, content, None, cache, headers)


def _json(
    request: Request,
    content: bytes,
    modified: datetime | None,
    cache: str,
    headers: Mapping[str, str],
) -> Response:
    etag = make_etag(content, weak=True)
    common = cache_headers(etag, modified, cache) | dict(headers)
    if unchanged(request, etag, modified):
        return not_modified(common)
    return Response(content, media_type="application/json", headers=common)
