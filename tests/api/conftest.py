"""A real archive, written by the real writers, and the service over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from allsky360.api.app import create_app
from allsky360.archive import FrameRef, ProcessedWriter, RawWriter
from allsky360.config import ApiSettings, OwnerSettings, Settings, SiteSettings, StorageSettings
from allsky360.model import Bracket, Exposure, Site

DEVICE = "ZWO ASI294MC #1"
SLUG = "zwo-asi294mc-1"
HEIGHT, WIDTH = 96, 144
DUSK = datetime(2026, 11, 22, 20, 0, 0, 123456, tzinfo=UTC)


def draw_sky(seed: int, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """Return a plausible all-sky picture as JPEG: a dark disc with a glow and stars."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = np.hypot(x - width / 2, y - height / 2) / (height / 2)
    sky = np.stack([60 + 25 * radius, 42 + 22 * radius, 30 + 25 * radius], axis=-1)
    for _ in range(height * width // 600):
        angle, distance = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 0.94))
        at = (
            int(width / 2 + height / 2 * distance * np.cos(angle)),
            int(height / 2 + height / 2 * distance * np.sin(angle)),
        )
        colour = [float(v) for v in rng.integers(150, 256, 3)]
        cv2.circle(sky, at, int(rng.integers(0, 2)), colour, -1, cv2.LINE_AA)
    sky[radius > 1] = 4
    noisy = np.clip(sky + rng.normal(0, 2, sky.shape), 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 92])[1])


@dataclass
class House:
    """An archive that tests fill frame by frame."""

    root: Path
    site: Site
    device: str = DEVICE
    brackets: dict[FrameRef, Bracket] = field(default_factory=dict)
    _writer: RawWriter | None = None

    def capture(
        self,
        when: datetime,
        exposures_s: tuple[float, ...] = (10.0,),
        size: tuple[int, int] = (HEIGHT, WIDTH),
        pixels: NDArray[np.uint16] | None = None,
        **scalars: float,
    ) -> FrameRef:
        """Store one bracket as the owner does; of noise where no pixels are given."""
        if self._writer is None:
            self._writer = RawWriter(self.root, self.device, self.site)
        rng = np.random.default_rng(int(when.timestamp()))
        shots, start = [], when
        for exposure_s in exposures_s:
            shots.append(
                Exposure(
                    pixels=rng.integers(0, 65536, size, dtype=np.uint16)
                    if pixels is None
                    else pixels,
                    pattern="RGGB",
                    start=start,
                    exposure_s=exposure_s,
                    gain=120.0,
                    offset=8.0,
                    temperature_c=-9.5,
                    camera=self.device,
                )
            )
            start += timedelta(seconds=exposure_s)
        bracket = Bracket(tuple(shots))
        ref = self._writer.append(bracket, {"level": 0.12, **scalars})
        self.brackets[ref] = bracket
        return ref

    def process(self, ref: FrameRef, *, picture: bytes | None = None, **scalars: float) -> FrameRef:
        """Store one processed frame as a Dask worker does."""
        bracket = self.brackets[ref]
        ProcessedWriter(self.root, ref.camera, ref.night).write(
            ref,
            time=bracket.start,
            linear=np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.float32),
            picture_jpeg=picture or draw_sky(ref.index),
            scalars={"background_green": 0.05 + ref.index / 1000, **scalars},
            provenance={"software": "test", "steps": ["a", "b"]},
        )
        return ref

    def shoot(self, when: datetime, exposures_s: tuple[float, ...] = (10.0,)) -> FrameRef:
        """Capture and process."""
        return self.process(self.capture(when, exposures_s))

    def close(self) -> None:
        """Let go of the writer."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


@pytest.fixture
def house(tmp_path: Path, site: Site) -> Iterator[House]:
    made = House(tmp_path / "archive", site)
    yield made
    made.close()


@pytest.fixture
def settings(house: House, free_port: Callable[[], int]) -> Settings:
    s = house.site
    return Settings(
        site=SiteSettings(
            name=s.name,
            latitude_deg=s.latitude_deg,
            longitude_deg=s.longitude_deg,
            elevation_m=s.elevation_m,
        ),
        storage=StorageSettings(root=house.root),
        api=ApiSettings(port=free_port()),
        owner=OwnerSettings(port=free_port()),
    )


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The service without its watcher: what requests alone can do."""
    transport = httpx.ASGITransport(create_app(settings), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as made:
        yield made


@contextmanager
def another_camera(house: House, device: str) -> Iterator[House]:
    """A second camera in the same archive."""
    other = House(house.root, house.site, device)
    try:
        yield other
    finally:
        other.close()
