"""The simulator on the wire, driven by raw clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
import pytest_asyncio

from allsky360.simulator.server import IndigoServer, SimulatorError
from tests.simulator.simulator_helpers import CAMERA, FAST, GradientSource, JsonClient, values


@pytest_asyncio.fixture
async def server() -> AsyncIterator[IndigoServer]:
    async with IndigoServer(GradientSource(), timing=FAST) as running:
        yield running


async def fetch(server: IndigoServer, url: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
        return await http.get(url)


async def test_definitions_before_and_after_connect(server: IndigoServer) -> None:
    async with JsonClient(server.port) as client:
        client.get()
        await client.until(lambda: client.vectors("CONNECTION", "def"))
        names = [b["name"] for m in client.messages for b in m.values() if b["device"] == CAMERA]
        assert names[-1] == "CONNECTION"
        assert values(client.vectors("INFO", "def")[-1])["DEVICE_INTERFACE"] == "2"
        assert client.vectors("CCD_EXPOSURE", "def") == []

        mark = len(client.messages)
        client.new("Switch", "CONNECTION", CONNECTED=True)
        await client.heard("CONNECTION", "Ok", mark)
        kinds = [next(iter(m)) for m in client.messages[mark:]]
        assert kinds[0] == kinds[-1] == "setSwitchVector"
        assert all(kind.startswith("def") for kind in kinds[1:-1])
        definition = client.vectors("CCD_EXPOSURE", "def")[0]
        assert list(definition) == [
            "version", "device", "name", "group", "label", "perm", "state", "items"
        ]  # fmt: skip
        assert list(definition["items"][0]) == [
            "name", "label", "min", "max", "step", "format", "target", "value"
        ]  # fmt: skip
        image = client.vectors("CCD_IMAGE", "def")[0]
        assert "perm" not in image
        assert "value" not in image["items"][0]
        assert "target" not in client.vectors("CCD_INFO", "def")[0]["items"][0]
        assert b"\n" not in client.raw


async def test_an_exposure_runs_as_on_a_real_camera(server: IndigoServer) -> None:
    async with JsonClient(server.port) as client:
        await client.connect()
        mark = len(client.messages)
        await client.expose(1.2)
        story = [
            (b["name"], b["state"], b["items"][0].get("value"))
            for m in client.messages[mark:]
            for b in m.values()
        ]
        assert story[0] == ("CCD_EXPOSURE", "Busy", 1.2)
        assert story[1] == ("CCD_IMAGE", "Busy", None)
        assert [s[2] for s in story[2:-2]] == [2, 1, 0]
        assert story[-2][:2] == ("CCD_IMAGE", "Ok")
        assert story[-2][2].startswith("/blob/0x")
        assert story[-1] == ("CCD_EXPOSURE", "Ok", 0)
        assert client.vectors("CCD_EXPOSURE")[-1]["items"][0]["target"] == 1.2


async def test_raw_image_holds_the_pixels(server: IndigoServer) -> None:
    async with JsonClient(server.port) as client:
        await client.connect()
        client.new("Switch", "CCD_IMAGE_FORMAT", RAW=True)
        await client.expose()
        url = client.image_url()
        assert url.endswith(".raw")
        reply = await fetch(server, url)
        data = reply.content
        assert reply.headers["content-length"] == str(len(data)) == "6181"
        assert data[:4] == b"RAW2"
        assert np.frombuffer(data, "<u4", 2, 4).tolist() == [64, 48]
        pixels = np.frombuffer(data, "<u2", 64 * 48, 12).reshape(48, 64)
        assert pixels[7, 3] == 1000 + 257 * 3 + 7
        assert data[12 + 6144 :] == b"SIMPLE=T;BAYERPAT='GRBG';"


async def test_port_in_use_is_one_clear_error(server: IndigoServer) -> None:
    with pytest.raises(SimulatorError, match=rf"127.0.0.1:{server.port}: the port is in use"):
        await IndigoServer(GradientSource(), port=server.port).start()
    await asyncio.sleep(0)
