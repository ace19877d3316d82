"""Our client against the real INDIGO server and its CCD simulator.

Needs ``ALLSKY360_REAL_INDIGO`` = path of an ``indigo_server`` binary (its drivers beside it or in
the loader's path), built outside this repository.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from allsky360.camera.errors import ExposureAborted, ForeignUse, ServerGone, UnknownDevice
from allsky360.camera.indigo import IndigoCamera, list_cameras
from allsky360.config import CameraSettings, CoolerSettings

BINARY = os.environ.get("ALLSKY360_REAL_INDIGO", "")
DEVICE = "CCD Imager Simulator"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not BINARY, reason="ALLSKY360_REAL_INDIGO does not name an indigo_server binary"
    ),
]


@contextmanager
def indigo_server(port: int, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    folder = str(Path(BINARY).parent)
    environment = os.environ | {
        "LD_LIBRARY_PATH": f"{folder}:{folder}/../lib:{folder}/../drivers",
        "HOME": str(home),  # the server keeps its configuration there
    }
    process = subprocess.Popen(
        [BINARY, "--do-not-fork", "-p", str(port), "-b-", "indigo_ccd_simulator"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


async def opened(port: int, **settings: object) -> IndigoCamera:
    """Open the camera; the server needs a moment to start."""
    camera = IndigoCamera("127.0.0.1", port, DEVICE, CameraSettings(**settings))  # type: ignore[arg-type]
    for _ in range(20):
        try:
            await camera.open()
            return camera
        except (ServerGone, UnknownDevice):
            await asyncio.sleep(0.5)
    await camera.open()
    return camera


@pytest.mark.parametrize("image_format", ["RAW", "FITS"])
async def test_twenty_exposures(
    tmp_path: Path, free_port: Callable[[], int], image_format: str
) -> None:
    port = free_port()
    with indigo_server(port, tmp_path):
        camera = await opened(port, image_format=image_format)
        ends = []
        for number in range(20):
            wanted = 0.05 + 0.05 * (number % 4)
            exposure = await camera.expose(wanted, gain=10.0 * number)
            assert exposure.pixels.shape == (1200, 1600)
            assert exposure.pixels.dtype == np.uint16
            assert exposure.exposure_s == pytest.approx(wanted)
            assert exposure.gain == 10.0 * number
            assert not ends or exposure.start >= ends[-1]
            ends.append(exposure.end)
            if image_format == "FITS":
                cards = exposure.metadata["cards"]
                assert cards["EXPTIME"] == pytest.approx(wanted, abs=1e-4)
                stamp = datetime.fromisoformat(cards["DATE-OBS"]).replace(tzinfo=UTC)
                assert abs(stamp - exposure.start) < timedelta(seconds=5)
        await camera.close()


async def test_settings_reach_the_camera(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    with indigo_server(port, tmp_path):
        camera = await opened(
            port, binning=2, roi=(101, 51, 641, 480), offset=12, bits_per_pixel=16,
            cooler=CoolerSettings(enabled=True, target_c=5),
        )  # fmt: skip
        exposure = await camera.expose(0.1, frame_type="dark")
        assert exposure.pixels.shape == (240, 320)
        assert (exposure.binning, exposure.offset, exposure.frame_type) == (2, 12, "dark")
        bias = await camera.expose(3.0, frame_type="bias")
        assert bias.exposure_s < 1
        await camera.close()
        (found,) = [c for c in await list_cameras("127.0.0.1", port) if c.device == DEVICE]
        assert found.connected
        assert found.capabilities.has_cooler
        assert found.capabilities.exposure_s is not None


async def test_abort_foreign_use_and_server_kill(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    with indigo_server(port, tmp_path) as process:
        camera, other = await opened(port), await opened(port)
        running = asyncio.create_task(camera.expose(20))
        await asyncio.sleep(0.5)
        with pytest.raises(ForeignUse):
            await other.expose(1)
        await camera.abort()
        with pytest.raises(ExposureAborted):
            await running
        assert (await camera.expose(0.1)).exposure_s == pytest.approx(0.1)
        running = asyncio.create_task(camera.expose(20))
        await asyncio.sleep(0.5)
        process.send_signal(signal.SIGKILL)
        with pytest.raises(ServerGone):
            await running
        with pytest.raises(ServerGone):
            await camera.open()
    with indigo_server(port, tmp_path):
        for attempt in range(20):
            try:
                await camera.open()
                break
            except (ServerGone, UnknownDevice):
                assert attempt < 19
                await asyncio.sleep(0.5)
        assert (await camera.expose(0.1)).pixels.shape == (1200, 1600)
        await camera.close()
        await other.close()


async def test_colour_of_the_dslr(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    with indigo_server(port, tmp_path):
        await (await opened(port)).close()
        camera = IndigoCamera("127.0.0.1", port, "DSLR Simulator", CameraSettings())
        await camera.open()
        exposure = await camera.expose(0.5)
        assert exposure.pixels.shape == (1200, 1600, 3)
        assert exposure.pattern is None
        await camera.close()
