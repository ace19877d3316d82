"""What the service says of the sky: overlays, pixels, stars, maps, lens, ephemeris, products."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, timedelta
from typing import Any

import cv2
import httpx
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from allsky360.archive.removed import note_removed
from allsky360.config import Settings
from allsky360.lens_history import NightEntry, note_night
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from tests.api.conftest import DUSK, HEIGHT, SLUG, WIDTH, House
from tests.api.sky_house import LENS, add_product, process_sky, streak, write_camera_lens
from tests.api.test_app import API, get, walk

MINUTE = timedelta(minutes=1)


def picture_of(content: bytes) -> np.ndarray[Any, Any]:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


async def test_an_overlay_follows_its_layers_and_the_pictures_size(
    house: House, client: httpx.AsyncClient
) -> None:
    ref = house.capture(DUSK)
    at = f"{API}/frames/{ref.id}"
    assert (await get(client, f"{at}/overlay.svg", 404))["type"].endswith("not-processed")
    process_sky(house, ref)
    assert (await get(client, f"{at}/overlay.svg", 404))["type"].endswith("no-lens")
    write_camera_lens(house)
    svg = await client.get(f"{at}/overlay.svg", params={"layers": "cardinal_points,altaz_grid"})
    assert svg.headers["content-type"].startswith("image/svg+xml")
    assert f'viewBox="0 0 {WIDTH} {HEIGHT}"' in svg.text
    assert 'class="line altaz' in svg.text
    assert "constellation" not in svg.text
    small = await client.get(f"{at}/overlay.svg", params={"width": 72})
    assert 'viewBox="0 0 72 48"' in small.text
    again = await client.get(
        f"{at}/overlay.svg", params={"width": 72}, headers={"if-none-match": small.headers["etag"]}
    )
    assert again.status_code == 304
    layer = picture_of((await client.get(f"{at}/overlay.png?layers=altaz_grid")).content)
    assert layer.shape == (HEIGHT, WIDTH, 4)
    assert 0 < (layer[..., 3] > 0).mean() < 0.9
    plain = picture_of((await client.get(f"{at}/picture?format=png")).content)
    burnt = picture_of((await client.get(f"{at}/picture?format=png&overlay=altaz_grid")).content)
    changed = np.abs(burnt.astype(int) - plain.astype(int)).max(axis=2) > 8
    assert changed.any()
    assert not changed[layer[..., 3] == 0].any()
    tiny = await client.get(f"{at}/picture?width=16&overlay=planets,text")  # 16 x 11: rounded
    assert picture_of(tiny.content).shape[:2] == (11, 16)
    assert (await get(client, f"{at}/overlay.svg?layers=nonsense", 422))["errors"]


@pytest.mark.parametrize("flip", [False, True])
async def test_a_pixel_on_a_star_reads_the_stars_coordinates(
    house: House, client: httpx.AsyncClient, flip: bool
) -> None:
    write_camera_lens(house)
    ref = process_sky(house, house.capture(DUSK), flip=flip)
    when = DUSK + timedelta(seconds=5)
    stars = load_catalogue(2.0)
    altitude, azimuth = apparent_altaz(stars, house.site, when)
    x, y, on = LENS.project(altitude, azimuth)
    if flip:
        x = WIDTH - 1 - x
    seen = np.flatnonzero(on & (altitude > 20))
    assert seen.size > 5
    for i in seen[:5]:
        address = f"{API}/frames/{ref.id}/pixel?x={x[i] + 0.5}&y={y[i] + 0.5}"
        pixel = await get(client, address)
        assert pixel["altitude_deg"] == pytest.approx(altitude[i], abs=0.01)
        apart = (pixel["ra_deg"] - stars.ra_deg[i] + 180) % 360 - 180
        # proper motion and aberration: under a hundredth of a degree
        assert apart * np.cos(np.radians(stars.dec_deg[i])) == pytest.approx(0, abs=0.012)
        assert pixel["dec_deg"] == pytest.approx(stars.dec_deg[i], abs=0.012)
        assert pixel["cloud_state"] == ("cloudy" if azimuth[i] < 180 else "clear")
        assert pixel["sky_brightness_mag_arcsec2"] == pytest.approx(
            21 + azimuth[i] / 1000, abs=0.03
        )
        half = await get(
            client,
            f"{API}/frames/{ref.id}/pixel?x={(x[i] + 0.5) / 2}&y={(y[i] + 0.5) / 2}&width=72",
        )
        assert half["dec_deg"] == pytest.approx(pixel["dec_deg"], abs=0.01)
    corner = await get(client, f"{API}/frames/{ref.id}/pixel?x=0.5&y=0.5")
    assert corner["altitude_deg"] is None
    assert corner["ra_deg"] is None
    listed = await get(client, f"{API}/frames/{ref.id}/stars?max_v=2")
    by_hip = {s["hip"]: s for s in listed["stars"]}
    star = by_hip[int(stars.hip[seen[0]])]
    assert (star["x"], star["y"]) == pytest.approx((x[seen[0]] + 0.5, y[seen[0]] + 0.5), abs=0.02)
    assert star["flux"] is not None


async def test_maps_as_numbers_and_as_the_sky_seen_from_below(
    house: House, client: httpx.AsyncClient
) -> None:
    ref = process_sky(house, house.capture(DUSK))
    at = f"{API}/frames/{ref.id}/maps"
    names = [m["name"] for m in (await get(client, at))["maps"]]
    assert names == ["clouds", "brightness"]
    numbers = await get(client, f"{at}/clouds")
    for azimuth, value in zip(numbers["azimuth_deg"], numbers["values"], strict=True):
        assert value == (1 if azimuth < 180 else 0)
    assert sum(numbers["solid_angle_sr"]) == pytest.approx(
        2 * np.pi * (1 - np.sin(np.radians(10))), rel=1e-3
    )
    drawn = picture_of((await client.get(f"{at}/clouds.png?size=200")).content)
    east, west = drawn[100, 50], drawn[100, 150]  # east is left
    assert east[:3].mean() > 180 > 100 > west[:3].mean()
    assert drawn[2, 2, 3] == 0
    assert (await get(client, f"{at}/transparency", 404))["type"].endswith("not-measured")
    assert (await get(client, f"{at}/nonsense", 422))["errors"]


async def test_a_stars_light_along_time(house: House, client: httpx.AsyncClient) -> None:
    for k in range(4):
        process_sky(house, house.capture(DUSK + k * MINUTE))
    listed = await get(client, f"{API}/stars?max_v=1")
    assert listed["stars"][0]["name"] == "Sirius"
    curve = await get(client, listed["stars"][0]["links"]["light_curve"])
    assert curve["flux"] == pytest.approx([2.0, 4.0, 6.0, 8.0])
    assert curve["ids"][-1] == "2026-11-22/000003"
    part = await get(
        client, f"{API}/stars/32349?start=2026-11-22T20:01:00Z&end=2026-11-22T20:02:30Z"
    )
    assert part["flux"] == pytest.approx([4.0, 6.0])
    assert (await get(client, f"{API}/stars/119999", 404))["type"].endswith("not-found")


async def test_pictures_of_steps_where_they_are_kept(
    house: House, client: httpx.AsyncClient
) -> None:
    refs = [house.capture(DUSK + i * timedelta(minutes=1)) for i in range(7)]
    for ref in refs:
        process_sky(house, ref, steps={} if ref.index % 5 else {"01-stretch": b"jpeg"})
    found = await get(client, f"{API}/frames/{refs[5].id}/steps")
    assert found["nearest_with_pictures"] is None
    assert found["steps"][0]["picture"] is None
    reply = await client.get(found["steps"][1]["picture"])
    assert (reply.content, reply.headers["content-type"]) == (b"jpeg", "image/jpeg")
    assert "immutable" in reply.headers["cache-control"]
    again = await client.get(
        found["steps"][1]["picture"], headers={"if-none-match": reply.headers["etag"]}
    )
    assert again.status_code == 304
    near = {
        i: (await get(client, f"{API}/frames/{refs[i].id}/steps"))["nearest_with_pictures"]
        for i in (2, 3, 6)
    }
    assert near == {2: refs[0].id, 3: refs[5].id, 6: refs[5].id}
    for wrong, status in (("0.jpg", 404), ("99.jpg", 404), ("100.jpg", 422), ("..%2f1.jpg", 404)):
        reply = await client.get(f"{API}/frames/{refs[5].id}/steps/{wrong}")
        assert reply.status_code == status, wrong


async def test_steps_lens_and_history(house: House, client: httpx.AsyncClient) -> None:
    ref = process_sky(house, house.capture(DUSK))
    steps = (await get(client, f"{API}/frames/{ref.id}/steps"))["steps"]
    assert [s["name"] for s in steps] == ["tone", "stretch"]
    assert (await get(client, f"{API}/lens", 404))["type"].endswith("no-lens")
    write_camera_lens(house)
    lens = await get(client, f"{API}/lens")
    assert (lens["serial"], lens["rings"][0]["rms_px"]) == (1, 0.31)
    assert lens["model"]["focal_px"] == pytest.approx(LENS.focal_px)
    note_night(
        house.root,
        SLUG,
        NightEntry(ref.night, "kept", "fits", "It fits.", DUSK, True, 20, serial=1, rms_px=0.3),
    )
    history = await get(client, f"{API}/lens/history")
    assert history["serials"] == [1]
    assert history["nights"][0]["outcome"] == "kept"


async def test_the_ephemeris_and_its_ends(client: httpx.AsyncClient, house: House) -> None:
    now = await get(client, f"{API}/ephemeris?time=2026-11-22T20:00:00Z")
    sun = next(b for b in now["bodies"] if b["name"] == "Sun")
    assert sun["altitude_deg"] < -15
    assert now["phase"] in ("astronomical twilight", "night")
    times = await get(client, f"{API}/ephemeris/nights/2026-11-22")
    bands = times["bands"]
    assert [bands[0]["begins"], bands[-1]["ends"]] == [times["begins"], times["ends"]]
    for a, b in itertools.pairwise(bands):
        assert a["ends"] == b["begins"]
    assert [b["phase"] for b in bands][:2] == ["day", "civil twilight"]
    assert bands[4]["phase"] == "night"
    several = await get(client, f"{API}/ephemeris/nights?start=2026-11-22&end=2026-11-25")
    assert several["nights"][0] == times
    track = await get(
        client, f"{API}/ephemeris/track?start=2026-11-22T12:00Z&end=2026-11-23T12:00Z&points=49"
    )
    assert min(track["sun_altitude_deg"]) == pytest.approx(times["midnight_sun_deg"], abs=1.0)
    for wrong in ("ephemeris?time=9999-12-31T23:59:59Z", "ephemeris/nights/2099-01-01"):
        assert (await get(client, f"{API}/{wrong}", 400))["type"].endswith("bad-time")


async def test_products_are_listed_and_videos_sought(
    house: House, client: httpx.AsyncClient
) -> None:
    ref = process_sky(house, house.capture(DUSK))
    content = bytes(range(256)) * 40
    add_product(house, ref, content)
    product = (await get(client, f"{API}/nights/{ref.night}/products"))["products"][0]
    assert (product["name"], product["complete"]) == ("timelapse", True)
    address = product["links"]["main"]
    assert (await client.get(address)).content == content
    part = await client.get(address, headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    tail = await client.get(address, headers={"range": "bytes=-10"})
    assert tail.content == content[-10:]
    assert (await client.get(address, headers={"range": "bytes=99999-"})).status_code == 416
    assert (await get(client, f"{API}/products"))["products"] == [product]
    assert (await get(client, f"{API}/nights"))["nights"][0]["quality"]["products"] == ["timelapse"]
    here = f"{API}/nights/{ref.night}/products/timelapse/files"
    for wrong in ("timelapse.json", "..%2F..%2Fcurrent.json", "%2Fetc%2Fpasswd", "nothing.mp4"):
        assert (await client.get(f"{here}/{wrong}")).status_code == 404


async def test_transients_over_nights(house: House, client: httpx.AsyncClient) -> None:
    write_camera_lens(house)
    expected = []
    for k in range(6):
        when = DUSK + timedelta(hours=10 * k)
        ref = house.capture(when)
        kind = "meteor" if k % 2 else "satellite"
        found = [streak(f"t{k}", kind, when, magnitude=float(k))] if k else []
        process_sky(house, ref, transients=found)
        expected += [t["id"] for t in found]
    page = await get(client, f"{API}/transients?limit=2")
    seen = [t["id"] for t in page["transients"]]
    while page["links"]["next"]:
        page = await get(client, page["links"]["next"])
        seen += [t["id"] for t in page["transients"]]
    assert seen == expected[::-1]
    bright = await get(client, f"{API}/transients?kind=meteor&magnitude_max=3.5")
    assert [t["id"] for t in bright["transients"]] == ["t3", "t1"]
    cutout = await client.get(bright["transients"][0]["links"]["cutout"])
    assert cutout.headers["content-type"] == "image/jpeg"
    assert 40 <= picture_of(cutout.content).shape[0] <= 96


async def test_a_search_by_what_was_measured(house: House, client: httpx.AsyncClient) -> None:
    for k in range(12):
        ref = house.capture(DUSK + k * timedelta(hours=5))
        if k != 5:
            house.process(ref, cloud_fraction=k / 12, sun_altitude_deg=-30.0 + 4 * (k % 3))
    address = f"{API}/frames?cloud_fraction_max=0.7&sun_altitude_max=-26&limit=2"
    found = [f["id"] for f in await walk(client, address)]
    every = await walk(client, f"{API}/frames")
    expected = [
        f["id"]
        for f in every
        if f["measurements"].get("cloud_fraction", 1) <= 0.7
        and f["measurements"]["sun_altitude_deg"] <= -26
    ]
    assert found == expected
    assert len(found) > 3
    backwards = await walk(client, address + "&order=newest")
    assert [f["id"] for f in backwards] == expected[::-1]
    sparse = await get(client, f"{address}&fields=time,measurements.cloud_fraction")
    assert set(sparse["frames"][0]) == {"id", "time", "measurements"}
    assert set(sparse["frames"][0]["measurements"]) == {"cloud_fraction"}
    assert "fields=time" in sparse["links"]["next"]
    waiting = await get(client, f"{API}/frames?processed=false")
    assert len(waiting["frames"]) == 1
    some = await get(client, f"{API}/frames?where=cloud_fraction>=0.5,cloud_fraction<0.7")
    assert len(some["frames"]) == 3
    for wrong in ("where=rm", "fields=__class__", "cloud_fraction_min=2", "sun_altitude_max=nan"):
        assert (await client.get(f"{API}/frames?{wrong}")).status_code in (400, 422)
    both = "cloud_fraction_min=0.9&cloud_fraction_max=0.1"
    assert (await get(client, f"{API}/frames?{both}", 400))["type"].endswith("bad-range")


async def test_series_in_every_format_hold_the_same_numbers(
    house: House, client: httpx.AsyncClient
) -> None:
    for k in range(8):
        house.shoot(DUSK + k * timedelta(hours=7), (10.0 + k,))
    names = "background_green,exposure_s,nothing"
    address = f"{API}/series?variables={names}"
    plain = await get(client, address)
    assert plain["variables"]["exposure_s"] == [10.0 + k for k in range(8)]
    assert plain["variables"]["nothing"] == [None] * 8
    assert plain["units"]["exposure_s"] == "s"
    arrow = pa.ipc.open_stream((await client.get(f"{address}&format=arrow")).content).read_all()
    assert arrow["background_green"].to_pylist() == pytest.approx(
        plain["variables"]["background_green"], rel=1e-6
    )
    stored = parquet.read_table(
        pa.BufferReader((await client.get(f"{address}&format=parquet")).content)
    )
    assert stored.equals(arrow)
    text = csv.read_csv(pa.BufferReader((await client.get(f"{address}&format=csv")).content))
    assert text["index"].to_pylist() == arrow["index"].to_pylist()
    assert text["time"].to_pylist()[0].replace(tzinfo=UTC) == DUSK
    few = await get(client, f"{address}&start=2026-11-23T00:00:00Z&end=2026-11-23T12:00:00Z")
    assert few["frames"] == 2
    found = await get(client, f"{API}/variables?ranges=true")
    about = {v["name"]: v for v in found["variables"]}
    assert (about["exposure_s"]["minimum"], about["exposure_s"]["maximum"]) == (10.0, 17.0)
    assert about["background_green"]["frames"] == 8
    assert (await get(client, f"{address}&points=30000", 400))["type"].endswith("bad-range")


async def test_a_nights_quality_for_the_calendar(house: House, client: httpx.AsyncClient) -> None:
    for k in range(10):
        ref = house.capture(DUSK + k * MINUTE)
        dark = k < 6
        house.process(
            ref,
            sun_altitude_deg=-20.0 if dark else 5.0,
            sky_clear=0.8 if dark else 0.1,
            sky_brightness_mag_arcsec2=21.0 + 0.1 * k if dark else 10.0,
            transients=1.0,
        )
    quality = (await get(client, f"{API}/nights"))["nights"][0]["quality"]
    assert (quality["frames"], quality["dark_frames"], quality["transients"]) == (10, 6, 10)
    assert quality["clear_share"] == 0.8
    assert quality["best_sky_brightness_mag_arcsec2"] == pytest.approx(21.475, abs=0.01)
    assert quality["cloud_share"] is None
    none = await get(client, f"{API}/nights?start=2027-01-01")
    assert none["nights"] == []


async def test_the_installation_says_how_it_is(
    house: House, client: httpx.AsyncClient, settings: Settings
) -> None:
    process_sky(house, house.capture(DUSK))
    logs = house.root / "logs"
    logs.mkdir()
    line = "2026-11-22 20:00:00 ERROR allsky360: lost http://user:secret@host/x"
    (logs / "owner.log").write_text(f"fine\n{line}\nINFO ok\n")
    system = await get(client, f"{API}/system")
    assert {p["name"] for p in system["parts"]} == {"owner", "prefect", "dask", "events"}
    assert system["errors"][0]["part"] == "owner"
    assert "secret" not in json.dumps(system)
    assert system["storage"]["cameras"] == {SLUG: 1}
    configuration = await get(client, f"{API}/configuration")
    assert configuration["settings"]["site"]["latitude_deg"] == house.site.latitude_deg
    safety = await get(client, f"{API}/safety")
    assert (safety["verdict"], safety["is_safe"]) == ("unknown", False)
    assert (await get(client, f"{API}/site"))["name"] == house.site.name
    assert (await get(client, f"{API}/cameras/{SLUG}"))["nights"] == 1


async def test_metrics_are_what_prometheus_reads(house: House, client: httpx.AsyncClient) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    house.shoot(DUSK)
    await client.get(f"{API}/latest")
    reply = await client.get("/metrics")
    families = {f.name: f for f in text_string_to_metric_families(reply.text)}
    assert families["allsky360_night_frames"].samples[0].value == 1
    counts = families["allsky360_http_request_duration_seconds"].samples
    assert any(
        s.labels.get("route") == f"{API}/latest" and s.name.endswith("_count") and s.value == 1
        for s in counts
    )
    assert families["allsky360_exposure_s"].samples[0].value == 10.0
    assert families["allsky360_backlog_frames"].samples[0].value == 0


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/avif,image/webp,*/*;q=0.8", "image/jpeg"),
        ("image/webp", "image/webp"),
        ("image/avif;q=0.4, image/png", "image/png"),
        ("text/html", None),
    ],
)
async def test_picture_formats_follow_accept(
    house: House, client: httpx.AsyncClient, accept: str, kind: str | None
) -> None:
    ref = house.shoot(DUSK)
    reply = await client.get(f"{API}/frames/{ref.id}/picture?width=64", headers={"accept": accept})
    if kind is None:
        assert reply.status_code == 406
    else:
        assert reply.headers["content-type"] == kind
        assert reply.headers["vary"] == "Accept"


async def test_a_picture_fits_in_the_box_asked_for(house: House, client: httpx.AsyncClient) -> None:
    ref = house.shoot(DUSK)
    for query, size in (
        ("width=72", (72, 48)),
        ("height=48", (72, 48)),
        ("width=100&height=32", (48, 32)),
        ("width=4000", (WIDTH, HEIGHT)),
    ):
        image = picture_of((await client.get(f"{API}/frames/{ref.id}/picture?{query}")).content)
        assert image.shape[1::-1] == size


async def test_what_retention_took_out_is_gone_and_no_damage(
    house: House, client: httpx.AsyncClient
) -> None:
    ref = house.shoot(DUSK)
    folder = house.root / SLUG / ref.night.isoformat()
    for path in (folder / "raw.zarr" / "raw").glob("c.*"):
        path.unlink()
    note_removed(folder, "raw", DUSK)
    next((folder / "v0001" / "pictures").iterdir()).unlink()
    at = f"{API}/frames/{ref.id}"
    assert (await get(client, f"{at}/raw.fits", 410))["type"].endswith("raw-removed")
    assert (await get(client, f"{at}/picture", 410))["type"].endswith("picture-removed")
    night = await get(client, f"{API}/nights/{ref.night}")
    assert (night["removed"], night["favourite"]) == (["raw"], False)
    assert (await get(client, at))["measurements"]["level"] == 0.12
