"""A short night of small made-up frames, and a cluster of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allsky360.archive import FrameRef, RawWriter
from allsky360.config import Settings, SiteSettings, StorageSettings
from allsky360.model import Bracket, Exposure, Site

EVENING = datetime(2026, 11, 13, 22, tzinfo=UTC)


def append_frames(root: Path, site: Site, first: int, count: int, days: int = 0) -> list[FrameRef]:
    """Store frames of noise over a sky that brightens: each tone depends on the one before."""
    writer = RawWriter(root, "Test Cam", site)
    refs = []
    try:
        for n in range(first, first + count):
            rng = np.random.default_rng(100 * days + n)
            level = 900 + 40 * n + 150 * (n % 3)
            pixels = rng.normal(level, 12, (96, 128)).clip(0, 65535).astype(np.uint16)
            start = EVENING + timedelta(days=days, seconds=30 * n)
            exposure = Exposure(pixels, "RGGB", start, 10.0, gain=0.0, camera="Test Cam", egain=1.0)
            refs.append(writer.append(Bracket((exposure,)), {}))
    finally:
        writer.close()
    return refs


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        storage=StorageSettings(root=tmp_path / "archive"),
        site=SiteSettings(name="x", latitude_deg=28.8, longitude_deg=-17.9),
    )


@pytest.fixture
def night(settings: Settings, site: Site) -> list[FrameRef]:
    return append_frames(settings.storage.root, site, 0, 4)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Callable[[int], Any]]:
    """Return a function that gives a client of so many single-threaded workers in threads."""
    from distributed import Client, LocalCluster

    made: dict[int, tuple[Any, Any]] = {}

    def give(workers: int) -> Any:
        if workers not in made:
            local = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=False,
                dashboard_address=":0",
                scheduler_port=0,
            )
            made[workers] = (local, Client(local, set_as_default=False))
        return made[workers][1]

    yield give
    for local, client in made.values():
        client.close()
        local.close()
