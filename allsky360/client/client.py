"""The client."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from allsky360.client.events import follow
from allsky360.client.http import TIMEOUT_S, Http
from allsky360.client.records import Event, Frame, Night, Product, Transient
from allsky360.client.tables import cells_array, light_curve_dataset, series_dataset

if TYPE_CHECKING:
    import xarray as xr

API = "/api/v1"


class Client:
    """Reads one service; use it as a context, or :meth:`close` it.

    Parameters
    ----------
    url
        Where the service is.
    token
        For a service that asks for one.
    camera
        Name or slug; None: the one with the newest frame.
    timeout_s
        Longest silence before :class:`ServiceError`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8360",
        *,
        token: str | None = None,
        camera: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.http = Http(url, token, timeout_s)
        self.camera = camera

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self.http.client.close()

    # -- records ------------------------------------------------------------------------------

    def cameras(self) -> list[str]:
        """Slugs of the cameras."""
        return [c["slug"] for c in self.http.json(f"{API}/cameras")["cameras"]]

    def nights(self, start: date | None = None, end: date | None = None) -> Iterator[Night]:
        """Yield nights, newest first."""
        for page in self._pages(f"{API}/nights", start=start, end=end):
            yield from map(Night.read, page["nights"])

    def frames(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        order: Literal["oldest", "newest"] = "oldest",
        where: str | None = None,
        **filters: float | bool | None,
    ) -> Iterator[Frame]:
        """Yield frames, whatever is captured meanwhile.

        Parameters
        ----------
        start, end
            UTC; ``end`` is exclusive.
        order
            Which come first.
        where
            Conditions on measurements, such as ``limiting_mag>=5.5,gain<200``.
        **filters
            Those of ``/frames``: ``sun_altitude_max=-18``, ``cloud_fraction_max=0.1``, …
        """
        given = {"start": start, "end": end, "order": order, "where": where, **filters}
        for page in self._pages(f"{API}/frames", limit=500, **given):
            yield from map(Frame.read, page["frames"])

    def frame(self, frame_id: str) -> Frame:
        """One frame by its id, ``2026-11-22/000017``."""
        found = self.http.json(f"{API}/frames/{frame_id}", {"camera": self.camera})
        return Frame.read(found)

    def latest(self) -> Frame:
        """Return the newest processed frame."""
        return Frame.read(self.http.json(f"{API}/latest", {"camera": self.camera}))

    def transients(
        self, start: datetime | None = None, end: datetime | None = None, **filters: Any
    ) -> Iterator[Transient]:
        """Yield transients, newest first; filters are those of ``/transients``."""
        for page in self._pages(f"{API}/transients", start=start, end=end, **filters):
            yield from map(Transient.read, page["transients"])

    def products(self, night: date) -> list[Product]:
        """Products of a night."""
        found = self.http.json(f"{API}/nights/{night}/products", {"camera": self.camera})
        return [Product.read(p) for p in found["products"]]

    def safety(self) -> dict[str, Any]:
        """``verdict``, ``is_safe``, ``reason`` and ``age_s``; treat unknown as unsafe."""
        return dict(self.http.json(f"{API}/safety", {"camera": self.camera}))

    def ephemeris(self, time: datetime | None = None) -> dict[str, Any]:
        """Sun, Moon and planets at a time, or now."""
        return dict(self.http.json(f"{API}/ephemeris", {"time": time}))

    def events(self, after: str | None = None) -> Iterator[Event]:
        """Follow what happens, for ever; comes back by itself after a cut, and misses nothing."""
        yield from follow(self.http, after)

    # -- pictures and pixels ------------------------------------------------------------------

    def picture(self, frame: Frame, **how: Any) -> bytes:
        """Return a picture: as stored, or as ``width``, ``format``, ``overlay``, … ask."""
        return self._part(frame, "picture", **how)

    def raw(self, frame: Frame, exposure: int = 0) -> bytes:
        """One raw exposure as a FITS file."""
        return self._part(frame, "raw.fits", exposure=exposure)

    def download(self, product: Product, path: str | None = None) -> bytes:
        """One file of a product; the main one where none is named."""
        for file in product.files:
            if file["path"] == path or (path is None and file["role"] == "main"):
                return self.http.get(file["href"]).content
        raise KeyError(path or "main")

    # -- numbers ------------------------------------------------------------------------------

    def series(
        self,
        variables: Sequence[str],
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        points: int = 500_000,
    ) -> xr.Dataset:
        """Measurements along ``time``, with units; every frame's unless ``points`` is less."""
        given = {"variables": variables, "start": start, "end": end, "points": points}
        reply = self.http.get(f"{API}/series", {**given, "camera": self.camera, "format": "arrow"})
        return series_dataset(io.BytesIO(reply.content))

    def light_curve(
        self, hip: int, start: datetime | None = None, end: datetime | None = None
    ) -> xr.Dataset:
        """One star along ``time``: ``flux``, ``flux_sigma``, ``loss_mag``, ``flags``."""
        given = {"start": start, "end": end, "points": 20_000, "camera": self.camera}
        return light_curve_dataset(self.http.json(f"{API}/stars/{hip}", given))

    def sky_map(self, frame: Frame, name: str) -> xr.DataArray:
        """Return ``clouds``, ``cloud-chance``, ``transparency`` or ``brightness`` by sky cell."""
        parameters = {"camera": frame.camera}
        return cells_array(self.http.json(f"{API}/frames/{frame.id}/maps/{name}", parameters))

    def open_night(self, night: date, store: str = "v0001.zarr") -> xr.Dataset:
        """Open a night's store; pixels and numbers are fetched when they are looked at."""
        import xarray as xr

        camera = self.camera or self.latest().camera
        options = {"headers": self.http.headers}
        opened: xr.Dataset = xr.open_zarr(
            f"{self.http.url}/zarr/{camera}/{night}/{store}", storage_options=options
        )
        return opened

    # -- inside -------------------------------------------------------------------------------

    def _part(self, frame: Frame, part: str, **how: Any) -> bytes:
        given = {"camera": frame.camera, **how}
        return self.http.get(f"{API}/frames/{frame.id}/{part}", given).content

    def _pages(self, path: str, **given: Any) -> Iterator[dict[str, Any]]:
        page = self.http.json(path, {**given, "camera": self.camera})
        yield page
        while following := page["links"]["next"]:
            page = self.http.json(following)
            yield page
