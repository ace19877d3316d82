"""Catch-up on real parts: a real archive, the real chain, a real cluster of one process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import flows.pending as flow_module
from allsky360.archive import Archive, FrameRef, RawWriter
from allsky360.cluster import make_cluster
from allsky360.config import Settings, SiteSettings
from allsky360.model import Bracket, Exposure, Site
from tasks.pending import failures_of, process_batch

pytestmark = pytest.mark.slow


@pytest.fixture
def stored(settings: Settings, site: Site) -> list[FrameRef]:
    """Three raw frames that nobody processed."""
    rng = np.random.default_rng(7)
    start = datetime(2026, 11, 22, 22, tzinfo=UTC)
    writer = RawWriter(settings.storage.root, "Test Cam", site)
    try:
        return [
            writer.append(
                Bracket(
                    (
                        Exposure(
                            pixels=rng.integers(900, 1200, (96, 128)).astype(np.uint16),
                            pattern="RGGB",
                            start=start + timedelta(seconds=12 * n),
                            exposure_s=10.0,
                            gain=0.0,
                            camera="Test Cam",
                        ),
                    )
                ),
                {},
            )
            for n in range(3)
        ]
    finally:
        writer.close()


@pytest.fixture
def resident(settings: Settings) -> Iterator[Settings]:
    with make_cluster(settings.dask):
        yield settings.model_copy(
            update={"site": SiteSettings(name="x", latitude_deg=28.8, longitude_deg=-17.9)}
        )


def test_stored_frames_get_their_pictures(
    resident: Settings, stored: list[FrameRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_module, "load_settings", lambda: resident)
    monkeypatch.setattr(flow_module, "process_batch", process_batch.fn)
    archive = Archive(resident.storage.root)
    camera, night = stored[0].camera, stored[0].night
    assert archive.unprocessed(camera, night) == stored

    state = flow_module.process_pending.fn(batch_size=2)

    assert state.type.value == "COMPLETED", state.message
    assert state.message == "3 frame(s) processed"
    assert Archive(resident.storage.root).unprocessed(camera, night) == []
    for ref in stored:
        picture = archive.picture(ref)
        assert picture is not None
        assert picture.stat().st_size > 0
    assert failures_of(resident).due("any", datetime.now(UTC))
    assert flow_module.process_pending.fn().message == "nothing pending"
