"""Our owner on Debian's real ``indiserver`` with its CCD simulator (package indi-bin)."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from allsky360.archive import Archive, verify_night
from allsky360.archive.raw import RawWriter
from allsky360.camera.errors import ExposureAborted
from allsky360.camera.indigo import list_cameras
from allsky360.camera.servers import camera_of, dialect_of
from allsky360.clock import REAL_CLOCK
from allsky360.config import CameraSettings, Settings
from allsky360.model import Site
from allsky360.owner.loop import Owner

DEVICE = "CCD Simulator"
EXPOSURES = 50

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("indi_simulator_ccd") is None,
        reason="Debian's indiserver is not here: apt-get install indi-bin",
    ),
]


class IndiServer:
    """A real server that can be killed and started again on the same port."""

    def __init__(self, port: int, home: Path) -> None:
        self.port, self.home = port, home
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                "indiserver",
                "-p",
                str(self.port),
                "-u",
                str(self.home / "sock"),
                "indi_simulator_ccd",
            ],
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture
def server(free_port: Callable[[], int], tmp_path: Path) -> IndiServer:
    return IndiServer(free_port(), tmp_path)


async def listening(port: int) -> None:
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise AssertionError("indiserver does not listen")


@pytest.mark.timeout(120)
async def test_a_camera_is_listed_exposed_and_aborted(server: IndiServer) -> None:
    server.start()
    try:
        await listening(server.port)
        (info,) = await list_cameras(
            "127.0.0.1", server.port, connect=True, speak=dialect_of("indi")
        )
        assert info.device == DEVICE
        can = info.capabilities
        assert (can.width, can.height, can.bits_per_pixel) == (1280, 1024, 16)
        assert can.exposure_s == (0.01, 3600.0)
        assert can.has_cooler
        settings = CameraSettings(
            protocol="indi", device=DEVICE, roi=(100, 60, 640, 480), binning=2
        )
        camera = camera_of("127.0.0.1", server.port, settings, REAL_CLOCK)
        await camera.open()
        exposure = await camera.expose(0.5, gain=50.0)
        assert exposure.pixels.shape == (240, 320)
        assert (exposure.exposure_s, exposure.gain, exposure.binning) == (0.5, 50.0, 2)
        assert abs(exposure.start - datetime.now(UTC)) < timedelta(seconds=30)
        assert exposure.metadata["source"] == f"indi://127.0.0.1:{server.port}/{DEVICE}"
        running = asyncio.create_task(camera.expose(20.0))
        await asyncio.sleep(0.5)
        await camera.abort()
        with pytest.raises(ExposureAborted):
            await running
        dark = await camera.expose(0.1, frame_type="dark")
        assert dark.frame_type == "dark"
        await camera.close()
    finally:
        server.kill()


@pytest.mark.timeout(240)
async def test_every_exposure_of_fifty_is_kept_though_the_server_is_killed_twice(
    server: IndiServer, tmp_path: Path, site: Site
) -> None:
    root = tmp_path / "data"
    period = {"min_exposure_s": 0.1, "max_exposure_s": 0.1}
    settings = Settings(
        storage={"root": root, "min_free_gb": 0.0},  # type: ignore[arg-type]
        camera={"protocol": "indi", "device": DEVICE, "roi": (0, 0, 320, 240)},  # type: ignore[arg-type]
        exposure={"day": period, "twilight": period, "night": period},  # type: ignore[arg-type]
        capture={"retries": 100, "retry_delay_s": 0.2},  # type: ignore[arg-type]
    )
    owner = Owner(
        settings,
        site,
        REAL_CLOCK,
        lambda: camera_of("127.0.0.1", server.port, settings.camera, REAL_CLOCK),
        lambda name: RawWriter(root, name, site),
    )
    server.start()
    announced: list[tuple[str, int]] = []
    kills = [EXPOSURES // 3, 2 * EXPOSURES // 3]
    await owner.start()
    try:
        burst = owner.begin_burst(datetime.now(UTC) + timedelta(seconds=200), "fifty")
        async for event in owner.events(burst):
            if event["event"] != "bracket":
                continue
            announced.append((event["night"], event["index"]))
            if kills and len(announced) >= kills[0]:
                kills.pop(0)
                server.kill()
                await asyncio.sleep(0.5)
                server.start()
            if len(announced) >= EXPOSURES:
                break
    finally:
        await owner.stop()
        server.kill()
    assert not kills
    archive = Archive(root)
    stored = [
        (f.ref.night.isoformat(), f.ref.index)
        for night in archive.nights("ccd-simulator")
        for f in archive.frames("ccd-simulator", night)
    ]
    assert set(announced) <= set(stored)
    assert len(announced) >= EXPOSURES
    for night in archive.nights("ccd-simulator"):
        found = verify_night(root / "ccd-simulator" / night.isoformat())
        assert not [p for p in found if p.severity == "error"]
    assert owner.state.fault_counts["server-gone"] >= 2
