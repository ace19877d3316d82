"""A picture's geometry as the pages get it, and the stars of a frame against the lens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.lens import LensModel, fisheye
from tests.api.conftest import DUSK, HEIGHT, WIDTH, House
from tests.api.sky_house import LENS, process_sky, write_camera_lens
from tests.api.test_app import API, get

SIDE = 480
MOVED = 0.6, -0.4
"""How far the painted stars lie from where the lens puts them, raw pixels."""


async def test_the_view_is_the_lens_as_the_picture_was_turned(
    house: House, client: httpx.AsyncClient
) -> None:
    ref = house.capture(DUSK)
    assert (await get(client, f"{API}/frames/{ref.id}/view", 404))["type"].endswith("not-processed")
    process_sky(house, ref, flip=True)
    view = await get(client, f"{API}/frames/{ref.id}/view")
    assert (view["width"], view["height"], view["lens"]) == (WIDTH, HEIGHT, None)
    assert "lens" in view["reason"]
    write_camera_lens(house)
    view = await get(client, f"{API}/frames/{ref.id}/view")
    assert view["time"].startswith("2026-11-22T20:00:05")  # the middle of ten seconds
    turned = LensModel(**view["lens"])
    altitude, azimuth = np.array([80.0, 40.0, 25.0]), np.array([10.0, 130.0, 250.0])
    x, y, _ = LENS.project(altitude, azimuth)
    shown_x, shown_y, _ = turned.project(altitude, azimuth)
    assert shown_x == pytest.approx(WIDTH - 1 - x, abs=1e-6)
    assert shown_y == pytest.approx(y, abs=1e-6)


def starry(lens: LensModel, altitude: Any, azimuth: Any) -> NDArray[np.uint16]:
    """Paint round stars on grey noise, each ``MOVED`` from where the lens puts it."""
    rng = np.random.default_rng(3)
    sky = rng.normal(2000, 12, (SIDE, SIDE))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for x, y in zip(*lens.project(altitude, azimuth)[:2], strict=True):
        square = (columns - x - MOVED[0]) ** 2 + (rows - y - MOVED[1]) ** 2
        sky += 6000 * np.exp(-square / (2 * 1.3**2))
    return np.clip(sky, 0, 65535).astype(np.uint16)


async def test_residuals_are_what_the_stars_were_moved_by(
    house: House, client: httpx.AsyncClient
) -> None:
    """The picture is mirrored, so the error in it points the other way along x."""
    lens = fisheye(SIDE, SIDE, rotation_deg=40.0)
    write_camera_lens(house, lens)
    stars = load_catalogue(2.5)
    altitude, azimuth = apparent_altaz(stars, house.site, DUSK + timedelta(seconds=5))
    up = altitude > 20
    pixels = starry(lens, altitude[up], azimuth[up])
    ref = house.capture(DUSK, pixels=pixels)
    process_sky(house, ref, flip=True, provenance={"exposures": [{"shape": [SIDE, SIDE]}]})
    found = await get(client, f"{API}/frames/{ref.id}/residuals")
    assert found["reason"] is None
    assert found["median_px"] == pytest.approx(np.hypot(*MOVED), abs=0.1)
    assert len(found["stars"]) > 0.6 * np.count_nonzero(up)
    assert {s["hip"] for s in found["stars"]} <= set(stars.hip[up].tolist())
    x, _, _ = lens.project(altitude, azimuth)
    at = {int(hip): SIDE - 1 - place + 0.5 for hip, place in zip(stars.hip, x, strict=True)}
    for star in found["stars"]:
        assert star["x"] == pytest.approx(at[star["hip"]], abs=0.02)
        assert (star["dx"], star["dy"]) == pytest.approx((-MOVED[0], MOVED[1]), abs=0.25)
    dark = process_sky(house, house.capture(DUSK + timedelta(minutes=1)))
    none = await get(client, f"{API}/frames/{dark.id}/residuals", 404)
    assert none["type"].endswith("no-lens")  # its size has none


async def test_a_worker_that_fails_is_an_error_and_one_that_hangs_is_ended(
    house: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from allsky360.api import residuals
    from allsky360.api.apart import ask_apart
    from allsky360.api.problems import Busy

    write_camera_lens(house)
    ref = process_sky(house, house.capture(DUSK))
    monkeypatch.setattr(residuals, "WORKER", "allsky360.no_such_module")
    reply = await client.get(f"{API}/frames/{ref.id}/residuals")
    assert reply.status_code == 500
    assert "no_such_module" not in reply.text
    with pytest.raises(Busy, match="not there after 0 s"):
        ask_apart("http.server", {}, limit_s=0.4)
