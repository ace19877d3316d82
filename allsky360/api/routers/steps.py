"""How a frame was processed: its steps, and small pictures of them where they are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse

from allsky360.api.addresses import frame_address, frame_id
from allsky360.api.asked import FrameDep, RevisionQuery, cache_of
from allsky360.api.conditional import (
    cache_headers,
    json_answer,
    make_etag,
    not_modified,
    unchanged,
)
from allsky360.api.models_system import StepInfo, StepList
from allsky360.api.problems import NotFound, NotProcessed, Responses, responses
from allsky360.api.service import ServiceDep
from allsky360.api.store import FrameInfo, Store
from allsky360.api.view import finite
from allsky360.archive import FrameRef

router = APIRouter(prefix="/frames", tags=["sky"])

MAX_STEPS = 99
PICTURE: Responses = {
    200: {
        "description": "The picture",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The client's copy still holds"},
}


@router.get("/{night}/{index}/steps", response_model=StepList, responses=responses(404, 422))
def list_steps(request: Request, service: ServiceDep, where: FrameDep) -> Response:
    """Say how a frame was processed: each step, its parameters and how long it took.

    Of some frames (`processing.step_pictures_every`) there is a picture after each step, from the
    balance of the merged frame on.
    """
    frame = where.of(service)
    if not frame.processed:
        raise NotProcessed(f"Frame {frame_id(frame)} is not processed yet.")
    p = service.store.provenance(frame)
    steps = [s for s in p.get("steps", ()) if isinstance(s, dict)]
    kept = service.store.step_pictures(frame)
    nearest = None if kept else nearest_with_pictures(service.store, frame)
    return json_answer(
        request,
        StepList(
            id=frame_id(frame),
            software=p.get("software") if isinstance(p.get("software"), str) else None,
            parameters_digest=p.get("parameters_digest"),
            steps=[
                StepInfo(
                    number=i,
                    name=str(s.get("name", "")),
                    version=s.get("version"),
                    seconds=s.get("seconds"),
                    parameters=finite(s.get("parameters") or {}),
                    picture=frame_address(frame, f"/steps/{i}.jpg", revision=frame.revision)
                    if i in kept
                    else None,
                )
                for i, s in enumerate(steps)
            ],
            nearest_with_pictures=frame_id(nearest) if nearest else None,
            warnings=[str(w) for w in p.get("warnings", ())],
        ),
    )


def nearest_with_pictures(store: Store, frame: FrameInfo) -> FrameRef | None:
    """Return the frame of the same night nearest to one whose step pictures are kept."""
    numbers = store.frames_with_steps(frame.camera, frame.night)
    if not numbers:
        return None
    return FrameRef(frame.camera, frame.night, min(numbers, key=lambda n: abs(n - frame.index)))


@router.get(
    "/{night}/{index}/steps/{number}.jpg",
    response_class=Response,
    responses=PICTURE | responses(404, 422),
)
def get_step_picture(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
    number: Annotated[int, Path(ge=0, le=MAX_STEPS, description="Number of the step.")],
    revision: RevisionQuery = None,
) -> Response:
    """Give the small picture of a frame after one of its steps."""
    frame = where.of(service)
    path = service.store.step_pictures(frame).get(number)
    if path is None:
        raise NotFound(
            f"No picture of step {number} of frame {frame_id(frame)} is kept.",
            mend=f"GET {frame_address(frame, '/steps')} says which are.",
        )
    etag = make_etag("step", frame.camera, frame_id(frame), frame.revision, number)
    modified = datetime.fromtimestamp(frame.stamp / 1e9, UTC)
    headers = cache_headers(etag, modified, cache_of(frame, revision))
    if unchanged(request, etag, modified):
        return not_modified(headers)
    return FileResponse(path, media_type="image/jpeg", headers=headers)
