"""The task of the dark library: one call into the library around the camera owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from allsky360.config import Settings
from allsky360.darks import Order, take
from allsky360.net import netloc
from tasks.burst import run_log


@task(name="take-masters", cache_policy=NO_CACHE, persist_result=False)
def take_masters(settings: Settings, order: Order, run_id: str) -> dict[str, Any]:
    """Take frames and build masters; never retried, since frames already taken are built.

    Returns
    -------
    dict
        ``built`` names of the masters, ``left_out`` frames of odd level, ``failed`` reasons.

    Raises
    ------
    DarksError
        The owner gave up.
    OwnerUnreachable
        Nobody answers at its address.
    """
    from allsky360.owner.client import OwnerClient

    log = run_log()

    def tell(event: Mapping[str, Any]) -> None:
        if event.get("event") == "fault":
            log.warning("camera fault %s: %s", event.get("name"), event.get("message"))
        elif event.get("event") == "end":
            log.info("%s frames taken", event.get("frames"))

    with OwnerClient(f"http://{netloc(settings.owner.host, settings.owner.port)}") as owner:
        report = take(owner, settings, order, run_id=run_id, tell=tell)
    return {
        "built": [made.path.name for made in report.built],
        "left_out": [name for made in report.built for name in made.left_out],
        "failed": [f"{source}: {reason}" for source, reason in report.failed],
    }
