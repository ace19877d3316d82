"""RFC 9457 problems: one table says which error becomes which status and what it is called.

Every error answer of the service is ``application/problem+json`` with ``type``, ``title``,
``status``, ``detail`` (what is wrong, and the mend), ``instance`` and, for wrong parameters,
``errors``.
"""

from __future__ import annotations

import http
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Scope

from allsky360.api.pictures import NotAcceptable
from allsky360.archive import ArchiveError, NoSuchFrame
from allsky360.archive.errors import RawRemoved
from allsky360.errors import AllskyError
from allsky360.sky.ephemeris import EphemerisError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:allsky360:problem:"


class NotFound(AllskyError):
    """The camera, night, frame or exposure asked for does not exist."""


class NotProcessed(AllskyError):
    """The frame's raw is stored, but its picture is not made yet."""


class NoLens(AllskyError):
    """Where pixels look is not known for this frame."""


class NotMeasured(AllskyError):
    """The frame is processed, but what was asked for was not measured in it."""


class PictureRemoved(AllskyError):
    """The frame was processed, and its picture has been removed since."""


class NothingCaptured(AllskyError):
    """The archive holds no frame yet."""


class BadCursor(AllskyError):
    """A paging cursor that this service did not write."""


class BadRange(AllskyError):
    """A range that holds nothing, or more than one answer can."""


class Busy(AllskyError):
    """Too many costly answers are in flight."""


@dataclass(frozen=True)
class Kind:
    """How one class of errors is answered."""

    status: int
    slug: str
    title: str
    retry_after_s: int | None = None


TABLE: Mapping[type[Exception], Kind] = {
    NotFound: Kind(404, "not-found", "There is no such thing here"),
    NotProcessed: Kind(404, "not-processed", "The frame is not processed yet", 5),
    NoLens: Kind(404, "no-lens", "Where the pixels look is not known"),
    NotMeasured: Kind(404, "not-measured", "That was not measured"),
    NothingCaptured: Kind(404, "nothing-captured", "Nothing has been captured yet", 5),
    BadCursor: Kind(400, "bad-cursor", "The cursor cannot be read"),
    BadRange: Kind(400, "bad-range", "The range cannot be answered"),
    NoSuchFrame: Kind(404, "not-found", "There is no such thing here"),
    RawRemoved: Kind(410, "raw-removed", "The raw images were removed"),
    PictureRemoved: Kind(410, "picture-removed", "The picture is no longer there"),
    ArchiveError: Kind(500, "archive-damaged", "A part of the archive cannot be read"),
    EphemerisError: Kind(400, "bad-time", "The ephemeris does not cover that time"),
    NotAcceptable: Kind(406, "not-acceptable", "No acceptable format"),
    Busy: Kind(503, "busy", "The service is busy", 2),
    RequestValidationError: Kind(422, "bad-parameters", "A parameter is wrong"),
    AllskyError: Kind(500, "allsky-error", "Something needs mending"),
    OSError: Kind(503, "storage-unreadable", "The archive cannot be read", 10),
    Exception: Kind(500, "internal-error", "The service made a mistake"),
}
"""First match along the error's class hierarchy wins."""


class ParameterError(BaseModel):
    """One wrong parameter."""

    parameter: str
    detail: str
    value: str | None = None


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=[TYPE_PREFIX + "not-found"])
    title: str = Field(examples=[TABLE[NotFound].title])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no night 2026-11-22. GET /api/v1/nights lists them."])
    instance: str = Field(examples=["/api/v1/nights/2026-11-22"])
    errors: list[ParameterError] | None = None


def kind_of(error: Exception) -> Kind:
    """Look an error up in the table, most special class first."""
    for cls in type(error).__mro__:
        if cls in TABLE:
            return TABLE[cls]
    return TABLE[Exception]


def problem_response(
    scope: Scope,
    kind: Kind,
    detail: str,
    errors: Sequence[ParameterError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Write one problem."""
    problem = Problem(
        type=TYPE_PREFIX + kind.slug,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=str(scope.get("path", "")),
        errors=list(errors) if errors else None,
    )
    extra = {"cache-control": "no-store", **(headers or {})}
    if kind.retry_after_s is not None:
        extra["retry-after"] = str(kind.retry_after_s)
    return JSONResponse(
        problem.model_dump(exclude_none=True), kind.status, headers=extra, media_type=MEDIA_TYPE
    )


def _mendable(request: Request, error: Exception) -> JSONResponse:
    kind = kind_of(error)
    if kind.status >= 500 and kind.slug != "busy":
        log.error("%s %s: %s", request.method, request.url.path, error)
    if isinstance(error, OSError):  # its text names server folders: that stays in the log
        what = error.strerror or type(error).__name__
        detail = f"The archive could not be read ({what}). The service's log names the file."
    else:
        detail = str(error).replace(str(request.app.state.archive_root), "archive")
    return problem_response(request.scope, kind, detail)


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = http.HTTPStatus(error.status_code).phrase
    kind = Kind(error.status_code, phrase.lower().replace(" ", "-"), phrase)
    details = {
        404: "There is nothing at this address. GET /api/v1 lists the addresses.",
        405: "This service only reads: use GET or HEAD.",
    }
    detail = details.get(error.status_code, str(error.detail))
    return problem_response(request.scope, kind, detail, headers=error.headers)


def _wrong_parameters(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [_parameter_error(item) for item in error.errors()]
    detail = "; ".join(f"{e.parameter}: {e.detail}" for e in errors[:5])
    return problem_response(request.scope, TABLE[RequestValidationError], detail, errors)


def _parameter_error(item: Mapping[str, Any]) -> ParameterError:
    value = item.get("input")
    return ParameterError(
        parameter=".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0]),
        detail=str(item["msg"]).removeprefix("Value error, "),
        value=None if value is None else str(value)[:80],
    )


def _mistake(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    detail = f"{type(error).__name__}. The service's log has the details; please report it."
    return problem_response(request.scope, TABLE[Exception], detail)


def add_handlers(app: FastAPI) -> None:
    """Let every error leave ``app`` as a problem."""
    app.add_exception_handler(AllskyError, _mendable)
    app.add_exception_handler(OSError, _mendable)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _wrong_parameters)
    app.add_exception_handler(Exception, _mistake)


Responses = dict[int | str, dict[str, Any]]


def responses(*statuses: int) -> Responses:
    """Declare problem answers for the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": http.HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }
