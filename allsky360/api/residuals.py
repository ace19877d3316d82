"""Stars of one frame against the lens: measured by a process of its own, kept as an answer."""

from __future__ import annotations

from allsky360.api.addresses import frame_id
from allsky360.api.apart import ask_apart
from allsky360.api.geometry import View
from allsky360.api.models_pages import FrameResiduals
from allsky360.api.service import Service
from allsky360.api.store import FrameInfo

WORKER = "allsky360.star_residuals"


def frame_residuals(service: Service, frame: FrameInfo, view: View) -> FrameResiduals:
    """Find the frame's stars and say how far they lie from where the newest lens puts them."""
    site = view.site
    answer = ask_apart(
        WORKER,
        {
            "root": str(service.store.root),
            "frame": [frame.camera, frame.night.isoformat(), frame.index],
            "picture": view.lens.as_dict(),
            "site": [site.name, site.latitude_deg, site.longitude_deg, site.elevation_m],
            "when": view.when.isoformat(),
        },
    )
    size = {"width": view.lens.width, "height": view.lens.height}
    return FrameResiduals.model_validate({"id": frame_id(frame), **size, **answer})
