"""Every fault knob, turned once, seen by a client."""

from __future__ import annotations

import ast
import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from allsky360.simulator.faults import FAULTS
from allsky360.simulator.server import IndigoServer
from tests.simulator.simulator_helpers import CAMERA, FAST, GradientSource, JsonClient, values

RAW_BYTES = 12 + 64 * 48 * 2 + 25


@pytest_asyncio.fixture
async def server() -> AsyncIterator[IndigoServer]:
    async with IndigoServer(GradientSource(), timing=FAST) as running:
        yield running


@pytest_asyncio.fixture
async def client(server: IndigoServer) -> AsyncIterator[JsonClient]:
    async with JsonClient(server.port) as one:
        await one.connect()
        one.new("Switch", "CCD_IMAGE_FORMAT", RAW=True)
        await one.heard("CCD_IMAGE_FORMAT", "Ok")
        yield one


async def turn(server: IndigoServer, **faults: object) -> None:
    """Turn knobs over HTTP, as a person would; ``_`` stands for ``-``."""
    wanted = {name.replace("_", "-"): value for name, value in faults.items()}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
        reply = await http.post("/simulator/faults", json=wanted)
    assert reply.status_code == 200, reply.text


async def image(server: IndigoServer, client: JsonClient, timeout_s: float = 5) -> bytes:
    async with httpx.AsyncClient(timeout=timeout_s) as http:
        reply = await http.get(f"http://127.0.0.1:{server.port}{client.image_url()}")
        reply.raise_for_status()
        return reply.content


async def gone(client: JsonClient) -> None:
    await client.until(lambda: client.closed)


# -- the endpoint ---------------------------------------------------------------------------------


async def test_the_endpoint_lists_and_refuses(server: IndigoServer) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
        rows = (await http.get("/simulator/faults")).json()
        assert [row["name"] for row in rows] == list(FAULTS)
        armed = (await http.post("/simulator/faults", json={"alert": 2})).json()
        assert [(row["name"], row["count"]) for row in armed] == [("alert", 2)]
        for body in (b'{"alrt": 1}', b"[1]", b"nonsense", b"\xff", b'{"alert": "\\ud800"}'):
            reply = await http.post("/simulator/faults", content=body)
            assert (reply.status_code == 400) == (body != b'{"alert": "\\ud800"}')
        assert (
            "Did you mean 'alert'" in (await http.post("/simulator/faults", json={"alrt": 1})).text
        )


# -- exposures ------------------------------------------------------------------------------------


async def test_alert(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, alert={"count": 2, "value": "USB transfer failed"})
    for _ in range(2):
        failed = await client.expose(state="Alert")
        assert failed["message"] == "USB transfer failed"
        assert client.vectors("CCD_IMAGE")[-1]["state"] == "Alert"
    await client.expose()


async def test_stall(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, stall=1)
    client.new("Number", "CCD_EXPOSURE", EXPOSURE=0.05)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.heard("CCD_EXPOSURE", "Ok"), 0.4)
    client.new("Switch", "CCD_ABORT_EXPOSURE", ABORT_EXPOSURE=True)
    await client.heard("CCD_EXPOSURE", "Alert")
    await client.expose()


async def test_late_image(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, late_image=1.0)
    client.new("Number", "CCD_EXPOSURE", EXPOSURE=0.01)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.heard("CCD_EXPOSURE", "Ok"), 0.2)
    await client.heard("CCD_EXPOSURE", "Ok")


async def test_no_image_value(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, no_image_value=1)
    await client.expose()
    assert "value" not in client.vectors("CCD_IMAGE")[-1]["items"][0]
    await client.expose()
    assert client.image_url()


async def test_stale_image(server: IndigoServer, client: JsonClient) -> None:
    await client.expose()
    first = await image(server, client)
    await turn(server, stale_image=1)
    await client.expose()
    assert await image(server, client) == first
    await client.expose()
    assert await image(server, client) != first


@pytest.mark.parametrize(
    ("fault", "setting", "length", "head"),
    [
        ("truncated-image", 0.25, RAW_BYTES // 4, b"RAW2"),
        ("oversized-image", 5000.0, RAW_BYTES + 5000, b"RAW2"),
        ("mislabelled-header", True, RAW_BYTES, b"RAW2" + struct.pack("<II", 128, 48)),
        ("mislabelled-format", 1, 2880 * 4, b"SIMPLE  ="),
        ("garbage-image", 1, RAW_BYTES, b""),
    ],
)
async def test_bad_images(
    server: IndigoServer, client: JsonClient, fault: str, setting: object, length: int, head: bytes
) -> None:
    await turn(server, **{fault: setting})
    await client.expose()
    data = await image(server, client)
    assert len(data) == length
    assert data.startswith(head)
    if fault == "garbage-image":
        assert data[:4] != b"RAW2"
    await client.expose()
    data = await image(server, client)
    assert len(data) == RAW_BYTES
    assert data[:12] == b"RAW2" + struct.pack("<II", 64, 48)


async def test_mislabelled_fits_header(server: IndigoServer, client: JsonClient) -> None:
    client.new("Switch", "CCD_IMAGE_FORMAT", FITS=True)
    await turn(server, mislabelled_header=10.0)
    await client.expose()
    assert b"NAXIS1  =                   74" in await image(server, client)


async def test_unplug_exposing(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, unplug_exposing=0.2)
    client.new("Number", "CCD_EXPOSURE", EXPOSURE=0.1)
    await client.until(lambda: {"deleteProperty": {"device": CAMERA}} in client.messages)
    assert client.vectors("CCD_EXPOSURE")[-1]["state"] == "Busy"  # no Alert, no Ok
    mark = len(client.messages)
    await client.until(lambda: len(client.messages) > mark + 3)
    client.new("Switch", "CONNECTION", CONNECTED=True)
    await client.heard("CONNECTION", "Ok", mark)
    await client.expose()


async def test_disconnect_exposing(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, disconnect_exposing=1)
    client.new("Number", "CCD_EXPOSURE", EXPOSURE=0.1)
    await client.until(lambda: client.vectors("CCD_EXPOSURE", "delete"))
    ended = await client.heard("CONNECTION", "Ok", len(client.messages) - 2)
    assert values(ended)["DISCONNECTED"] is True


async def test_foreign_abort(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, foreign_abort=1)
    await client.expose(0.1, state="Alert")
    await client.expose()


async def test_crash_exposing_and_coming_back(server: IndigoServer, client: JsonClient) -> None:
    await client.expose()
    url = client.image_url()
    await turn(server, crash_exposing=0.2)
    client.new("Number", "CCD_EXPOSURE", EXPOSURE=0.1)
    await gone(client)
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection("127.0.0.1", server.port)
    await asyncio.sleep(0.4)
    async with JsonClient(server.port) as again:
        await again.connect()
        await again.expose()
        assert again.image_url() != url
        async with httpx.AsyncClient() as http:
            reply = await http.get(f"http://127.0.0.1:{server.port}{url}")
        assert reply.status_code == 404


# -- requests and connection ----------------------------------------------------------------------


async def test_drop_request(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, drop_request=1)
    mark = len(client.messages)
    client.new("Number", "CCD_EXPOSURE", EXPOSURE=0.01)
    client.new("Number", "CCD_GAIN", GAIN=1)
    await client.heard("CCD_GAIN", "Ok", mark)
    assert not [m for m in client.messages[mark:] if "CCD_EXPOSURE" in str(m)]
    await client.expose()
    await turn(server, drop_request={"count": 1, "value": "*"})
    mark = len(client.messages)
    client.new("Number", "CCD_GAIN", GAIN=2)
    client.new("Number", "CCD_OFFSET", OFFSET=2)
    await client.heard("CCD_OFFSET", "Ok", mark)
    assert values(client.vectors("CCD_GAIN")[-1]) == {"GAIN": 1}


async def test_connect_alert_then_stall(server: IndigoServer) -> None:
    await turn(server, connect_alert=1)
    async with JsonClient(server.port) as client:
        client.get()
        await client.until(lambda: client.vectors("CONNECTION", "def"))
        client.new("Switch", "CONNECTION", CONNECTED=True)
        failed = await client.heard("CONNECTION", "Alert")
        assert values(failed) == {"CONNECTED": False, "DISCONNECTED": True}
        await turn(server, connect_stall=0.3)
        mark = len(client.messages)
        client.new("Switch", "CONNECTION", CONNECTED=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.heard("CONNECTION", "Ok", mark), 0.15)
        await client.heard("CONNECTION", "Ok", mark)


# -- fetching -------------------------------------------------------------------------------------


async def test_http_404(server: IndigoServer, client: JsonClient) -> None:
    await client.expose()
    await turn(server, http_404=1)
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        await image(server, client)
    assert len(await image(server, client)) == RAW_BYTES


@pytest.mark.parametrize("fault", ["truncated-body", "wrong-length", "hung-http"])
async def test_bodies_that_never_become_whole(
    server: IndigoServer, client: JsonClient, fault: str
) -> None:
    await client.expose()
    await turn(server, **{fault: 1})
    with pytest.raises(httpx.TransportError):
        await image(server, client, timeout_s=0.4)
    assert len(await image(server, client)) == RAW_BYTES


async def test_content_length_too_small(server: IndigoServer, client: JsonClient) -> None:
    await client.expose()
    await turn(server, wrong_length={"value": -100})
    assert len(await image(server, client)) == RAW_BYTES - 100


async def test_slow_body(server: IndigoServer, client: JsonClient) -> None:
    await client.expose()
    await turn(server, slow_body={"value": 20_000})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(image(server, client), 0.15)
    await turn(server, slow_body={"value": 20_000})
    assert len(await image(server, client)) == RAW_BYTES


# -- the stream -----------------------------------------------------------------------------------


async def test_duplicate_delete(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, duplicate_delete=True)
    client.new("Switch", "CONNECTION", DISCONNECTED=True)
    await client.until(lambda: len(client.vectors("CCD_REMOVE_FITS_HEADER", "delete")) == 2)


async def test_partial_items(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, partial_items=True)
    mark = len(client.messages)
    client.new("Number", "CCD_FRAME", LEFT=2, WIDTH=32)
    changed = await client.heard("CCD_FRAME", "Ok", mark)
    assert values(changed) == {"LEFT": 2, "WIDTH": 32}
    await client.expose()


async def test_suppress_ok(server: IndigoServer, client: JsonClient) -> None:
    client.new("Number", "CCD_OFFSET", OFFSET=7)
    await client.heard("CCD_OFFSET", "Ok")
    await turn(server, suppress_ok=True)
    mark = len(client.messages)
    client.new("Number", "CCD_OFFSET", OFFSET=7)
    client.new("Number", "CCD_GAIN", GAIN=7)
    await client.heard("CCD_GAIN", "Ok", mark)
    assert not [m for m in client.messages[mark:] if "CCD_OFFSET" in str(m)]


async def test_stale_def(server: IndigoServer, client: JsonClient) -> None:
    await client.expose()
    url = client.image_url()
    await turn(server, stale_def=True)
    client.new("Switch", "CONNECTION", DISCONNECTED=True)
    await client.until(lambda: client.vectors("CCD_IMAGE", "delete"))
    await client.connect()
    stale = client.vectors("CCD_IMAGE", "def")[-1]
    assert (stale["state"], stale["items"][0]["value"]) == ("Ok", url)


async def test_cooler_failure(server: IndigoServer, client: JsonClient) -> None:
    client.new("Switch", "CCD_COOLER", ON=True)
    client.new("Number", "CCD_TEMPERATURE", TEMPERATURE=-5)
    await client.heard("CCD_TEMPERATURE", "Busy")
    await turn(server, cooler_failure=True)
    failed = await client.heard("CCD_COOLER", "Alert")
    assert failed["message"] == "The cooler failed"
    await client.heard("CCD_TEMPERATURE", "Alert")
    await turn(server, cooler_failure=False)
    await client.heard("CCD_COOLER", "Ok", len(client.messages))


async def test_garbage_and_bad_object(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, garbage="*?* junk \x01")
    await client.until(lambda: b"*?* junk \x01" in client.raw)
    await turn(server, bad_object=True)
    await client.until(lambda: b'"value": nan' in client.raw)
    with pytest.raises(json.JSONDecodeError):
        json.loads(client.raw[client.raw.index(b'"value": nan') :])
    client.new("Number", "CCD_GAIN", GAIN=9)  # the stream goes on behind it
    await client.until(lambda: b'"target": 9' in client.raw)


async def test_foreign_client(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, foreign_client=True)
    await client.heard("CCD_IMAGE_FORMAT", "Ok", len(client.messages))
    await client.expose()
    assert client.image_url().endswith(".fits")
    assert (await image(server, client))[:6] == b"SIMPLE"
    await turn(server, foreign_client="CCD_GAIN.GAIN=77; NOPE.A=1;CCD_OFFSET.OFFSET=x")
    assert values(await client.heard("CCD_OFFSET", "Ok")) == {"OFFSET": 0}
    assert values(client.vectors("CCD_GAIN")[-1]) == {"GAIN": 77}


async def test_foreign_exposure(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, foreign_exposure=0.2)
    busy = await client.heard("CCD_EXPOSURE", "Busy")
    assert busy["items"][0]["target"] == 0.2


async def test_unplug_and_replug(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, unplug=True)
    await client.until(lambda: {"deleteProperty": {"device": CAMERA}} in client.messages)
    mark = len(client.messages)
    client.get()
    client.new("Switch", "CONNECTION", CONNECTED=True)
    await client.until(lambda: client.vectors("INFO", "def")[-1]["device"] == "Server")
    await turn(server, unplug=True)  # twice is once
    assert not [m for m in client.messages[mark:] if "CONNECTION" in str(m)]
    await turn(server, replug=True)
    await client.until(lambda: client.vectors("CONNECTION", "def")[1:])
    await client.connect()
    await client.expose()


async def test_crash(server: IndigoServer, client: JsonClient) -> None:
    await turn(server, crash=0.1)
    await gone(client)
    await asyncio.sleep(0.3)
    async with JsonClient(server.port) as again:
        again.get()
        await again.until(lambda: again.vectors("CONNECTION", "def"))
        assert again.vectors("CCD_EXPOSURE", "def") == []


async def test_hung(server: IndigoServer, client: JsonClient) -> None:
    await client.expose()
    await turn(server, hung=1.5)
    await asyncio.sleep(0.05)
    mark = len(client.messages)
    client.new("Number", "CCD_GAIN", GAIN=3)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.heard("CCD_GAIN", "Ok", mark), 0.1)
    with pytest.raises(httpx.ReadTimeout):
        await image(server, client, timeout_s=0.1)
    assert not client.closed
    await client.heard("CCD_GAIN", "Ok", mark)


@pytest.mark.parametrize("release", [{"hung": False}, {"clear": True}])
async def test_a_hung_server_can_be_freed(
    server: IndigoServer, client: JsonClient, release: dict[str, object]
) -> None:
    await turn(server, hung={"value": 0})
    await asyncio.sleep(0.05)
    client.new("Number", "CCD_GAIN", GAIN=3)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.heard("CCD_GAIN", "Ok"), 0.1)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
        assert (await http.post("/simulator/faults", json=release)).status_code == 200
    await client.heard("CCD_GAIN", "Ok")


def test_no_knob_is_left_out() -> None:
    nodes = list(ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8"))))
    named = {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg}
    named |= {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
    assert set(FAULTS) - {name.replace("_", "-") for name in named} == set()
