"""A camera's lens: the model that counts, older ones, and what came of each night."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from allsky360.api.conditional import json_answer
from allsky360.api.models_sky import LensHistory, LensInfo, LensNight, RingInfo
from allsky360.api.parameters import CameraQuery
from allsky360.api.problems import NoLens, responses
from allsky360.api.service import ServiceDep
from allsky360.api.starlight import number
from allsky360.api.view import finite
from allsky360.lens_history import read_history
from allsky360.lenses import lens_paths
from allsky360.sky.lens_file import LensFile

router = APIRouter(prefix="/lens", tags=["lens"])


@router.get("", response_model=LensInfo, responses=responses(404, 422))
def get_lens(
    request: Request,
    service: ServiceDep,
    camera: CameraQuery = None,
    serial: Annotated[
        int | None, Query(ge=1, le=1_000_000, description="Left out: the newest.")
    ] = None,
) -> Response:
    """Give a lens model with its residuals on stars it was not fitted to, by altitude."""
    slug = service.need_camera(camera)
    paths = lens_paths(service.store.root, slug)
    chosen = [p for p in paths if serial is None or int(p.stem) == serial]
    if not chosen:
        which = "no lens model" if serial is None else f"no lens model {serial}"
        raise NoLens(
            f"{slug} has {which}.",
            mend="Let a clear night be calibrated: 'allsky360 sky calibrate'.",
        )
    return json_answer(request, lens_info(service.lens_file(chosen[-1])))


def lens_info(content: LensFile) -> LensInfo:
    """One lens file as the service shows it; where it was solved is left out."""
    q = content.quality
    return LensInfo(
        camera=content.camera,
        serial=content.serial,
        solved=content.solved,
        frames=list(content.frames),
        model=finite(content.lens.as_dict()),
        sigma={name: number(value) for name, value in content.sigma.items()},
        stars=int(q.get("stars", 0)),
        held_out_stars=int(q.get("held_out_stars", 0)),
        held_out_rms_px=number(q.get("held_out_rms_px"), 4),
        held_out_median_px=number(q.get("held_out_median_px"), 4),
        rings=[
            RingInfo(
                altitude_deg=tuple(r["altitude_deg"]),
                stars=int(r["stars"]),
                rms_px=number(r.get("rms_px"), 4),
                median_px=number(r.get("median_px"), 4),
            )
            for r in q.get("rings", ())
        ],
        software=content.software,
        warnings=list(content.warnings),
    )


@router.get("/history", response_model=LensHistory, responses=responses(404, 422))
def get_lens_history(request: Request, service: ServiceDep, camera: CameraQuery = None) -> Response:
    """List a camera's lens files, and what came of each night's calibration."""
    slug = service.need_camera(camera)
    root = service.store.root
    return json_answer(
        request,
        LensHistory(
            camera=slug,
            serials=[int(p.stem) for p in lens_paths(root, slug)],
            nights=[
                LensNight(
                    night=e.night,
                    outcome=e.outcome,
                    reason=e.reason,
                    message=e.message,
                    tried=e.tried,
                    frames=e.frames,
                    used=e.used,
                    serial=e.serial,
                    rms_px=number(e.rms_px, 4),
                    drift=finite(e.drift) if e.drift is not None else None,
                )
                for e in read_history(root, slug)
            ],
        ),
    )
