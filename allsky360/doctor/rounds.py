"""All checks in turn; one that fails itself is a finding too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeAlias

from allsky360.config import Settings
from allsky360.doctor.finding import Finding
from allsky360.doctor.machine import machine
from allsky360.doctor.services import camera, services
from allsky360.doctor.sky import sky
from allsky360.doctor.storage import storage

log = logging.getLogger(__name__)

Check: TypeAlias = Callable[[Settings], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (machine, storage, services, camera, sky)


def examine(settings: Settings, checks: tuple[Check, ...] = CHECKS) -> Iterator[Finding]:
    """Yield what is found, as it is found."""
    settings = of_the_demo(settings)
    for check in checks:
        try:
            yield from check(settings)
        except Exception as error:  # the doctor must not die of what he came to look at
            log.exception("the check of %s failed", check.__name__)
            says = f"the check itself failed: {type(error).__name__}: {error}"
            mend = "Report this, with 'allsky360 doctor --bundle FILE'."
            yield Finding(check.__name__, "check", "bad", says, mend)


def of_the_demo(settings: Settings) -> Settings:
    """Return the settings as the newest demo ran with: each has an archive of its own."""
    if settings.camera.host or settings.site.latitude_deg is not None:
        return settings
    folders = sorted(settings.storage.root.glob("demo*"), key=lambda p: p.stat().st_mtime)
    if not folders:
        return settings
    storage = settings.storage.model_copy(update={"root": folders[-1]})
    return settings.model_copy(update={"storage": storage})
