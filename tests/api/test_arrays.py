"""Nights opened from elsewhere: Zarr over HTTP, and the Python client."""

from __future__ import annotations

import io
import json
import threading
from datetime import timedelta

import httpx
import numpy as np
import pytest
import xarray as xr
from astropy.io import fits

from allsky360.client import Client, Event, ServiceError
from allsky360.client.events import read_events
from allsky360.config import Settings
from tests.api.conftest import DUSK, HEIGHT, SLUG, WIDTH, House
from tests.api.running import serving
from tests.api.sky_house import add_product, process_sky, streak, write_camera_lens

MINUTE = timedelta(minutes=1)


def test_a_night_is_opened_over_http_and_only_what_is_read_is_sent(
    house: House, settings: Settings
) -> None:
    size = (512, 768)
    refs = [house.capture(DUSK + k * MINUTE, (10.0, 2.5), size) for k in range(3)]
    for ref in refs[:2]:
        process_sky(house, ref, cloud_fraction=0.25 + ref.index / 8)
    with serving(settings) as base:
        at = f"{base}/zarr/{SLUG}/{refs[0].night}"
        night = xr.open_zarr(f"{at}/v0001.zarr")
        assert night.cloud_fraction.values.tolist() == [0.25, 0.375]
        assert night.star_flux.sel(star=32349).values.tolist() == [2.0, 4.0]
        raw = xr.open_zarr(f"{at}/raw.zarr")
        assert raw.sizes["time"] == 3
        assert raw.gain.values.tolist() == [120.0] * 3
        route = "/zarr/{camera}/{night}/{store}/{key:path}"
        before = _total(base, route)
        corner = raw.raw.isel(time=1, exposure=1, y=slice(0, 16), x=slice(0, 16)).values
        used = _total(base, route) - before
        whole = house.brackets[refs[1]].exposures[1].pixels
        np.testing.assert_array_equal(corner, whole[:16, :16])
        assert used < whole.nbytes / 8, used  # one of sixteen chunks, and the shard's index
        np.testing.assert_array_equal(raw.raw.isel(time=0, exposure=0).values,
                                      house.brackets[refs[0]].exposures[0].pixels)  # fmt: skip


def _total(base: str, route: str) -> int:
    found = 0
    for line in httpx.get(f"{base}/metrics").text.splitlines():
        if line.startswith("allsky360_http_sent_bytes_total") and f'route="{route}"' in line:
            found += int(float(line.rpartition(" ")[2]))
    return found


async def test_what_is_not_committed_is_not_there(house: House, client: httpx.AsyncClient) -> None:
    first, second = house.capture(DUSK), house.capture(DUSK + MINUTE)
    house.process(second)  # frame 0 has a place in the store and is not processed
    at = f"/zarr/{SLUG}/{first.night}"
    store = house.root / SLUG / first.night.isoformat() / "raw.zarr"
    marker = store / "zarr.json"
    root = json.loads(marker.read_bytes())
    assert (await client.get(f"{at}/raw.zarr/raw/c.1.0.0.0")).status_code == 200
    for metadata in root["consolidated_metadata"]["metadata"].values():
        metadata["shape"][0] = 1  # as it was before the second commit
    marker.write_text(json.dumps(root))
    assert (await client.get(f"{at}/raw.zarr/raw/c.0.0.0.0")).status_code == 200
    assert (await client.get(f"{at}/raw.zarr/raw/c.1.0.0.0")).status_code == 404
    assert (await client.get(f"{at}/raw.zarr/raw/zarr.json")).json()["shape"][0] == 1
    times = np.frombuffer((await client.get(f"{at}/raw.zarr/time/c.0")).content, "<i8")
    assert (times[0] > 0, times[1]) == (True, -1)
    assert (await client.get(f"{at}/raw.zarr/time/c.1")).status_code == 404
    assert (await client.get(f"{at}/v0001.zarr/linear/c.0.0.0.0")).status_code == 404
    for wrong in ("v0001.zarr/zarr.json.partial", "raw.zarr/.zarray", "raw-7.zarr/zarr.json"):
        assert (await client.get(f"{at}/{wrong}")).status_code == 404
    assert (await client.get(f"{at}/current.json/zarr.json")).status_code == 422


async def test_a_chunk_in_parts(house: House, client: httpx.AsyncClient) -> None:
    ref = house.capture(DUSK)
    address = f"/zarr/{SLUG}/{ref.night}/raw.zarr/raw/c.0.0.0.0"
    whole = await client.get(address)
    tail = await client.get(address, headers={"range": "bytes=-20"})
    assert (tail.status_code, tail.content) == (206, whole.content[-20:])
    head = await client.head(address)
    assert int(head.headers["content-length"]) == len(whole.content)
    again = await client.get(address, headers={"if-none-match": whole.headers["etag"]})
    assert again.status_code == 304


def test_the_client_reads_everything(house: House, settings: Settings) -> None:
    write_camera_lens(house)
    refs = [house.capture(DUSK + k * MINUTE, (10.0, 2.5)) for k in range(5)]
    for ref in refs:
        found = [streak("t", "meteor", DUSK, 1.5)] if ref.index == 2 else []
        process_sky(house, ref, transients=found, cloud_fraction=ref.index / 10)
    add_product(house, refs[0], b"video")
    with serving(settings) as base, Client(base) as sky:
        assert sky.cameras() == [SLUG]
        assert sky.latest().id == refs[-1].id
        assert [f.index for f in sky.frames(order="newest")] == [4, 3, 2, 1, 0]
        assert [f.index for f in sky.frames(cloud_fraction_min=0.25)] == [3, 4]
        frame = sky.frame(refs[1].id)
        assert frame.measurements["cloud_fraction"] == 0.1
        assert frame.time == DUSK + MINUTE
        with fits.open(io.BytesIO(sky.raw(frame, 1))) as hdus:
            expected = house.brackets[refs[1]].exposures[1].pixels
            np.testing.assert_array_equal(hdus[0].data, expected)
        assert sky.picture(frame, width=64)[:2] == b"\xff\xd8"
        numbers = sky.series(["cloud_fraction", "exposure_s"])
        assert numbers.cloud_fraction.values == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
        assert numbers.time.values[0] == np.datetime64(DUSK.replace(tzinfo=None), "us")
        assert numbers.sel(time=slice("2026-11-22T20:01", "2026-11-22T20:03")).sizes["time"] == 3
        curve = sky.light_curve(32349)
        assert curve.flux.values == pytest.approx([2, 4, 6, 8, 10])
        clouds = sky.sky_map(frame, "clouds")
        assert float(clouds.where(clouds.azimuth_deg < 180, drop=True).mean()) == 1.0
        night = next(iter(sky.nights()))
        assert night.quality is not None
        assert night.quality["frames"] == 5
        (meteor,) = sky.transients(kind="meteor")
        assert (meteor.frame, meteor.magnitude) == (refs[2].id, 1.5)
        (product,) = sky.products(refs[0].night)
        assert sky.download(product) == b"video"
        assert sky.safety()["verdict"] == "unknown"
        assert sky.ephemeris(DUSK)["night"] == "2026-11-22"
        opened = sky.open_night(refs[0].night)
        assert opened.linear.isel(time=0).shape == (HEIGHT // 2, WIDTH // 2, 3)
        with pytest.raises(ServiceError, match="no frame 99") as refused:
            sky.frame("2026-11-22/99")
        assert (refused.value.status, refused.value.kind) == (404, "not-found")
    with Client(base, timeout_s=1) as gone, pytest.raises(ServiceError, match="cannot be reached"):
        gone.latest()


def test_the_client_follows_events_and_misses_nothing_over_a_restart(
    house: House, settings: Settings
) -> None:
    refs = [house.capture(DUSK + k * MINUTE) for k in range(5)]
    house.process(refs[0])
    heard: list[Event] = []
    client = Client(f"http://127.0.0.1:{settings.api.port}")
    enough = threading.Event()

    def listen() -> None:
        from allsky360.client.events import follow

        for event in follow(client.http, retry_s=0.1):
            heard.append(event)
            if [e.name for e in heard].count("measurement") == 4:
                break
        enough.set()

    with serving(settings) as base:
        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        _until(lambda: bool(heard))
        _until(lambda: httpx.get(f"{base}/api/v1/health").status_code == 200)
        for ref in refs[1:3]:
            house.process(ref, cloud_fraction=0.5)
            _until(lambda: any(e.data.get("id") == ref.id for e in heard))  # noqa: B023
    house.process(refs[3], cloud_fraction=0.5)  # while the service is down
    with serving(settings):
        house.process(refs[4], cloud_fraction=0.5)
        assert enough.wait(30)
    frames = [e.data["id"] for e in heard if e.name == "frame"]
    numbers = [e.data["id"] for e in heard if e.name == "measurement"]
    assert frames == numbers == [r.id for r in refs[1:]]
    assert all(
        e.data["measurements"]["cloud_fraction"] == 0.5 for e in heard if e.name == "measurement"
    )


def _until(met: object, timeout_s: float = 20.0) -> None:
    import time

    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if met():  # type: ignore[operator]
            return
        time.sleep(0.05)
    raise AssertionError("did not happen in time")


def test_reading_the_event_stream_format() -> None:
    lines = [
        "retry: 2000", "id: a-1-2", "event: frame", 'data: {"id":"x"}', "",
        ": still here", "", "id: a-2-3", "event: state", 'data: {"state":"live"}', "",
    ]  # fmt: skip
    assert list(read_events(lines)) == [
        Event("a-1-2", "frame", {"id": "x"}),
        Event("a-2-3", "state", {"state": "live"}),
    ]


async def test_the_websocket_tells_the_same_and_resumes(house: House, settings: Settings) -> None:
    from websockets.asyncio.client import connect

    from allsky360.api.app import create_app
    from tests.api.test_live import primed, running

    refs = [house.capture(DUSK + k * MINUTE) for k in range(3)]
    app = create_app(settings)
    async with running(app, settings.api.port) as base:
        await primed(app)
        address = base.replace("http", "ws") + "/api/v1/events/ws"
        async with connect(address) as socket:
            assert json.loads(await socket.recv())["event"] == "hello"
            house.process(refs[0])
            first = json.loads(await socket.recv())
            assert (first["event"], first["data"]["id"]) == ("frame", refs[0].id)
        for ref in refs[1:]:
            house.process(ref)
        async with connect(f"{address}?after={first['id']}") as socket:
            heard = [json.loads(await socket.recv()) for _ in range(5)]
        assert [(e["event"], e["data"]["id"]) for e in heard] == [
            ("measurement", refs[0].id),
            ("frame", refs[1].id),
            ("measurement", refs[1].id),
            ("frame", refs[2].id),
            ("measurement", refs[2].id),
        ]
        assert app.state.service.load.streams <= 1
