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
    archive = Archive(settings.storage.root)
    nights = [(c, n.isoformat()) for c in archive.cameras() for n in archive.nights(c)]
    state = cast("State[Any]", copy_off_site(settings, nights, return_state=True))
    if not state.is_completed():
        return Failed(message=state.message)
    done = state.result(raise_on_failure=False)
    return Completed(message=f"{done['files']} files, {done['bytes'] / 1e6:.1f} MB copied")
