"""The service over a real archive: resources, paging, caching, FITS, and what it refuses."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import sys
from datetime import date, timedelta
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from astropy.io import fits

from allsky360.api.app import create_app
from allsky360.config import Settings
from tests.api.conftest import DEVICE, DUSK, HEIGHT, SLUG, WIDTH, House, another_camera

API = "/api/v1"
NIGHT = date(2026, 11, 22)
MINUTE = timedelta(minutes=1)


async def get(client: httpx.AsyncClient, address: str, status: int = 200) -> Any:
    reply = await client.get(address)
    assert reply.status_code == status, reply.text
    if status >= 400:
        assert reply.headers["content-type"] == "application/problem+json"
        body = reply.json()
        assert body["status"] == status
        assert body["type"].startswith("urn:allsky360:problem:")
        assert body["title"]
        assert body["detail"]
        assert body["instance"] == reply.request.url.path
    return reply.json()


async def walk(client: httpx.AsyncClient, address: str) -> list[dict[str, Any]]:
    """Follow next links to the end."""
    frames: list[dict[str, Any]] = []
    following: str | None = address
    while following:
        page = await get(client, following)
        frames += page["frames"]
        following = page["links"]["next"]
    return frames


async def test_an_archive_that_does_not_exist_yet_is_served(client: httpx.AsyncClient) -> None:
    assert (await get(client, f"{API}/nights"))["nights"] == []
    assert (await get(client, f"{API}/frames"))["frames"] == []
    assert (await get(client, f"{API}/cameras"))["cameras"] == []
    assert (await get(client, f"{API}/latest", 404))["type"].endswith("nothing-captured")
    assert (await get(client, f"{API}/latest/picture", 404))["type"].endswith("nothing-captured")
    assert (await get(client, f"{API}/frames/2026-11-22/0", 404))["type"].endswith("not-found")
    status = await get(client, f"{API}/status")
    assert status["state"] == "waiting"
    assert status["last_frame"] is None
    assert status["storage"]["reachable"]
    assert (await get(client, f"{API}/health/ready"))["status"] == "ready"


async def test_a_frame_from_capture_to_picture(house: House, client: httpx.AsyncClient) -> None:
    ref = house.capture(DUSK, (10.0, 2.5))
    waiting = await get(client, f"{API}/frames/{ref.id}")
    assert waiting["processed"] is False
    assert waiting["links"]["picture"] is None
    assert (await get(client, f"{API}/frames/{ref.id}/picture", 404))["type"].endswith(
        "not-processed"
    )
    assert (await get(client, f"{API}/latest", 404))["type"].endswith("not-processed")

    house.process(ref)
    frame = await get(client, f"{API}/latest")
    assert frame["id"] == ref.id == "2026-11-22/000000"
    assert frame["camera"] == SLUG
    assert frame["time"] == "2026-11-22T20:00:00.123456Z"
    # mean solar time at 17.8816 W: 1 h 11 min 31.6 s behind
    assert frame["local_time"] == "2026-11-22T18:48:28"
    assert frame["exposures_s"] == [10.0, 2.5]
    assert frame["gain"] == 120.0
    assert frame["measurements"]["level"] == 0.12
    assert frame["measurements"]["temperature_c"] == -9.5
    assert frame["measurements"]["background_green"] == pytest.approx(0.05)
    assert frame["provenance"]["software"] == "test"
    assert [e["exposure_s"] for e in frame["exposures"]] == [10.0, 2.5]
    assert frame["neighbours"] == {"previous": None, "next": None}
    assert -60 < frame["sky"]["sun_altitude_deg"] < 0
    for link in (frame["links"]["self"], frame["links"]["night"], *frame["links"]["raw"]):
        assert (await client.get(link)).status_code == 200
    stored = await client.get(frame["links"]["picture"])
    pictures = list(house.root.rglob("*.jpg"))
    assert [p.read_bytes() for p in pictures] == [stored.content]


async def test_json_knows_no_nan(house: House, client: httpx.AsyncClient) -> None:
    ref = house.process(house.capture(DUSK, background_x=float("nan")))
    text = (await client.get(f"{API}/frames/{ref.id}")).text
    measurements = json.loads(text, parse_constant=pytest.fail)["measurements"]
    assert measurements.get("background_x") is None


async def test_paging_over_a_growing_night_has_no_gap_and_no_duplicate(
    house: House, client: httpx.AsyncClient
) -> None:
    for i in range(7):
        house.shoot(DUSK + i * MINUTE)
    seen: list[int] = []
    page = await get(client, f"{API}/nights/{NIGHT}/frames?limit=3")
    for added in range(7, 12):  # the night grows between two pages
        seen += [f["index"] for f in page["frames"]]
        house.capture(DUSK + added * MINUTE)
        following = page["links"]["next"] or f"{API}/frames?limit=3&cursor={page['cursor']}"
        page = await get(client, following)
    seen += [f["index"] for f in page["frames"]]
    assert seen == list(range(12))
    cursor = page["cursor"]
    # the last cursor waits for what comes
    assert (await get(client, f"{API}/frames?cursor={cursor}"))["frames"] == []
    house.capture(DUSK + 20 * MINUTE)
    later = await get(client, f"{API}/frames?cursor={cursor}")
    assert [f["index"] for f in later["frames"]] == [12]


async def test_ranges_and_order_span_nights(house: House, client: httpx.AsyncClient) -> None:
    times = [DUSK + timedelta(hours=h) for h in (0, 8, 24, 32, 48)]
    for when in times:
        house.capture(when)
    ids = [f["id"] for f in await walk(client, f"{API}/frames?limit=2")]
    assert ids == [
        "2026-11-22/000000",
        "2026-11-22/000001",
        "2026-11-23/000000",
        "2026-11-23/000001",
        "2026-11-24/000000",
    ]
    newest = await walk(client, f"{API}/frames?limit=2&order=newest")
    assert [f["id"] for f in newest] == ids[::-1]
    start, end = times[1], times[3]
    query = f"start={start:%Y-%m-%dT%H:%M:%S.%fZ}&end={end:%Y-%m-%dT%H:%M:%S.%f}"
    for order, wanted in (("oldest", ids[1:3]), ("newest", ids[2:0:-1])):
        some = await walk(client, f"{API}/frames?limit=1&order={order}&{query}")
        assert [f["id"] for f in some] == wanted
    assert (await get(client, f"{API}/frames?start=2150-01-01"))["frames"] == []
    nights = await get(client, f"{API}/nights?limit=2")
    assert [n["night"] for n in nights["nights"]] == ["2026-11-24", "2026-11-23"]
    rest = await get(client, nights["links"]["next"])
    assert [n["night"] for n in rest["nights"]] == ["2026-11-22"]
    assert rest["links"]["next"] is None


async def test_times_beyond_every_frame_give_empty_pages(
    house: House, client: httpx.AsyncClient
) -> None:
    house.capture(DUSK)
    everything = "start=0001-01-01T00:00:00%2B14:00&end=9999-12-31T23:59:59-12:00"
    assert len((await get(client, f"{API}/frames?{everything}"))["frames"]) == 1
    for query in (
        "start=9999-12-31T23:59:59-12:00",
        "end=0001-01-01T00:00:00%2B14:00",
        "start=5000-01-01&end=6000-01-01",
        "start=0300-01-01&end=0400-01-01",
    ):
        assert (await get(client, f"{API}/frames?{query}"))["frames"] == []
    for night in ("0001-01-01", "9999-12-31"):
        await get(client, f"{API}/nights/{night}/frames", 404)
        await get(client, f"{API}/frames/{night}/0", 404)


async def test_the_next_page_is_in_the_link_header(house: House, client: httpx.AsyncClient) -> None:
    house.capture(DUSK)
    house.capture(DUSK + MINUTE)
    reply = await client.get(f"{API}/frames?limit=1")
    assert reply.links["next"]["url"] == reply.json()["links"]["next"]


async def test_a_night_and_its_series(house: House, client: httpx.AsyncClient) -> None:
    for i in range(24):
        ref = house.capture(DUSK + i * MINUTE, (0.5, 0.125), level=1.0 if i == 13 else 0.1)
    house.process(ref)
    night = await get(client, f"{API}/nights/{NIGHT}")
    assert (night["frames"], night["processed"]) == (24, 1)
    assert night["begins"] == "2026-11-22T13:11:31.584000Z"
    assert night["first_frame"] == "2026-11-22T20:00:00.123456Z"
    assert {"level", "background_green", "temperature_c"} <= set(night["variables"])
    address = f"{API}/nights/{NIGHT}/series?variables=exposure_s,level,nonsense&points=20"
    series = await get(client, address)
    assert series["frames"] == 24
    assert 2 <= len(series["time"]) <= 20
    assert max(series["variables"]["level"]) == 1.0
    assert set(series["variables"]["exposure_s"]) == {0.5}
    assert set(series["variables"]["nonsense"]) == {None}
    many = ",".join(f"v{i}" for i in range(30))
    problem = await get(client, f"{API}/nights/{NIGHT}/series?variables={many}", 400)
    assert "at a time" in problem["detail"]


async def test_pictures_of_any_size(house: House, client: httpx.AsyncClient) -> None:
    ref = house.shoot(DUSK)
    address = f"{API}/frames/{ref.id}/picture"
    for width, quality in ((16, 10), (72, 85), (143, 100)):
        reply = await client.get(f"{address}?width={width}&quality={quality}")
        assert reply.headers["content-type"] == "image/jpeg"
        image = cv2.imdecode(np.frombuffer(reply.content, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (round(HEIGHT * width / WIDTH), width, 3)
    large = await client.get(f"{address}?width=4096")
    assert cv2.imdecode(np.frombuffer(large.content, np.uint8), 1).shape == (HEIGHT, WIDTH, 3)
    some = await client.get(address, headers={"range": "bytes=0-1"})
    assert (some.status_code, some.content) == (206, b"\xff\xd8")


async def test_conditional_requests_and_head(house: House, client: httpx.AsyncClient) -> None:
    ref = house.shoot(DUSK)
    frame = await get(client, f"{API}/frames/{ref.id}")
    addresses = [
        f"{API}",
        f"{API}/nights",
        f"{API}/nights/{NIGHT}",
        f"{API}/frames",
        f"{API}/frames/{ref.id}",
        f"{API}/latest",
        f"{API}/latest/picture",
        f"{API}/latest/picture?width=50",
        frame["links"]["picture"],
        frame["links"]["thumbnail"],
        frame["links"]["raw"][0],
        "/",
        "/docs",
        "/static/pages/live.js",
    ]
    for address in addresses:
        reply = await client.get(address)
        head = await client.head(address)
        assert (head.status_code, head.content) == (200, b""), address
        assert head.headers["etag"] == reply.headers["etag"], address
        assert head.headers["content-length"] == reply.headers["content-length"], address
        same = await client.get(address, headers={"if-none-match": reply.headers["etag"]})
        assert (same.status_code, same.content) == (304, b""), address
        assert same.headers["etag"] == reply.headers["etag"]
        assert same.headers["cache-control"] == reply.headers["cache-control"]
        other = await client.get(address, headers={"if-none-match": '"other"'})
        assert other.status_code == 200, address
        if modified := reply.headers.get("last-modified"):
            again = await client.get(address, headers={"if-modified-since": modified})
            assert again.status_code == 304, address
            long_ago = {"if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}
            assert (await client.get(address, headers=long_ago)).status_code == 200
    assert "last-modified" in (await client.get(f"{API}/latest/picture")).headers


async def test_what_may_be_kept_for_ever_and_what_not(
    house: House, client: httpx.AsyncClient
) -> None:
    ref = house.shoot(DUSK)
    frame = await get(client, f"{API}/latest")
    fixed = await client.get(frame["links"]["picture"])
    assert "immutable" in fixed.headers["cache-control"]
    assert "immutable" in (await client.get(frame["links"]["raw"][0])).headers["cache-control"]
    for address in (f"{API}/latest", f"{API}/latest/picture", f"{API}/frames/{ref.id}/picture"):
        assert (await client.get(address)).headers["cache-control"] == "no-cache"
    # processed again: another revision, another address, another tag; the old address is live
    house.process(ref, picture=fixed.content + b"\0")
    again = await get(client, f"{API}/latest")
    assert again["revision"] != frame["revision"]
    new = await client.get(again["links"]["picture"])
    assert new.content != fixed.content
    assert new.headers["etag"] != fixed.headers["etag"]
    old = await client.get(frame["links"]["picture"])
    assert old.headers["cache-control"] == "no-cache"
    small = [(await client.get(f["links"]["thumbnail"])).headers["etag"] for f in (frame, again)]
    assert small[0] == small[1] == (await client.get(again["links"]["thumbnail"])).headers["etag"]


async def test_json_is_compressed_and_pictures_are_not(
    house: House, client: httpx.AsyncClient
) -> None:
    ref = house.shoot(DUSK)
    accept = {"accept-encoding": "gzip"}
    page = await client.get(f"{API}/frames/{ref.id}", headers=accept)
    assert page.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in page.headers["vary"].lower()
    for address in (f"{API}/latest/picture", f"{API}/frames/{ref.id}/raw.fits"):
        reply = await client.get(address, headers=accept)
        assert "content-encoding" not in reply.headers
        assert int(reply.headers["content-length"]) == len(reply.content)


async def test_raw_fits_is_what_the_camera_delivered(
    house: House, client: httpx.AsyncClient
) -> None:
    ref = house.capture(DUSK, (10.0, 2.5, 0.625))
    for number, exposure in enumerate(house.brackets[ref].exposures):
        reply = await client.get(f"{API}/frames/{ref.id}/raw.fits?exposure={number}")
        assert reply.headers["content-type"] == "application/fits"
        assert f"000000_{number}.fits" in reply.headers["content-disposition"]
        with fits.open(io.BytesIO(reply.content), memmap=False) as hdus:
            hdus.verify("exception")
            header = hdus[0].header
            np.testing.assert_array_equal(hdus[0].data, exposure.pixels)
        assert header["EXPTIME"] == exposure.exposure_s
        assert header["DATE-OBS"] == exposure.start.isoformat(timespec="milliseconds")[:-6]
        assert (header["GAIN"], header["OFFSET"], header["CCD-TEMP"]) == (120.0, 8.0, -9.5)
        assert header["INSTRUME"] == DEVICE
        assert header["BAYERPAT"] == "RGGB"
        assert (header["EXPIDX"], header["NEXP"], header["NIGHT"]) == (number, 3, "2026-11-22")
        assert header["SITELAT"] == house.site.latitude_deg
    problem = await get(client, f"{API}/frames/{ref.id}/raw.fits?exposure=3", 404)
    assert "3 exposures" in problem["detail"]


async def test_downloads_are_counted_out_again(house: House, settings: Settings) -> None:
    ref = house.capture(DUSK)
    app = create_app(settings)
    service = app.state.service
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        address = f"{API}/frames/{ref.id}/raw.fits"
        replies = await asyncio.gather(*(client.get(address) for _ in range(4)))
        assert {r.status_code for r in replies} == {200}
        await client.head(address)
        assert service.load.downloads == 0
        service.load.downloads = 8
        busy = await client.get(address)
    assert busy.status_code == 503
    assert busy.headers["retry-after"]
    assert busy.json()["type"].endswith("busy")


async def test_several_cameras(house: House, client: httpx.AsyncClient) -> None:
    house.shoot(DUSK)
    with another_camera(house, "Second Camera") as second:
        second.shoot(DUSK + MINUTE)
        second.shoot(DUSK + 2 * MINUTE)
    cameras = (await get(client, f"{API}/cameras"))["cameras"]
    assert [c["slug"] for c in cameras] == ["second-camera", SLUG]
    assert (await get(client, f"{API}/latest"))["camera"] == "second-camera"
    for name in (SLUG, DEVICE):
        reply = await client.get(f"{API}/latest", params={"camera": name})
        assert reply.json()["camera"] == SLUG
    frames = await walk(client, f"{API}/frames?camera={SLUG}&limit=1")
    assert [f["camera"] for f in frames] == [SLUG]
    frames = await walk(client, f"{API}/frames?camera=second-camera&limit=1")
    assert [f["index"] for f in frames] == [0, 1]
    problem = await get(client, f"{API}/frames?camera=third", 404)
    assert SLUG in problem["detail"]


async def test_status_counts_and_ages(house: House, client: httpx.AsyncClient) -> None:
    house.shoot(DUSK)
    house.capture(DUSK + MINUTE)
    status = await get(client, f"{API}/status")
    assert status["last_frame"]["id"].endswith("/000001")
    assert status["last_picture"]["id"].endswith("/000000")
    assert status["unprocessed"] == 1
    assert status["last_picture"]["age_s"] - status["last_frame"]["age_s"] == pytest.approx(
        60, abs=0.01
    )
    assert status["owner"] is None
    assert status["links"]["prefect"].startswith("http://127.0.0.1:")
    assert status["site"]["name"] == "La Palma"


@pytest.mark.parametrize(
    ("address", "parameter"),
    [
        ("/nights/2026-13-45", "night"),
        ("/nights/20261122", "night"),
        ("/nights/1763769600/frames", "night"),
        ("/nights/2026-11-22%00/frames", "night"),
        ("/frames?limit=0", "limit"),
        ("/frames?limit=1001", "limit"),
        ("/frames?limit=99999999999999999999999", "limit"),
        ("/frames?limit=many", "limit"),
        ("/frames?start=1763769600", "start"),
        ("/frames?start=0000-01-01T00:00:00Z", "start"),
        ("/frames?start=now", "start"),
        ("/frames?order=sideways", "order"),
        ("/frames?camera=", "camera"),
        ("/frames?camera=" + "x" * 500, "camera"),
        ("/frames?cursor=" + "x" * 5000, "cursor"),
        ("/frames/2026-11-22/-1", "index"),
        ("/frames/2026-11-22/1e9", "index"),
        ("/frames/2026-11-22/99999999999999999999999999", "index"),
        ("/frames/2026-11-22/0/picture?width=15", "width"),
        ("/frames/2026-11-22/0/picture?width=1000000", "width"),
        ("/frames/2026-11-22/0/picture?width=nan", "width"),
        ("/frames/2026-11-22/0/picture?quality=0", "quality"),
        ("/frames/2026-11-22/0/raw.fits?exposure=5", "exposure"),
        ("/frames/2026-11-22/0/raw.fits?exposure=-1", "exposure"),
        ("/nights/2026-11-22/series?points=10000000", "points"),
        ("/latest/picture?width=-5", "width"),
    ],
)
async def test_wrong_parameters_are_named(
    house: House, client: httpx.AsyncClient, address: str, parameter: str
) -> None:
    house.shoot(DUSK)
    problem = await get(client, API + address, 422)
    assert problem["type"].endswith("bad-parameters")
    assert [e["parameter"] for e in problem["errors"]] == [parameter]
    assert len(json.dumps(problem)) < 2000


@pytest.mark.parametrize("cursor", ["x", "AAAA", "%00", "W10", "bnVsbA", "../../etc/passwd"])
async def test_malformed_cursors(house: House, client: httpx.AsyncClient, cursor: str) -> None:
    house.shoot(DUSK)
    for path in ("/frames", f"/nights/{NIGHT}/frames", "/nights"):
        problem = await get(client, f"{API}{path}?cursor={cursor}", 400)
        assert problem["type"].endswith("bad-cursor")


async def test_a_cursor_names_only_cameras_of_the_archive(
    house: House, client: httpx.AsyncClient
) -> None:
    from allsky360.api.paging import Position, encode

    house.shoot(DUSK)
    for camera in ("../..", "/etc", "other", "..", "\0"):
        cursor = encode(Position(camera, NIGHT, 0))
        for path in ("/frames", f"/nights/{NIGHT}/frames", "/nights"):
            problem = await get(client, f"{API}{path}?cursor={cursor}", 404)
            assert problem["type"].endswith("not-found")


@pytest.mark.parametrize(
    "address",
    [
        f"{API}/frames/../../../etc/passwd",
        f"{API}/frames/..%2f..%2f..%2fetc/passwd",
        f"{API}/nights/%2e%2e/frames",
        f"{API}/nights/..%5c..%5cetc",
        f"{API}/latest?camera=../../../../etc",
        f"{API}/latest?camera=..%2F..%2F",
        f"{API}/latest?camera=%00",
        f"{API}/latest/picture?camera=/etc/passwd",
        f"{API}/frames?camera=.",
        f"{API}/nonsense",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/%2fetc%2fpasswd",
        "/etc/passwd",
    ],
)
async def test_no_address_leads_out_of_the_archive(
    house: House, client: httpx.AsyncClient, address: str
) -> None:
    house.shoot(DUSK)
    (house.root.parent / "secret.jpg").write_bytes(b"secret")
    reply = await client.get(address)
    assert reply.status_code in (400, 404, 422)
    assert reply.headers["content-type"] == "application/problem+json"
    assert "secret" not in reply.text
    assert "root:" not in reply.text
    assert str(house.root) not in reply.text


async def test_unknown_things_say_where_to_look(house: House, client: httpx.AsyncClient) -> None:
    house.shoot(DUSK)
    assert "GET /api/v1/nights" in (await get(client, f"{API}/nights/2020-01-01", 404))["detail"]
    assert "frames lists" in (await get(client, f"{API}/frames/{NIGHT}/77", 404))["detail"]
    assert "GET or HEAD" in (await client.post(f"{API}/frames")).json()["detail"]
    swapped = f"{API}/frames?start=2026-11-23&end=2026-11-22"
    assert "Swap them" in (await get(client, swapped, 400))["detail"]


async def test_a_picture_that_vanished_or_broke_is_a_clear_answer(
    house: House, client: httpx.AsyncClient
) -> None:
    ref = house.shoot(DUSK)
    picture = next(house.root.rglob("*.jpg"))
    picture.write_bytes(b"not a picture")
    problem = await get(client, f"{API}/frames/{ref.id}/picture?width=50", 500)
    assert "process the frame again" in problem["detail"]
    picture.unlink()
    problem = await get(client, f"{API}/frames/{ref.id}/picture", 410)
    assert problem["type"].endswith("picture-removed")
    await get(client, f"{API}/frames/{ref.id}/picture?width=60", 410)


async def test_raw_that_vanished_is_a_clear_answer(house: House, client: httpx.AsyncClient) -> None:
    ref = house.shoot(DUSK)
    house.close()
    for folder in house.root.rglob("raw.zarr/raw"):
        shutil.rmtree(folder)
    reply = await client.get(f"{API}/frames/{ref.id}/raw.fits")
    assert reply.status_code >= 400
    assert reply.headers["content-type"] == "application/problem+json"
    assert str(house.root) not in reply.text


async def test_security_headers_are_on_every_answer(
    house: House, client: httpx.AsyncClient
) -> None:
    house.shoot(DUSK)
    for address in ("/", "/docs", f"{API}/latest", f"{API}/latest/picture", "/nowhere"):
        headers = (await client.get(address)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


async def test_the_openapi_document_declares_what_is_sent(client: httpx.AsyncClient) -> None:
    document = await get(client, f"{API}/openapi.json")
    paths = document["paths"]
    assert {
        f"{API}/nights",
        f"{API}/nights/{{night}}/frames",
        f"{API}/frames",
        f"{API}/frames/{{night}}/{{index}}/picture",
        f"{API}/frames/{{night}}/{{index}}/raw.fits",
        f"{API}/latest",
        f"{API}/latest/picture",
        f"{API}/events",
        f"{API}/health/ready",
    } <= set(paths)
    picture = paths[f"{API}/frames/{{night}}/{{index}}/picture"]["get"]["responses"]
    assert list(picture["200"]["content"]) == [
        f"image/{kind}" for kind in ("jpeg", "png", "webp", "avif")
    ]
    raw = paths[f"{API}/frames/{{night}}/{{index}}/raw.fits"]["get"]["responses"]
    assert list(raw["200"]["content"]) == ["application/fits"]
    events = paths[f"{API}/events"]["get"]["responses"]
    assert list(events["200"]["content"]) == ["text/event-stream"]
    for path, methods in paths.items():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if status == "422":
                    assert list(answer["content"]) == ["application/problem+json"], path
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    schemas = document["components"]["schemas"]
    for reference in set(_references(document)):
        assert reference.removeprefix("#/components/schemas/") in schemas


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [r for value in node.values() for r in _references(value)]
    return [r for value in node for r in _references(value)] if isinstance(node, list) else []


async def test_a_mistake_of_the_service_is_a_problem_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(settings)

    def fail() -> list[str]:
        raise ZeroDivisionError("secret text")

    monkeypatch.setattr(app.state.service.store, "cameras", fail)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        problem = await get(client, f"{API}/cameras", 500)
    assert "secret" not in json.dumps(problem)


async def test_nothing_is_written_to_the_archive(house: House, client: httpx.AsyncClient) -> None:
    ref = house.shoot(DUSK)
    house.close()

    def listing() -> dict[str, tuple[int, int]]:
        return {
            str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(house.root.rglob("*"))
        }

    before = listing()
    for path in (
        "/cameras",
        "/nights",
        f"/nights/{NIGHT}",
        f"/nights/{NIGHT}/series",
        "/frames",
        "/latest",
        "/latest/picture?width=40",
        "/status",
        f"/frames/{ref.id}/raw.fits",
    ):
        assert (await client.get(API + path)).status_code == 200
    assert listing() == before


def test_it_knows_neither_prefect_nor_dask() -> None:
    code = (
        "import sys\nfrom allsky360.api.app import create_app\n"
        "from allsky360.config import Settings\ncreate_app(Settings())\n"
        "print([m for m in ('prefect', 'dask', 'distributed', 'indigo') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert out.stdout.strip() == "[]"
