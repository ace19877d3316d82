"""Nights at a glance."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BeforeValidator

from allsky360.api.calendar import summaries
from allsky360.api.conditional import json_answer
from allsky360.api.models_pages import Calendar
from allsky360.api.parameters import CameraQuery, iso_date
from allsky360.api.problems import BadRange, responses
from allsky360.api.service import ServiceDep

MAX_NIGHTS = 62

router = APIRouter(tags=["nights"])

NightQuery = Annotated[date, BeforeValidator(iso_date)]


@router.get("/calendar", response_model=Calendar, responses=responses(400, 404, 422))
def get_calendar(
    request: Request,
    service: ServiceDep,
    start: Annotated[NightQuery, Query(description="First night.", examples=["2026-11-01"])],
    end: Annotated[
        NightQuery, Query(description=f"Night after the last; at most {MAX_NIGHTS} later.")
    ],
    camera: CameraQuery = None,
) -> Response:
    """Say how good the nights were: cloud, darkest sky, stars, transients, products."""
    if not 1 <= (end - start).days <= MAX_NIGHTS:
        raise BadRange(
            f"{(end - start).days} nights lie between start and end.",
            mend=f"Ask for 1 to {MAX_NIGHTS}; end is exclusive.",
        )
    slug = service.camera(camera)
    nights = [n for n in service.store.nights(slug) if start <= n < end] if slug else []
    found = summaries(service, slug, nights) if slug else []
    return json_answer(request, Calendar(camera=slug, nights=found))
