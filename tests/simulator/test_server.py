"""The simulator on the wire, driven by raw clients."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
import pytest_asyncio
from astropy.io import fits
from astropy.time import Time
from websockets.asyncio.client import connect

from allsky360.net import CannotListen
from allsky360.simulator.clients import QueueLimits
from allsky360.simulator.server import IndigoServer
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
    with pytest.raises(CannotListen, match=rf"127.0.0.1:{server.port} is in use"):
        await IndigoServer(GradientSource(), port=server.port).start()


async def test_fits_image_reads_with_astropy(server: IndigoServer) -> None:
    async with JsonClient(server.port) as client:
        await client.connect()
        client.new("Text", "CCD_SET_FITS_HEADER", KEYWORD="object", VALUE="'Zenith'")
        client.new("Number", "CCD_GAIN", GAIN=120)
        await client.expose(0.05)
        data = (await fetch(server, client.image_url())).content
    assert len(data) % 2880 == 0
    with fits.open(io.BytesIO(data)) as hdus:
        header, pixels = hdus[0].header, hdus[0].data
        hdus.verify("exception")
    assert pixels.shape == (48, 64)
    assert pixels[7, 3] == 1000 + 257 * 3 + 7
    assert pixels.max() == 1000 + 257 * 63 + 47
    shown = {k: header[k] for k in ("BAYERPAT", "XBAYROFF", "YBAYROFF", "IMAGETYP", "ROWORDER")}
    assert shown == {
        "BAYERPAT": "GRBG", "XBAYROFF": 1, "YBAYROFF": 0, "IMAGETYP": "Light",
        "ROWORDER": "TOP-DOWN",
    }  # fmt: skip
    assert header["EXPTIME"] == 0.05
    assert header["GAIN"] == 120
    assert header["OBJECT"] == "Zenith"
    start = datetime.fromisoformat(header["DATE-OBS"] + "+00:00")
    assert abs(start - datetime.now(UTC)) < timedelta(seconds=60)
    assert header["JD"] == pytest.approx(Time(start).jd, abs=1e-6)


async def test_abort_while_exposing_and_idle(server: IndigoServer) -> None:
    async with JsonClient(server.port) as client:
        await client.connect()
        mark = len(client.messages)
        client.new("Number", "CCD_EXPOSURE", EXPOSURE=60)
        await client.heard("CCD_IMAGE", "Busy", mark)
        mark = len(client.messages)
        client.new("Switch", "CCD_ABORT_EXPOSURE", ABORT_EXPOSURE=True)
        await client.heard("CCD_ABORT_EXPOSURE", "Ok", mark)
        story = [(b["name"], b["state"]) for m in client.messages[mark:] for b in m.values()]
        assert [s for s in story if s[0] != "CCD_TEMPERATURE"] == [
            ("CCD_ABORT_EXPOSURE", "Busy"), ("CCD_IMAGE", "Alert"), ("CCD_EXPOSURE", "Alert"),
            ("CCD_ABORT_EXPOSURE", "Ok"),
        ]  # fmt: skip
        mark = len(client.messages)
        client.new("Switch", "CCD_ABORT_EXPOSURE", ABORT_EXPOSURE=True)
        await client.heard("CCD_ABORT_EXPOSURE", "Alert", mark)
        await client.expose()


async def test_a_request_while_busy_is_ignored(server: IndigoServer) -> None:
    async with JsonClient(server.port) as client:
        await client.connect()
        client.new("Number", "CCD_EXPOSURE", EXPOSURE=0.5)
        client.new("Number", "CCD_EXPOSURE", EXPOSURE=0.01)
        done = await client.heard("CCD_EXPOSURE", "Ok")
        assert done["items"][0]["target"] == 0.5


async def test_bad_requests_are_dropped_silently(server: IndigoServer) -> None:
    async with JsonClient(server.port) as client:
        await client.connect()
        mark = len(client.messages)
        client.new("Number", "CCD_GAIN", device="Nobody", GAIN=1)
        client.new("Number", "NO_SUCH", GAIN=1)
        client.new("Number", "CCD_INFO", WIDTH=1)
        client.new("Switch", "CCD_GAIN", GAIN=True)
        client.send({"newBLOBVector": {"device": CAMERA, "name": "CCD_IMAGE", "items": []}})
        client.new("Number", "CCD_OFFSET", OFFSET=31)
        await client.heard("CCD_OFFSET", "Ok", mark)
        names = {b["name"] for m in client.messages[mark:] for b in m.values()}
        assert names <= {"CCD_OFFSET", "CCD_TEMPERATURE"}


async def test_definitions_are_broadcast_and_filtered(server: IndigoServer) -> None:
    async with JsonClient(server.port) as one, JsonClient(server.port) as two:
        await one.connect()
        two.get(device=CAMERA, name="CCD_GAIN")
        await two.until(lambda: two.vectors("CCD_GAIN", "def"))
        assert len(two.messages) == 1
        await one.until(lambda: len(one.vectors("CCD_GAIN", "def")) == 2)
        two.get(device="Server", name="NOPE")
        await two.until(lambda: [v for v in two.vectors("INFO", "def") if v["device"] == "Server"])


async def test_one_client_sees_what_another_does(server: IndigoServer) -> None:
    async with JsonClient(server.port) as one, JsonClient(server.port) as two:
        await one.connect()
        two.get()
        await two.until(lambda: two.vectors("CCD_IMAGE", "def"))
        await one.expose()
        ended = await two.heard("CCD_EXPOSURE", "Ok")
        assert ended == one.vectors("CCD_EXPOSURE")[-1]
        assert two.image_url() == one.image_url()
        two.new("Switch", "CONNECTION", DISCONNECTED=True)
        await one.until(lambda: one.vectors("CCD_EXPOSURE", "delete"))


async def test_disconnect_while_exposing_deletes_and_says_nothing_else(
    server: IndigoServer,
) -> None:
    async with JsonClient(server.port) as client:
        await client.connect()
        client.new("Number", "CCD_EXPOSURE", EXPOSURE=60)
        await client.heard("CCD_IMAGE", "Busy")
        mark = len(client.messages)
        client.new("Switch", "CONNECTION", DISCONNECTED=True)
        ended = await client.heard("CONNECTION", "Ok", mark)
        assert values(ended) == {"CONNECTED": False, "DISCONNECTED": True}
        deleted = [m["deleteProperty"]["name"] for m in client.messages if "deleteProperty" in m]
        assert {"CCD_EXPOSURE", "CCD_IMAGE", "CCD_TEMPERATURE"} <= set(deleted)
        assert not [v for v in client.vectors("CCD_EXPOSURE") if v["state"] == "Alert"]
        await client.connect()
        await client.expose()


async def test_the_url_is_constant_and_survives_abort_and_disconnect(server: IndigoServer) -> None:
    async with JsonClient(server.port) as client:
        await client.connect()
        client.new("Switch", "CCD_IMAGE_FORMAT", RAW=True)
        await client.expose()
        url = client.image_url()
        first = (await fetch(server, url)).content
        client.new("Number", "CCD_EXPOSURE", EXPOSURE=60)
        await client.heard("CCD_IMAGE", "Busy", len(client.messages))
        assert (await fetch(server, url)).content == first
        client.new("Switch", "CCD_ABORT_EXPOSURE", ABORT_EXPOSURE=True)
        await client.heard("CCD_EXPOSURE", "Alert")
        assert (await fetch(server, url)).content == first
        client.new("Switch", "CCD_IMAGE_FORMAT", FITS=True)
        await client.expose()
        assert client.image_url() == url.replace(".raw", ".fits")
        assert (await fetch(server, url + "?n=3")).content.startswith(b"SIMPLE")


async def test_http_like_indigo(server: IndigoServer) -> None:
    async with JsonClient(server.port) as client:
        await client.connect()
        await client.expose()
        url = client.image_url()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for _ in range(2):  # keep-alive, no Host header, HTTP/1.0 answered alike
        writer.write(f"GET {url} HTTP/1.0\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert b"Connection: keep-alive" in head
        length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        assert (await reader.readexactly(length)).startswith(b"SIMPLE")
    writer.write(b"GET /blob/0x1.fits HTTP/1.1\r\n\r\n")
    rest = await asyncio.wait_for(reader.read(), 5)
    assert rest.startswith(b"HTTP/1.1 404 Not found\r\n")
    assert b"Content-Length" not in rest
    for line in (b"HEAD / HTTP/1.1\r\n\r\n", b"GARBAGE\r\n\r\n", b"PUT /x HTTP/1.1\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(line)
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert (await fetch(server, "/")).status_code == 301
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
        reply = await http.get(url, headers={"Connection": "close"})
        assert "connection" not in reply.headers
        with pytest.raises(httpx.HTTPError):  # closed: no request is that long
            await http.post("/simulator/faults", content=b"x" * 2_000_000)


@pytest.mark.parametrize("first", [b"\n{}", b" {", b"x", b'{"a":null]\n', b"<a></b>"])
async def test_what_is_no_protocol_closes_the_connection(
    server: IndigoServer, first: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with pytest.raises(TimeoutError):  # silent until spoken to
        await asyncio.wait_for(reader.read(1), 0.05)
    writer.write(first)
    assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_websocket_carries_one_object_a_frame(server: IndigoServer) -> None:
    async with connect(f"ws://127.0.0.1:{server.port}/", proxy=None, max_queue=None) as socket:
        await socket.send('{"getProperties":{"version":512}}')
        names = []
        while "CONNECTION" not in names:
            message = json.loads(await asyncio.wait_for(socket.recv(), 5))
            names += [body["name"] for body in message.values()]
        assert await asyncio.wait_for(await socket.ping(), 5) >= 0
        await socket.send(
            json.dumps(
                {
                    "newSwitchVector": {
                        "device": CAMERA,
                        "name": "CONNECTION",
                        "items": [{"name": "CONNECTED", "value": True}],
                    }
                }
            )
        )
        while "CCD_IMAGE" not in names:
            message = json.loads(await asyncio.wait_for(socket.recv(), 5))
            names += [body["name"] for body in message.values()]


async def read_until(reader: asyncio.StreamReader, mark: bytes) -> bytes:
    return await asyncio.wait_for(reader.readuntil(mark), 5)


async def test_xml_client_in_small_writes(server: IndigoServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"<getProperties version='1.7' client='x' switch='2.0'/>\n")
    defined = await read_until(reader, b"</defSwitchVector>\n")
    assert defined.startswith(b"<switchProtocol version='2.0'/>")
    head = f"<newSwitchVector device='{CAMERA}' name='CONNECTION'>".encode()
    for part in (head, b"\n", b"<oneSwitch name='CONNECTED'>", b"On</oneSwitch>\n"):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.01)
    writer.write(b"</newSwitchVector>\n")
    await read_until(reader, b'name="CCD_REMOVE_FITS_HEADER"')
    expose = (
        f"<newNumberVector device='{CAMERA}' name='CCD_EXPOSURE'>\n"
        "<oneNumber name='EXPOSURE'>0.02</oneNumber></newNumberVector>\n"
    ).encode()

    async def expose_with(mode: bytes) -> bytes:
        if mode:
            writer.write(f"<enableBLOB device='{CAMERA}'>".encode() + mode + b"</enableBLOB>\n")
        writer.write(expose)
        return await read_until(reader, b"\"CCD_EXPOSURE\" state='Ok'>")

    assert b"CCD_IMAGE" not in (await expose_with(b"")).replace(b"CCD_IMAGE_FORMAT", b"")
    assert b'path="/blob/0x' in await expose_with(b"URL")
    inline = await expose_with(b"Also")
    data = base64.b64decode(inline.split(b'format=".fits">')[1].split(b"</oneBLOB>")[0])
    assert data == server.blobs.get(server.camera.image_url).data  # type: ignore[union-attr]
    assert b"CCD_IMAGE" not in await expose_with(b"Never")
    writer.close()


async def test_a_client_that_stops_reading_holds_up_nobody() -> None:
    limits = QueueLimits(max_bytes=1_000_000, send_timeout_s=30)
    async with IndigoServer(GradientSource(), timing=FAST, limits=limits) as server:
        deaf = socket.create_connection(("127.0.0.1", server.port))
        deaf.sendall(b'{"getProperties":{"version":512}}\n')
        async with JsonClient(server.port) as client:
            await client.connect()
            while len(server._clients) == 2:
                client.get()
                client.get()
                await client.until(lambda n=len(client.messages): len(client.messages) > n)
            await client.expose()
        deaf.close()


async def test_a_full_socket_times_out() -> None:
    limits = QueueLimits(max_bytes=10**9, send_timeout_s=0.2)
    async with IndigoServer(GradientSource(), timing=FAST, limits=limits) as server:
        deaf = socket.create_connection(("127.0.0.1", server.port))
        deaf.sendall(b'{"getProperties":{"version":512}}\n' * 3000)
        async with asyncio.timeout(20):
            while not server._clients:
                await asyncio.sleep(0.01)
            while server._clients:
                await asyncio.sleep(0.05)
        deaf.close()


async def test_status_and_truth_over_http(server: IndigoServer) -> None:
    assert (await fetch(server, "/simulator/truth/latest")).status_code == 404
    assert (await fetch(server, "/simulator/nope")).status_code == 404
    async with JsonClient(server.port) as client:
        await client.connect()
        client.new("Number", "CCD_GAIN", GAIN=42)
        await client.expose(0.05)
        truth = (await fetch(server, "/simulator/truth/latest")).json()
        status = (await fetch(server, "/simulator/status")).json()
    assert truth["gain"] == 42
    assert truth["exposure_s"] == 0.05
    assert truth["shape"] == [48, 64]
    assert truth["truth"] == {"count": 1}
    assert status["frames"] == 1
    assert status["connected"] is True
    assert status["clients"] == 1


async def test_truth_files_are_written_whole(tmp_path: Path) -> None:
    folder = tmp_path / "truth"
    async with (
        IndigoServer(GradientSource(), timing=FAST, truth_dir=folder) as server,
        JsonClient(server.port) as client,
    ):
        await client.connect()
        await client.expose()
        await client.expose()
        latest = (await fetch(server, "/simulator/truth/latest")).json()
    records = [json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))]
    assert [r["truth"]["count"] for r in records] == [1, 2]
    assert records[1] == latest | {"arrays": records[1]["arrays"]}
    with np.load(folder / records[1]["arrays"]) as arrays:
        assert arrays["depth"].shape == (48, 64)
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


async def test_a_truth_folder_that_cannot_be_written_costs_no_frame(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    async with (
        IndigoServer(GradientSource(), timing=FAST, truth_dir=tmp_path / "file") as server,
        JsonClient(server.port) as client,
    ):
        await client.connect()
        await client.expose()
    assert "cannot write the frame's truth" in caplog.text
