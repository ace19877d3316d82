"""The connection: change requests, time-outs, EOF, and the pause before coming back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from allsky360.camera.errors import (
    BadProperty,
    CameraAlert,
    CameraError,
    CameraTimeout,
    DeviceGone,
    DroppedRequest,
    NotConnected,
    ServerGone,
)
from allsky360.camera.indigo import capabilities as capabilities_module
from allsky360.camera.indigo import client as client_module
from allsky360.camera.indigo import list_cameras
from allsky360.camera.indigo.client import IndigoClient
from tests.camera.fake_indigo import CAM, FakeIndigo


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "RECONNECT_PAUSE_S", 0.0)
    monkeypatch.setattr(client_module, "MISMATCH_GRACE_S", 0.5)
    monkeypatch.setattr(capabilities_module, "QUIET_S", 0.05)


@pytest.fixture
async def server() -> AsyncIterator[FakeIndigo]:
    async with FakeIndigo() as fake:
        fake.before_connect = tuple(fake.props)
        yield fake


@pytest.fixture
async def client(server: FakeIndigo) -> AsyncIterator[IndigoClient]:
    connected = IndigoClient("127.0.0.1", server.port)
    await connected.connect()
    await connected.wait_for(lambda: connected.store.get(CAM, "CCD_TEMPERATURE"), 5, "definitions")
    yield connected
    await connected.close()


async def test_change_waits_for_ok_and_is_not_sent_when_it_stands(
    client: IndigoClient, server: FakeIndigo
) -> None:
    prop = await client.change(CAM, "CCD_GAIN", {"GAIN": 120})
    assert prop.number("GAIN") == 120
    await client.change(CAM, "CCD_GAIN", {"GAIN": 120.0})
    await client.change(CAM, "CCD_IMAGE_FORMAT", {"RAW": True})
    await client.change(CAM, "CCD_IMAGE_FORMAT", {"RAW": True})
    assert [(name, values) for _, name, values in server.requests] == [
        ("CCD_GAIN", {"GAIN": 120}),
        ("CCD_IMAGE_FORMAT", {"RAW": True}),
    ]


async def test_numbers_are_clamped_and_items_checked(
    client: IndigoClient, server: FakeIndigo
) -> None:
    assert (await client.change(CAM, "CCD_GAIN", {"GAIN": 9999})).number("GAIN") == 500
    for name, values, words in (
        ("CCD_GAIN", {"NOPE": 1.0}, "no item 'NOPE'.*GAIN"),
        ("CCD_GAIN", {"GAIN": True}, "is a number"),
        ("CCD_GAIN", {"GAIN": float("nan")}, "is a number"),
        ("CCD_IMAGE_FORMAT", {"RAW": 1}, "is a switch"),
        ("CCD_EGAIN", {"EGAIN": 1.0}, "read-only"),
        ("CCD_IMAGE", {"IMAGE": "x"}, "read-only"),
        ("NO_SUCH", {"A": 1.0}, "no property NO_SUCH"),
    ):
        with pytest.raises(BadProperty, match=words):
            await client.change(CAM, name, values)
    assert len(server.requests) == 1


async def test_alert_dropped_and_busy_without_end(client: IndigoClient, server: FakeIndigo) -> None:
    server.alert["CCD_BIN"] = "binning not supported"
    with pytest.raises(CameraAlert, match="binning not supported"):
        await client.change(CAM, "CCD_BIN", {"HORIZONTAL": 3})
    server.ignore.add("CCD_GAIN")
    with pytest.raises(DroppedRequest, match="CCD_GAIN"):
        await client.change(CAM, "CCD_GAIN", {"GAIN": 7}, timeout_s=0.2)
    server.swallow.add("CCD_OFFSET")
    waiting = asyncio.create_task(client.change(CAM, "CCD_OFFSET", {"OFFSET": 5}, timeout_s=0.3))
    await asyncio.sleep(0.05)
    server.send(server.message("CCD_OFFSET", "Busy"))
    with pytest.raises(CameraTimeout, match="still Busy"):
        await waiting


async def test_set_points_return_at_busy(client: IndigoClient, server: FakeIndigo) -> None:
    server.swallow.add("CCD_TEMPERATURE")
    waiting = asyncio.create_task(
        client.change(CAM, "CCD_TEMPERATURE", {"TEMPERATURE": -10}, accept_busy=True)
    )
    await asyncio.sleep(0.05)
    server.send(server.message("CCD_TEMPERATURE", "Busy", TEMPERATURE=20))
    assert (await waiting).number("TEMPERATURE") == 20


async def test_camera_takes_another_value_which_is_read_back(
    client: IndigoClient, server: FakeIndigo
) -> None:
    server.swallow.add("CCD_OFFSET")
    waiting = asyncio.create_task(client.change(CAM, "CCD_OFFSET", {"OFFSET": 5}))
    await asyncio.sleep(0.05)
    server.item("CCD_OFFSET", "OFFSET")["target"] = 4
    server.send(server.message("CCD_OFFSET", "Ok", OFFSET=4))
    assert (await waiting).number("OFFSET") == 4


async def test_partial_updates_keep_other_items(client: IndigoClient, server: FakeIndigo) -> None:
    server.send(server.message("CCD_FRAME", WIDTH=8))
    width = await client.wait_for(
        lambda: client.require(CAM, "CCD_FRAME").number("WIDTH") == 8, 2, "width"
    )
    assert width
    assert client.require(CAM, "CCD_FRAME").number("HEIGHT") == server.height


async def test_device_gone_while_setting(client: IndigoClient, server: FakeIndigo) -> None:
    server.swallow.add("CCD_GAIN")
    waiting = asyncio.create_task(client.change(CAM, "CCD_GAIN", {"GAIN": 5}))
    await asyncio.sleep(0.05)
    server.send({"deleteProperty": {"device": CAM}}, {"deleteProperty": {"device": CAM}})
    with pytest.raises(DeviceGone):
        await waiting


async def test_eof_ends_every_wait(client: IndigoClient, server: FakeIndigo) -> None:
    waiting = asyncio.create_task(client.wait_for(lambda: None, 30, "nothing"))
    await asyncio.sleep(0.02)
    server.drop_clients()
    with pytest.raises(ServerGone, match=client.where):
        await waiting
    assert not client.connected
    with pytest.raises(ServerGone):
        await client.change(CAM, "CCD_GAIN", {"GAIN": 5})


async def test_unknown_update_asks_for_its_definition_once(
    client: IndigoClient, server: FakeIndigo
) -> None:
    del client.store.devices[CAM]["CCD_GAIN"]
    server.send(server.message("CCD_GAIN", GAIN=77), server.message("CCD_GAIN", GAIN=78))
    found = await client.wait_for(lambda: client.store.get(CAM, "CCD_GAIN"), 2, "definition")
    assert found.number("GAIN") == 78
    assert [g.get("name") for g in server.greetings] == [None, "CCD_GAIN"]


async def test_condition_may_raise_and_sees_every_message_of_one_piece(
    client: IndigoClient, server: FakeIndigo
) -> None:
    seen = []

    def look() -> bool:
        seen.append(client.require(CAM, "CCD_EXPOSURE").state)
        return seen[-1] == "Ok" and "Busy" in seen

    waiting = asyncio.create_task(client.wait_for(look, 2, "Busy and Ok"))
    await asyncio.sleep(0.02)
    server.send(server.message("CCD_EXPOSURE", "Busy"), server.message("CCD_EXPOSURE", "Ok"))
    assert await waiting

    def fail() -> None:
        raise CameraAlert("no")

    with pytest.raises(CameraAlert):
        await client.wait_for(fail, 2, "nothing")


async def test_nobody_listens_or_does_not_answer(free_port: Callable[[], int]) -> None:
    client = IndigoClient("127.0.0.1", free_port())
    with pytest.raises(NotConnected):
        client.check()
    with pytest.raises(ServerGone, match=r"no INDIGO server at 127\.0\.0\.1"):
        await client.connect()
    with pytest.raises(CameraError):
        client.check()


async def test_comes_back_two_seconds_after_leaving(
    server: FakeIndigo, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real_sleep(0)

    client = IndigoClient("127.0.0.1", server.port)
    await client.connect()
    await client.close()
    monkeypatch.setattr(client_module, "RECONNECT_PAUSE_S", 2.0)
    monkeypatch.setattr(client_module.asyncio, "sleep", sleep)
    await client.connect()
    await client.close()
    assert max(slept) > 1.5


async def test_list_cameras_connects_only_when_asked(server: FakeIndigo) -> None:
    server.before_connect = ("INFO", "CONNECTION")
    server.extra_devices = {"Wheel": "16", "Odd": "no number"}
    (idle,) = await list_cameras("127.0.0.1", server.port)
    assert (idle.device, idle.connected, idle.capabilities.width) == (CAM, False, None)
    assert server.requests == []
    (full,) = await list_cameras("127.0.0.1", server.port, connect=True)
    can = full.capabilities
    assert (can.width, can.height, can.exposure_s, can.gain) == (16, 12, (0.001, 100), (0, 500))
    assert (can.max_binning, can.has_cooler, can.driver) == (2, True, "fake")
    assert server.value("CONNECTION", "DISCONNECTED") is True
    assert full.as_json()["device"] == CAM


async def test_a_bug_in_reading_ends_the_connection_and_not_in_silence(
    client: IndigoClient, server: FakeIndigo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("no such case")

    monkeypatch.setattr(client.store, "apply", broken)
    server.send(server.message("CCD_GAIN", "Ok"))
    with pytest.raises(ServerGone, match="RuntimeError: no such case"):
        await client.wait_for(lambda: False, 5.0, "anything")
    assert not client.connected
