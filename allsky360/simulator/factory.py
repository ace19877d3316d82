"""From settings to a frame source and a server."""

from __future__ import annotations

from allsky360.clock import Clock
from allsky360.config import Settings, site_from
from allsky360.model import Site
from allsky360.simulator.demo import night_site_now
from allsky360.simulator.server import IndigoServer
from allsky360.simulator.source import ExposureRequest, FrameSource


def create_source(settings: Settings, site: Site, clock: Clock) -> FrameSource:
    """Return what the simulated camera sees: replayed frames when a folder is set, else the sky.

    Raises
    ------
    ReplayError
        When the folder holds no frame we can read.
    """
    s = settings.simulator
    if s.replay_dir is not None:
        from allsky360.simulator.replay import ReplaySource

        return ReplaySource(s.replay_dir)
    from allsky360.simulator.sky import SkySource

    return SkySource.from_settings(settings, site)


def create_server(settings: Settings, site: Site, clock: Clock) -> IndigoServer:
    """Return the server that the settings describe, not yet listening.

    The sky's first frame takes seconds (catalogue, lens maps); it is made before anyone asks.
    """
    s = settings.simulator
    source = create_source(settings, site, clock)

    def first_frame() -> None:
        source.expose(ExposureRequest(start=clock.now(), exposure_s=0.001))

    return IndigoServer(
        source,
        clock,
        host=s.host,
        port=s.port,
        truth_dir=s.truth_dir,
        warm_up=first_frame if s.replay_dir is None else None,
    )


def site_or_demo(settings: Settings, clock: Clock) -> tuple[Site, bool]:
    """Return the site of the settings, or one where it is night now; True when it is the latter."""
    if settings.site.latitude_deg is None or settings.site.longitude_deg is None:
        return night_site_now(clock.now()), True
    return site_from(settings), False
