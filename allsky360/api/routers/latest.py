"""The newest processed frame."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from allsky360.api.addresses import frame_id
from allsky360.api.conditional import LIVE, json_answer
from allsky360.api.models import FrameDetail
from allsky360.api.parameters import CameraQuery
from allsky360.api.problems import NothingCaptured, NotProcessed, responses
from allsky360.api.routers.frames import PICTURE, PictureDep, picture_answer
from allsky360.api.service import Service, ServiceDep
from allsky360.api.store import FrameInfo
from allsky360.api.view import frame_detail

router = APIRouter(prefix="/latest", tags=["latest"])


def newest(service: Service, camera: str | None, names: Sequence[str] | None = None) -> FrameInfo:
    """Return the newest processed frame of a camera, or of all of them.

    ``names`` are the measurements wanted; None takes all.
    """
    slug = service.need_camera(camera) if camera else None
    frame = service.store.newest(slug, processed=True, names=names)
    if frame is not None:
        return frame
    waiting = service.store.newest(slug)
    if waiting is None:
        raise NothingCaptured(
            "The archive holds no frame yet.",
            mend="Frames appear here as soon as the camera owner has stored one.",
        )
    raise NotProcessed(
        f"Frames are stored (the newest is {frame_id(waiting)}), but none is processed yet.",
        mend="Is the processing running? See GET /api/v1/status.",
    )


@router.get("", response_model=FrameDetail, responses=responses(404, 422))
def get_latest(request: Request, service: ServiceDep, camera: CameraQuery = None) -> Response:
    """Give the newest processed frame."""
    frame = newest(service, camera)
    return json_answer(request, frame_detail(service, frame))


@router.get(
    "/picture", response_class=Response, responses=PICTURE | responses(404, 406, 410, 422, 503)
)
async def get_latest_picture(
    request: Request,
    service: ServiceDep,
    asked: PictureDep,
    camera: CameraQuery = None,
) -> Response:
    """Give the newest picture; ``X-Frame-Id`` says which frame it is."""
    frame = await service.light(lambda: newest(service, camera, ()))
    return await picture_answer(request, service, frame, asked, LIVE)
