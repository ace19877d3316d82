"""What every request needs, in one object: settings, archive, caches, the live feed."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import Depends
from starlette.requests import HTTPConnection

from allsky360.api.condition import stale_after_s
from allsky360.api.counts import Counts
from allsky360.api.feed import Feed
from allsky360.api.index.night import NightIndex
from allsky360.api.owner_status import OwnerProbe
from allsky360.api.pictures import EncodedCache
from allsky360.api.problems import Busy, NotFound, NothingCaptured
from allsky360.api.security.guard import VIEWER
from allsky360.api.security.privacy import coarse, rounded_site
from allsky360.api.store import FrameInfo, Store
from allsky360.api.watch import Watcher
from allsky360.clock import Clock
from allsky360.config import Settings, clock_from, site_from
from allsky360.errors import SettingsError
from allsky360.model import Site
from allsky360.net import netloc
from allsky360.sky.lens_file import LensFile, read_lens

T = TypeVar("T")

HEAVY_AT_ONCE = 2
"""Pictures and FITS files made at the same time; the rest wait."""
WAITING_AT_MOST = 128
DOWNLOADS_AT_ONCE = 8
"""FITS answers under way: each holds one exposure in memory until its reader has it."""


@dataclass
class Load:
    """What is under way, of all requests together."""

    downloads: int = 0
    streams: int = 0
    heavy: anyio.CapacityLimiter | None = None


@dataclass
class Service:
    """What routers read from; they get it through :data:`ServiceDep`.

    There are two of an application over the same archive: one for those who may know where the
    camera stands, and one whose site is rounded (``exact`` False).
    """

    settings: Settings
    store: Store
    clock: Clock
    site: Site | None
    owner: OwnerProbe
    watcher: Watcher
    feed: Feed
    pictures: EncodedCache = field(default_factory=EncodedCache)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    load: Load = field(default_factory=Load)
    counts: Counts = field(default_factory=Counts)
    exact: bool = True

    @property
    def stale_after_s(self) -> float:
        """Age at which the newest frame is stale."""
        return stale_after_s(self.settings)

    async def light(self, work: Callable[[], T]) -> T:
        """Run a look at files in a thread, so that a slow disk holds nobody else up."""
        return await anyio.to_thread.run_sync(work)

    async def drawn(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return an encoded picture: kept, or made now."""
        kept = self.pictures.find(key)
        if kept is not None:
            return kept
        return await self.heavy(lambda: self.pictures.get(key, make))

    async def heavy(self, work: Callable[[], T]) -> T:
        """Run costly blocking work in a thread, few at a time.

        Raises
        ------
        Busy
            Too many wait already: they would hang up before it is their turn.
        """
        if self.load.heavy is None:  # a limiter belongs to a running event loop
            self.load.heavy = anyio.CapacityLimiter(HEAVY_AT_ONCE)
        if self.load.heavy.statistics().tasks_waiting >= WAITING_AT_MOST:
            raise Busy(
                f"{WAITING_AT_MOST} pictures, files and tables wait to be made already.",
                mend="Try again shortly.",
            )
        return await anyio.to_thread.run_sync(work, limiter=self.load.heavy)

    def site_of(self, camera: str, night: date) -> Site | None:
        """Where the camera stood that night, as the archive says; else the settings' site."""
        found = self.store.site(camera, night)
        if found is None:
            return self.site
        return found if self.exact else rounded_site(found, self.step_deg)

    @property
    def step_deg(self) -> float:
        """Step the site is rounded to for those who may not know it."""
        return self.settings.api.public_location_deg

    def shown(self, name: str, value: float) -> float:
        """Return a measurement as whoever asks may see it."""
        return value if self.exact else coarse(name, value, self.step_deg)

    def for_public(self) -> Service:
        """Return the same service for those who may not know where the camera stands."""
        site = None if self.site is None else rounded_site(self.site, self.step_deg)
        return replace(self, site=site, exact=False)

    def need_site(self) -> Site:
        """Return the site; refuse while it is not set."""
        if self.site is None:
            raise NotFound(
                "The site is not set.", mend="Set site.latitude_deg and site.longitude_deg."
            )
        return self.site

    def lens_file(self, path: Path) -> LensFile:
        """Read one of the camera's lens files; kept until it changes."""
        return _lens_file(path, path.stat().st_mtime_ns)

    def begin_download(self) -> None:
        """Count a download in, or refuse it: memory stays bounded whatever readers do."""
        if self.load.downloads >= DOWNLOADS_AT_ONCE:
            raise Busy(
                f"{DOWNLOADS_AT_ONCE} raw files are being sent already.", mend="Try again shortly."
            )
        self.load.downloads += 1

    def end_download(self) -> None:
        """Count a download out."""
        self.load.downloads -= 1

    def camera(self, wanted: str | None) -> str | None:
        """Return the slug of the wanted camera, of the one with the newest frame, or None.

        A name is only ever compared with those the archive lists: it never becomes a path.
        """
        known = self.store.cameras()
        if wanted is None:
            if len(known) < 2:
                return known[0] if known else None
            newest = self.store.newest()
            return newest.camera if newest else known[0]
        slug = self.store.slug(wanted)
        if slug not in known:
            names = ", ".join(known) or "none yet"
            raise NotFound(f"There is no camera '{wanted}'.", mend=f"Cameras here: {names}.")
        return slug

    def need_camera(self, wanted: str | None) -> str:
        """Return the camera; refuse while the archive has none."""
        camera = self.camera(wanted)
        if camera is None:
            raise NothingCaptured(
                "The archive holds no frame yet.",
                mend="Frames appear here as soon as the camera owner has stored one.",
            )
        return camera

    def need_night(self, wanted: str | None, night: date) -> str:
        """Return the camera of a night; refuse a night that was not captured."""
        camera = self.camera(wanted)
        if camera is None or night not in self.store.nights(camera):
            raise NotFound(f"There is no night {night}.", mend="GET /api/v1/nights lists them.")
        return camera

    def need_numbers(self, camera: str, night: date) -> NightIndex:
        """Return the numbers of a night; refuse one that was not captured."""
        found = self.store.night(camera, night)
        if found is None:
            raise NotFound(f"There is no night {night}.", mend="GET /api/v1/nights lists them.")
        return found

    def need_frame(self, wanted: str | None, night: date, index: int) -> FrameInfo:
        """Return a frame; refuse one that does not exist."""
        camera = self.need_night(wanted, night)
        frame = self.store.frame(camera, night, index)
        if frame is None:
            raise NotFound(
                f"The night {night} has no frame {index}.",
                mend=f"GET /api/v1/nights/{night}/frames lists them.",
            )
        return frame


@lru_cache(maxsize=32)
def _lens_file(path: Path, changed: int) -> LensFile:
    return read_lens(path)


def open_service(settings: Settings) -> Service:
    """Build the service from the settings; a site that is not set only costs its numbers."""
    try:
        site: Site | None = site_from(settings)
    except SettingsError:
        site = None
    o = settings.owner
    store, feed, clock = Store(settings.storage.root), Feed(), clock_from(settings)
    owner = OwnerProbe(f"http://{netloc(o.host, o.port)}")
    return Service(
        settings=settings,
        store=store,
        clock=clock,
        site=site,
        owner=owner,
        watcher=Watcher(store, feed, owner, clock, stale_after_s(settings)),
        feed=feed,
    )


async def _service(request: HTTPConnection) -> Service:  # async: a plain one waits for a thread
    viewer = request.scope.get(VIEWER)
    state = request.app.state
    service: Any = state.service if viewer is None or viewer.exact else state.public_service
    assert isinstance(service, Service)
    return service


ServiceDep = Annotated[Service, Depends(_service)]


def utc_text(when: datetime) -> str:
    """Write an instant the way addresses carry it."""
    return when.isoformat().replace("+00:00", "Z")
