"""A real INDIGO server imports our simulator and passes its images on.

Runs only when ``ALLSKY360_REAL_INDIGO`` names an ``indigo_server`` binary.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from allsky360.simulator.server import IndigoServer
from tests.simulator.simulator_helpers import CAMERA, FAST, GradientSource

BINARY = os.environ.get("ALLSKY360_REAL_INDIGO", "")  # read before the fixtures clean it away

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BINARY, reason="ALLSKY360_REAL_INDIGO names no indigo_server"),
]


class XmlPeer:
    """A raw XML client of the real server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.heard = ""
        self._news = asyncio.Event()

    async def __aenter__(self) -> XmlPeer:
        for _ in range(50):
            try:
                self._reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
                break
            except OSError:
                await asyncio.sleep(0.1)
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        self.writer.close()

    async def _listen(self) -> None:
        while data := await self._reader.read(65536):
            self.heard += data.decode(errors="replace")
            self._news.set()

    def send(self, xml: str) -> None:
        self.writer.write(xml.encode())

    async def until(self, pattern: str, after: int = 0) -> re.Match[str]:
        async with asyncio.timeout(15):
            while not (found := re.compile(pattern, re.DOTALL).search(self.heard, after)):
                self._news.clear()
                await self._news.wait()
        return found


@pytest_asyncio.fixture
async def server() -> AsyncIterator[IndigoServer]:
    async with IndigoServer(GradientSource(), timing=FAST) as running:
        yield running


@pytest_asyncio.fixture
async def relay(
    server: IndigoServer, free_port: Callable[[], int], tmp_path: Path
) -> AsyncIterator[int]:
    port = free_port()
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": f"{Path(BINARY).parent}:{Path(BINARY).parent.parent / 'lib'}",
        "HOME": str(tmp_path),
    }
    process = await asyncio.create_subprocess_exec(
        BINARY, "--do-not-fork", "-b-", "-p", str(port), "-r", f"localhost:{server.port}",
        env=environment, cwd=tmp_path,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    yield port
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()


async def test_a_real_server_relays_images_byte_by_byte(server: IndigoServer, relay: int) -> None:
    remote = f"{CAMERA} @ localhost:{server.port}"
    async with XmlPeer(relay) as peer:
        for _ in range(30):
            peer.send("<getProperties version='1.7' client='test' switch='2.0'/>\n")
            await asyncio.sleep(0.3)
            if f"device='{remote}' name='CONNECTION'" in peer.heard.replace('"', "'"):
                break
        device = f"device='{remote}'"
        peer.send(
            f"<newSwitchVector {device} name='CONNECTION'>\n"
            "<oneSwitch name='CONNECTED'>On</oneSwitch>\n</newSwitchVector>\n"
        )
        await peer.until(r"<def\w+ [^>]*name=.CCD_IMAGE.")
        peer.send(f"<enableBLOB {device} name='CCD_IMAGE'>URL</enableBLOB>\n")
        peer.send(
            f"<newSwitchVector {device} name='CCD_IMAGE_FORMAT'>\n"
            "<oneSwitch name='RAW'>On</oneSwitch>\n</newSwitchVector>\n"
        )
        for _ in range(3):
            await asyncio.sleep(0.3)
            mark = len(peer.heard)
            peer.send(
                f"<newNumberVector {device} name='CCD_EXPOSURE'>\n"
                "<oneNumber name='EXPOSURE'>0.2</oneNumber>\n</newNumberVector>\n"
            )
            found = await peer.until(r"<oneBLOB[^>]*(?:path|url)=['\"]([^'\"]+)['\"]", after=mark)
            await peer.until(r"name=.CCD_EXPOSURE.[^>]*state=.Ok.", after=found.end() - 1)
            url = found[1] if found[1].startswith("http") else f"http://127.0.0.1:{relay}{found[1]}"
            async with httpx.AsyncClient() as http:
                data = (await http.get(url)).content
            ours = server.blobs.get(server.camera.image_url)
            assert ours is not None
            assert data == ours.data
            assert data.startswith(b"RAW2")
