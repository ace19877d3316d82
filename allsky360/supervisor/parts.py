"""Which processes make up the system on one machine, and how each is asked whether it lives."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from allsky360.config import DEMO_FOLDER, ENV_PREFIX, Settings
from allsky360.net import netloc
from allsky360.simulator.demo import night_site_now
from allsky360.supervisor.prefect_env import prefect_environment
from allsky360.supervisor.pulse import pulse_name


@dataclass(frozen=True)
class Part:
    """One process of the system.

    Attributes
    ----------
    name
        Short name shown in the status view; also the name of its log file.
    command
        Program and arguments.
    address
        What a person types to reach it; empty for parts without one.
    probe
        ``http://…`` (any status below 500 is alive), ``tcp://host:port`` (listens; a process that
        hangs does, too), ``pulse://name`` (see :mod:`allsky360.supervisor.pulse`), or empty when a
        running process is all that can be known.
    port
        ``(host, port, settings key)`` it binds, checked before each start.
    after
        Parts that must answer before this one is started.
    environment
        Variables added to ours.
    startup_s
        Time it may take until the first answer.
    patience_s
        Silence after which a part that had answered is started anew. A new start is dear where the
        machine is merely busy; the owner's costs a second, and without it no frame is taken.
    """

    name: str
    command: tuple[str, ...]
    address: str = ""
    probe: str = ""
    port: tuple[str, int, str] | None = None
    after: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    startup_s: float = 300.0
    patience_s: float = 60.0


def demo_environment(settings: Settings, now: datetime | None = None) -> dict[str, str]:
    """Return the variables that put a simulator without a site where it is night right now.

    Times stay true UTC: it is the observatory that moves. Each longitude has an archive of its own,
    so that a demo started in the morning does not mix with last evening's.
    """
    if settings.camera.host or settings.site.latitude_deg is not None:
        return {}
    site = night_site_now(settings.clock.start or now or datetime.now(UTC))
    root = settings.storage.root / f"{DEMO_FOLDER}{site.longitude_deg:+04.0f}"
    return {
        f"{ENV_PREFIX}SITE__NAME": site.name,
        f"{ENV_PREFIX}SITE__LATITUDE_DEG": str(site.latitude_deg),
        f"{ENV_PREFIX}SITE__LONGITUDE_DEG": str(site.longitude_deg),
        f"{ENV_PREFIX}SITE__ELEVATION_M": str(site.elevation_m),
        f"{ENV_PREFIX}STORAGE__ROOT": str(root.absolute()),
    }


def clock_environment(settings: Settings, now: datetime | None = None) -> dict[str, str]:
    """Return the variable that ties every part of a rehearsal to one clock."""
    if settings.clock.start is None or settings.clock.anchor is not None:
        return {}
    return {f"{ENV_PREFIX}CLOCK__ANCHOR": (now or datetime.now(UTC)).isoformat()}


def parts_of(settings: Settings) -> tuple[Part, ...]:
    """List the parts that these settings ask to run on this machine, in order of start."""
    python = sys.executable
    cli = (python, "-m", "allsky360.cli")
    prefect = prefect_environment(settings)
    repository = str(Path(__file__).parents[2])
    path = {"PYTHONPATH": _prepend(repository, os.environ.get("PYTHONPATH"))}
    found = []
    owner_after: tuple[str, ...] = ()
    if not settings.camera.host:
        s = settings.simulator
        indigo = netloc(s.host, s.port)
        found.append(
            Part(
                "simulator",
                (*cli, "simulate"),
                address=f"indigo://{indigo}",
                probe=f"http://{indigo}/simulator/status",
                port=(s.host, s.port, "simulator.port"),
            )
        )
        owner_after = ("simulator",)
    o, a, d, p = settings.owner, settings.api, settings.dask, settings.prefect
    owner, api = owner_status_url(settings), f"http://{netloc(a.host, a.port)}"
    found.append(
        Part(
            "owner",
            (*cli, "owner"),
            address=owner,
            probe=owner,
            port=(o.host, o.port, "owner.port"),
            after=owner_after,
            patience_s=30.0,
        )
    )
    found.append(
        Part(
            "api",
            (*cli, "api"),
            address=f"{api}/",
            probe=f"{api}/api/v1/health",
            port=(a.host, a.port, "api.port"),
        )
    )
    runner_after: tuple[str, ...] = ("owner",)
    if not p.url:
        ui = f"http://{netloc(p.host, p.port)}"
        found.append(
            Part(
                "prefect",
                (python, "-m", "flows.server"),
                address=f"{ui}/",
                probe=f"{ui}/api/health",
                port=(p.host, p.port, "prefect.port"),
                environment={**prefect, **path},
            )
        )
        runner_after += ("prefect",)
    if not d.scheduler:
        found.append(
            Part(
                "dask",
                (*cli, "cluster"),
                address=f"http://{netloc(d.host, d.dashboard_port)}/status",
                probe=f"http://{netloc(d.host, d.dashboard_port)}/health",
                port=(d.host, d.port, "dask.port"),
            )
        )
    found.append(
        Part(
            "runner",
            (python, "-m", "flows.serve"),
            probe=f"pulse://{pulse_name(settings, 'runner')}",
            after=runner_after,
            environment={**prefect, **path},
        )
    )
    if settings.alarms.notify_file is not None or settings.alarms.mqtt.host:
        found.append(
            Part(
                "watch",
                (*cli, "watch"),
                probe=f"pulse://{pulse_name(settings, 'watch')}",
                after=("api",),
            )
        )
    return tuple(found)


def owner_status_url(settings: Settings) -> str:
    """Return where the owner of this machine tells its state."""
    return f"http://{netloc(settings.owner.host, settings.owner.port)}/status"


def latest_url(settings: Settings) -> str:
    """Return where the read service of this machine tells of the newest frame."""
    return f"http://{netloc(settings.api.host, settings.api.port)}/api/v1/latest"


def _prepend(first: str, rest: str | None) -> str:
    return first if not rest else f"{first}{os.pathsep}{rest}"
