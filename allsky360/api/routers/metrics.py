"""Metrics for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response

from allsky360.api.metrics import MEDIA_TYPE, metrics_text
from allsky360.api.problems import Responses
from allsky360.api.service import ServiceDep

router = APIRouter(tags=["system"])

TEXT: Responses = {
    200: {
        "description": "Prometheus text format",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


@router.get("/metrics", response_class=Response, responses=TEXT)
async def get_metrics(service: ServiceDep) -> Response:
    """Give the numbers to watch: frames, ages, queue, storage, sky, requests, memory."""
    owner = await service.owner.status()
    text = await service.heavy(lambda: metrics_text(service, owner))
    return Response(text, media_type=MEDIA_TYPE, headers={"cache-control": "no-store"})
