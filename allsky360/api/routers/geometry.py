"""A picture's geometry for pages that compute in the browser, and the stars against the lens."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from allsky360.api.addresses import frame_id
from allsky360.api.asked import FrameDep, RevisionQuery, cache_of
from allsky360.api.conditional import json_answer
from allsky360.api.geometry import middle_of, view_of
from allsky360.api.models_pages import FrameGeometry, FrameResiduals
from allsky360.api.problems import NoLens, responses
from allsky360.api.residuals import frame_residuals
from allsky360.api.routers.sky import stored_size
from allsky360.api.service import Service, ServiceDep
from allsky360.api.store import FrameInfo
from allsky360.api.view import finite

router = APIRouter(prefix="/frames", tags=["sky"])


@router.get("/{night}/{index}/view", response_model=FrameGeometry, responses=responses(404, 422))
def get_view(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
    revision: RevisionQuery = None,
) -> Response:
    """Say how the stored picture shows the sky: size and lens model, or why there is none."""
    frame = where.of(service)
    width, height = stored_size(service, frame)
    lens = reason = None
    try:
        lens = finite(view_of(service, frame).sized(width, height).as_dict())
    except NoLens as error:
        reason = error.message
    body = FrameGeometry(
        id=frame_id(frame),
        camera=frame.camera,
        time=middle_of(frame),
        width=width,
        height=height,
        lens=lens,
        reason=reason,
    )
    return json_answer(request, body)


@router.get(
    "/{night}/{index}/residuals", response_model=FrameResiduals, responses=responses(404, 422)
)
async def get_residuals(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
    revision: RevisionQuery = None,
) -> Response:
    """Find the frame's stars anew and say how far they lie from where the newest lens puts them."""
    frame = await service.heavy(lambda: where.of(service))
    key = ("residuals", frame.camera, frame_id(frame), frame.revision)
    data = await service.heavy(lambda: service.pictures.get(key, lambda: _measured(service, frame)))
    cache = cache_of(frame, revision)
    return json_answer(request, FrameResiduals.model_validate_json(data), cache=cache)


def _measured(service: Service, frame: FrameInfo) -> bytes:
    return frame_residuals(service, frame, view_of(service, frame)).model_dump_json().encode()
