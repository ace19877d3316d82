"""The story of the safe copy: whatever is new in the archive goes elsewhere, oldest night first."""

from __future__ import annotations

from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from allsky360.archive import Archive
from allsky360.config import load_settings
from tasks.offsite import copy_off_site


@flow(name="copy-offsite", persist_result=False)
def copy_offsite() -> State[Any]:
    """Copy what is new to ``offsite.url``; without one, nothing."""
    settings = load_settings()
    if not settings.offsite.url:
        return Completed(message="no off-site copy is set up")
    archive, failed, files, size = Archive(settings.storage.root), [], 0, 0
    for camera in archive.cameras():
        nights = [n.isoformat() for n in archive.nights(camera)]
        state = cast("State[Any]", copy_off_site(settings, camera, nights, return_state=True))
        if not state.is_completed():
            failed.append(f"{camera}: {state.message}")
            continue
        done = state.result(raise_on_failure=False)
        files, size = files + done["files"], size + done["bytes"]
    if failed:
        return Failed(message="; ".join(failed))
    return Completed(message=f"{files} files, {size / 1e6:.1f} MB copied")
