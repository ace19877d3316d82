"""The camera's behaviour: settings, clock, rendering, cooling."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest
import pytest_asyncio

from allsky360.clock import rehearsal
from allsky360.config import Settings
from allsky360.model import Site
from allsky360.simulator.camera_settings import fit
from allsky360.simulator.cooler import Cooler
from allsky360.simulator.server import IndigoServer
from tests.simulator.simulator_helpers import FAST, GradientSource, JsonClient, values


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


async def ask(client: JsonClient, kind: str, name: str, state: str = "Ok", **items: object) -> dict:
    mark = len(client.messages)
    client.new(kind, name, **items)
    return await client.heard(name, state, mark)


async def raw(server: IndigoServer, client: JsonClient) -> np.ndarray:
    async with httpx.AsyncClient() as http:
        data = (await http.get(f"http://127.0.0.1:{server.port}{client.image_url()}")).content
    width, height = np.frombuffer(data, "<u4", 2, 4)
    kind = "<u2" if data[:4] == b"RAW2" else "u1"
    return np.frombuffer(data, kind, width * height, 12).reshape(height, width)


async def test_numbers_are_clamped(client: JsonClient) -> None:
    set_ = await ask(client, "Number", "CCD_GAIN", GAIN=9999)
    assert set_["items"][0] == {"name": "GAIN", "target": 350, "value": 350}
    assert values(await ask(client, "Number", "CCD_OFFSET", OFFSET=-1)) == {"OFFSET": 0}


async def test_egain_follows_gain(client: JsonClient, server: IndigoServer) -> None:
    mark = len(client.messages)
    client.new("Number", "CCD_GAIN", GAIN=200)
    egain = values(await client.heard("CCD_EGAIN", "Ok", mark))["EGAIN"]
    assert egain == pytest.approx(1.48 / 10, rel=1e-6)  # 20 dB


async def test_region_of_interest(client: JsonClient, server: IndigoServer) -> None:
    await ask(client, "Number", "CCD_FRAME", LEFT=8, TOP=4, WIDTH=32, HEIGHT=20)
    await client.expose()
    pixels = await raw(server, client)
    assert pixels.shape == (20, 32)
    assert pixels[0, 0] == 1000 + 257 * 8 + 4


async def test_a_region_beyond_the_sensor_is_clipped_with_alert(client: JsonClient) -> None:
    clipped = await ask(client, "Number", "CCD_FRAME", "Alert", LEFT=40, WIDTH=64)
    assert values(clipped)["WIDTH"] == 24
    widths = {i["name"]: i["target"] for i in clipped["items"]}
    assert widths["WIDTH"] == 64


@pytest.mark.parametrize(
    ("wanted", "binning", "colour", "got"),
    [
        ((0, 64), 1, True, (0, 64)),
        ((0, 63), 1, True, (0, 63)),
        ((0, 63), 2, False, (0, 62)),
        ((0, 63), 2, True, (0, 60)),
        ((64, 64), 1, False, (62, 2)),
        ((10, 64), 4, True, (10, 48)),
        ((0, 2), 4, True, (0, 8)),
    ],
)
def test_fit(wanted: tuple[int, int], binning: int, colour: bool, got: tuple[int, int]) -> None:
    assert fit(*wanted, 64, binning, colour) == got


async def test_binning_and_mode_follow_each_other(client: JsonClient, server: IndigoServer) -> None:
    await ask(client, "Number", "CCD_BIN", HORIZONTAL=2, VERTICAL=2)
    assert client.vectors("CCD_MODE")[-1]["items"][2] == {"name": "RAW 16 2x2", "value": True}
    await client.expose()
    assert (await raw(server, client)).shape == (24, 32)
    refused = await ask(client, "Number", "CCD_BIN", "Alert", HORIZONTAL=3, VERTICAL=3)
    assert refused["items"][0] == {"name": "HORIZONTAL", "target": 3, "value": 2}
    await ask(client, "Number", "CCD_BIN", "Alert", HORIZONTAL=1)
    await ask(client, "Switch", "CCD_MODE", **{"RAW 8 1x1": True})
    assert values(client.vectors("CCD_BIN")[-1]) == {"HORIZONTAL": 1, "VERTICAL": 1}
    await client.expose()
    pixels = await raw(server, client)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (48, 64)
    assert pixels[5, 9] == (2000 + 257 * 9 + 5) >> 8


async def test_depth_by_frame(client: JsonClient, server: IndigoServer) -> None:
    await ask(client, "Number", "CCD_FRAME", BITS_PER_PIXEL=12)
    assert values(client.vectors("CCD_FRAME")[-1])["BITS_PER_PIXEL"] == 16
    await ask(client, "Number", "CCD_FRAME", BITS_PER_PIXEL=8)
    await ask(client, "Switch", "CCD_IMAGE_FORMAT", FITS=True)
    await client.expose()
    async with httpx.AsyncClient() as http:
        reply = await http.get(f"http://127.0.0.1:{server.port}{client.image_url()}")
    assert b"BITPIX  =                    8" in reply.content
    assert b"BZERO" not in reply.content


async def test_without_a_format_the_image_has_no_value(client: JsonClient) -> None:
    await ask(client, "Switch", "CCD_IMAGE_FORMAT", NOPE=True)
    await client.expose()
    assert client.vectors("CCD_IMAGE")[-1] | {"items": []} == {
        "device": "Test Camera", "name": "CCD_IMAGE", "state": "Ok", "items": []
    }  # fmt: skip
    assert "value" not in client.vectors("CCD_IMAGE")[-1]["items"][0]


async def test_without_upload_there_is_no_image_traffic(client: JsonClient) -> None:
    await ask(client, "Switch", "CCD_UPLOAD_MODE", NONE=True)
    mark = len(client.messages)
    await client.expose()
    client.new("Number", "CCD_EXPOSURE", EXPOSURE=60)
    client.new("Switch", "CCD_ABORT_EXPOSURE", ABORT_EXPOSURE=True)
    await client.heard("CCD_ABORT_EXPOSURE", "Ok", mark)
    assert not [m for m in client.messages[mark:] if "CCD_IMAGE" in str(m)]


async def test_bias_takes_the_shortest_exposure(client: JsonClient, server: IndigoServer) -> None:
    await ask(client, "Switch", "CCD_FRAME_TYPE", BIAS=True)
    done = await client.expose(30)
    assert done["items"][0]["target"] == pytest.approx(0.000032)


async def test_the_source_is_asked_what_the_client_set(client: JsonClient) -> None:
    source = GradientSource()
    async with IndigoServer(source, timing=FAST) as server, JsonClient(server.port) as one:
        await one.connect()
        one.new("Number", "CCD_GAIN", GAIN=150)
        one.new("Number", "CCD_OFFSET", OFFSET=12)
        one.new("Switch", "CCD_FRAME_TYPE", DARKFLAT=True)
        one.new("Number", "CCD_FRAME", LEFT=2, TOP=2, WIDTH=40, HEIGHT=40)
        one.new("Number", "CCD_BIN", HORIZONTAL=2, VERTICAL=2)
        before = datetime.now(UTC)
        await one.expose(0.07)
    (asked,) = source.requests
    assert before <= asked.start <= datetime.now(UTC)
    assert replace(asked, start=before) == replace(
        asked, start=before, exposure_s=0.07, gain=150, offset=12, temperature_c=15.0,
        frame_type="dark", binning=2, roi=(2, 2, 40, 40),
    )  # fmt: skip


async def test_a_fast_clock_shortens_exposures() -> None:
    start = datetime(2026, 6, 21, 22, tzinfo=UTC)
    source = GradientSource()
    async with (
        IndigoServer(source, rehearsal(start, rate=200), timing=FAST) as server,
        JsonClient(server.port) as client,
    ):
        await client.connect()
        began = time.monotonic()
        done = await client.expose(60)
        assert done["items"][0]["target"] == 60
        assert time.monotonic() - began < 30
        # countdown in simulated seconds
        counted = [v["items"][0]["value"] for v in client.vectors("CCD_EXPOSURE")]
        assert counted == sorted(counted, reverse=True)
    assert source.requests[0].exposure_s == 60
    assert timedelta(0) <= source.requests[0].start - start < timedelta(hours=2)


async def test_rendering_longer_than_the_exposure_delays_only_the_readout() -> None:
    async with (
        IndigoServer(GradientSource(render_s=0.3), timing=FAST) as server,
        JsonClient(server.port) as client,
    ):
        await client.connect()
        client.new("Number", "CCD_EXPOSURE", EXPOSURE=0.01)
        await asyncio.sleep(0.05)
        client.new("Number", "CCD_GAIN", GAIN=5)  # still answers
        await client.heard("CCD_GAIN", "Ok")
        assert not [v for v in client.vectors("CCD_EXPOSURE") if v["state"] == "Ok"]
        await client.heard("CCD_EXPOSURE", "Ok")


async def test_abort_during_a_slow_rendering() -> None:
    source = GradientSource(render_s=0.2)
    async with IndigoServer(source, timing=FAST) as server, JsonClient(server.port) as client:
        await client.connect()
        for _ in range(3):
            client.new("Number", "CCD_EXPOSURE", EXPOSURE=0.01)
            client.new("Switch", "CCD_ABORT_EXPOSURE", ABORT_EXPOSURE=True)
        await client.expose()
        assert client.image_url()
        assert server.camera.status.frames == 1


async def test_a_failing_source_is_an_alert_with_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = GradientSource(fail=True)
    async with IndigoServer(source, timing=FAST) as server, JsonClient(server.port) as client:
        await client.connect()
        failed = await client.expose(state="Alert")
        assert failed["message"] == "Exposure failed: shutter stuck"
        assert server.camera.status.failures == 1
        source.fail = False
        await client.expose()


async def test_warm_up_runs_before_the_first_frame(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    source = GradientSource()

    def warm_up() -> None:
        time.sleep(0.1)
        done.append(f"after {len(source.requests)} frames")
        raise RuntimeError("cold")

    async with (
        IndigoServer(source, timing=FAST, warm_up=warm_up) as server,
        JsonClient(server.port) as client,
    ):
        await client.connect()
        await client.expose()
    assert done == ["after 0 frames"]
    assert "could not be warmed up" in caplog.text


async def test_settings_survive_a_reconnect_and_not_a_restart(
    client: JsonClient, server: IndigoServer
) -> None:
    await ask(client, "Number", "CCD_GAIN", GAIN=33)
    client.new("Switch", "CONNECTION", DISCONNECTED=True)
    await client.until(lambda: client.vectors("CCD_GAIN", "delete"))
    await client.connect()
    assert client.vectors("CCD_GAIN", "def")[-1]["items"][0]["value"] == 33
    server.arm({"unplug": True})
    server.arm({"replug": True})
    await client.connect()
    assert client.vectors("CCD_GAIN", "def")[-1]["items"][0]["value"] == 0


async def test_connecting_twice_and_selecting_nothing_change_nothing(client: JsonClient) -> None:
    mark = len(client.messages)
    client.new("Switch", "CONNECTION", CONNECTED=True)
    client.new("Switch", "CONNECTION", NOPE=True)
    client.new("Number", "CCD_GAIN", GAIN=1)
    await client.heard("CCD_GAIN", "Ok", mark)
    answers = [m for m in client.messages[mark:] if "CONNECTION" in str(m)]
    assert [values(m["setSwitchVector"])["CONNECTED"] for m in answers] == [True, True]


async def test_fits_headers_are_redefined(client: JsonClient) -> None:
    await ask(client, "Text", "CCD_SET_FITS_HEADER", KEYWORD="OBSERVER", VALUE="'me'")
    assert client.vectors("CCD_FITS_HEADERS", "delete")
    assert values(client.vectors("CCD_FITS_HEADERS", "def")[-1]) == {"OBSERVER": "'me'"}
    await ask(client, "Text", "CCD_SET_FITS_HEADER", "Alert", KEYWORD="TOOLONGKEY", VALUE="1")
    await ask(client, "Text", "CCD_REMOVE_FITS_HEADER", KEYWORD="observer")
    assert client.vectors("CCD_FITS_HEADERS", "def")[-1]["items"] == []
    gone = await ask(client, "Text", "CCD_REMOVE_FITS_HEADER", "Alert", KEYWORD="OBSERVER")
    assert gone["message"] == "There is no such keyword"


async def test_lens_and_config(client: JsonClient) -> None:
    await ask(client, "Number", "CCD_LENS", APERTURE=1, FOCAL_LENGTH=2)
    await ask(client, "Number", "CCD_LENS", "Idle", APERTURE=0, FOCAL_LENGTH=0)
    await ask(client, "Switch", "CONFIG", "Alert", SAVE=True)


async def test_cooling(client: JsonClient) -> None:
    off = await ask(client, "Number", "CCD_TEMPERATURE", "Busy", TEMPERATURE=-5)
    assert off["message"] == "The cooler is off"
    back = await client.heard("CCD_TEMPERATURE", "Ok", len(client.messages))
    assert back["items"][0]["target"] == -5
    assert back["items"][0]["value"] == 15
    await ask(client, "Switch", "CCD_COOLER", ON=True)
    await client.until(
        lambda: (
            client.vectors("CCD_TEMPERATURE")[-1]["items"][0]["value"] < 15
            and values(client.vectors("CCD_COOLER_POWER")[-1])["POWER"] > 0
        )
    )
    client.new("Switch", "CONNECTION", DISCONNECTED=True)
    await client.until(lambda: client.vectors("CCD_COOLER", "delete"))
    await client.connect()
    assert values(client.vectors("CCD_COOLER", "def")[-1]) == {"ON": False, "OFF": True}


def test_the_cooler_ramps_holds_and_warms_up() -> None:
    cooler = Cooler(15.0)
    cooler.on, cooler.target_c = True, -10.0
    cooler.advance(40)
    assert cooler.sensor_c == pytest.approx(5.0)  # 0.25 degrees a second
    assert not cooler.settled
    cooler.advance(1000)
    assert cooler.sensor_c == -10
    assert cooler.settled
    assert cooler.power_percent == pytest.approx(62.5)
    cooler.advance(120, failed=True)
    assert cooler.sensor_c == pytest.approx(15 - 25 / np.e)
    assert cooler.power_percent == 0
    cooler.target_c = -60
    cooler.advance(1000)
    assert cooler.sensor_c == -25  # 40 below the surroundings is all it can do
    assert not cooler.settled
    assert cooler.power_percent == 100


@pytest.mark.slow
async def test_the_real_sky_over_the_wire() -> None:
    from allsky360.simulator.factory import create_server

    settings = Settings.model_validate(
        {"simulator": {"width": 96, "height": 64}, "clock": {"start": "2026-11-22T00:00:00Z"}}
    )
    site = Site("La Palma", 28.7606, -17.8816, 2326.0)
    server = create_server(settings, site, rehearsal(datetime(2026, 11, 22, 1, tzinfo=UTC), 20))
    server.port = 0
    async with server, JsonClient(server.port) as client:
        client.get()
        await client.until(lambda: client.vectors("CONNECTION", "def"))
        camera = server.camera.name
        client.new("Switch", "CONNECTION", camera, CONNECTED=True)
        await client.until(lambda: client.vectors("CCD_REMOVE_FITS_HEADER", "def"))
        client.new("Switch", "CCD_IMAGE_FORMAT", camera, RAW=True)
        client.new("Number", "CCD_EXPOSURE", camera, EXPOSURE=10)
        await client.until(
            lambda: [v for v in client.vectors("CCD_EXPOSURE") if v["state"] == "Ok"], 60
        )
        pixels = await raw(server, client)
        truth = server.camera.status.last_truth
    assert pixels.shape == (64, 96)
    assert pixels.std() > 10
    assert truth is not None
    assert truth["exposure_s"] == 10
    assert truth["truth"]["site"]["name"] == "La Palma"
