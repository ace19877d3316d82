"""What people do with the pages, held against what the service says."""

from __future__ import annotations

import re

import httpx
import numpy as np
import pytest

from tests.dashboard.archive import CLOUDY_NIGHT, FRAMES, HEIGHT, LENS, NIGHT, WIDTH
from tests.dashboard.conftest import Open
from tests.dashboard.visit import PHONE

pytestmark = pytest.mark.slow

STAGE = "document.querySelector('.viewer-stage').getBoundingClientRect()"
OVERLAY = "document.querySelector('[data-layer=sky]')"


def test_overlays_follow_the_picture(full: str, visit: Open) -> None:
    """Zoom at a point with the wheel, pan by dragging: picture and overlay move as one."""
    page = visit(full).open(f"/frames/{NIGHT}/000004")
    page.until(f"{OVERLAY} !== null")
    together = """() => {
        const image = document.querySelector('.viewer-stage > img').getBoundingClientRect();
        const layer = document.querySelector('[data-layer=sky]');
        const box = layer.viewBox.baseVal;
        const stage = document.querySelector('.viewer-layers').getBoundingClientRect();
        const scale = stage.width / box.width;
        return [image.left - (stage.left - box.x * scale), image.top - (stage.top - box.y * scale),
                image.width / (layer.space.width * scale)];
    }"""
    stage = page.run(f"({STAGE}).toJSON()")
    x, y = stage["x"] + stage["width"] * 0.4, stage["y"] + stage["height"] * 0.6
    page.page.mouse.move(x, y)
    before = page.run("document.querySelector('.viewer-stage > img').getBoundingClientRect().width")
    page.page.mouse.wheel(0, -600)
    page.until(
        "document.querySelector('.viewer-stage > img').getBoundingClientRect().width"
        f" > {before} * 2"
    )
    page.page.mouse.down()
    page.page.mouse.move(x + 50, y - 30, steps=4)
    page.page.mouse.up()
    page.page.keyboard.press("ArrowRight")
    left, top, ratio = page.run(together)
    assert left == pytest.approx(0, abs=0.6)
    assert top == pytest.approx(0, abs=0.6)
    assert ratio == pytest.approx(1, abs=2e-3)
    page.run("document.querySelector('.viewer-stage').focus()")
    page.page.keyboard.press("0")
    left, top, ratio = page.run(together)
    assert ratio == pytest.approx(1, abs=2e-3)


def test_the_readout_says_what_the_pointer_is_at(full: str, visit: Open) -> None:
    page = visit(full).open(f"/frames/{NIGHT}/000004")
    page.until(f"{OVERLAY} !== null")
    image = page.run(
        "document.querySelector('.viewer-stage > img').getBoundingClientRect().toJSON()"
    )
    column, row = 260.0, 120.0
    page.page.mouse.move(
        image["x"] + column / WIDTH * image["width"], image["y"] + row / HEIGHT * image["height"]
    )
    page.until("/in \\w+/.test(document.querySelector('.readout').innerText)")
    said = page.text(".readout")
    altitude, azimuth = (float(v) for v in LENS.unproject(column - 0.5, row - 0.5))
    numbers = [float(n) for n in re.findall(r"(\d+\.\d)°", said)[:2]]
    assert numbers == pytest.approx([altitude, azimuth], abs=0.5)
    pixel = httpx.get(
        f"{full}/api/v1/frames/{NIGHT}/4/pixel?x={column}&y={row}", trust_env=False, timeout=60
    ).json()
    assert pixel["constellation"] in said
    assert f"{pixel['sky_brightness_mag_arcsec2']:.2f}" in said
    assert pixel["cloud_state"] in said


def test_layers_are_switched_and_remembered(full: str, visit: Open) -> None:
    page = visit(full).open("/")
    page.until(f"{OVERLAY}?.querySelector('.constellation')")
    assert page.run(f"{OVERLAY}.querySelector('.altaz-grid, .altaz')") is None
    groups = f"[...{OVERLAY}.querySelectorAll('g[class]')].map(g => g.getAttribute('class')).join()"
    before = page.run(groups)
    page.run("document.querySelector('[data-layer=altaz_grid].chip').click()")
    page.until(f"{groups} !== {before!r}")
    page.run("document.querySelector('[data-layer=constellation_lines].chip').click()")
    page.until(f"!{OVERLAY}.querySelector('.line.constellation')")
    page.open("/")
    assert page.run(
        "document.querySelector('[data-layer=altaz_grid].chip').getAttribute('aria-pressed')"
    ) == ("true")


def test_the_film_strip_filters_and_leads_to_frames(full: str, visit: Open) -> None:
    page = visit(full).open(f"/nights/{NIGHT}")
    page.until(f"document.querySelectorAll('#film .thumb').length === {FRAMES}")
    titles = page.run("document.querySelector('#film .thumb').title")
    assert "cloud 25 %" in titles
    assert "20.50 mag/arcsec²" in titles
    page.page.get_by_label("Stars at least").fill("400")
    page.until("document.querySelectorAll('#film .thumb').length === 4")
    page.page.get_by_label("With transients").check()
    page.until("document.body.innerText.includes('No frame passes these filters')")
    page.page.get_by_role("button", name="Clear").click()
    page.until(f"document.querySelectorAll('#film .thumb').length === {FRAMES}")
    page.page.get_by_label("From, UTC").fill("21:00")
    page.page.get_by_label("To, UTC").fill("21:30")
    page.until("document.querySelectorAll('#film .thumb').length === 4")
    page.run("document.querySelector('#film .thumb').click()")
    page.until("document.getElementById('caption')?.dataset.frame")
    assert page.run("location.pathname") == f"/frames/{NIGHT}/000006"
    page.page.keyboard.press("ArrowRight")
    page.until("document.getElementById('caption').dataset.frame.endsWith('000007')")
    assert page.run("location.pathname").endswith("000007")
    page.page.go_back()
    page.until("document.getElementById('caption').dataset.frame.endsWith('000006')")
    assert page.errors == []


def test_the_calendar_shows_how_good_nights_were(full: str, visit: Open) -> None:
    page = visit(full).open("/nights")
    cell = "document.querySelector('a.cell[href=\"/nights/{}\"]').dataset.quality"
    assert page.run(cell.format(NIGHT)) == "mostly"
    assert page.run(cell.format(CLOUDY_NIGHT)) == "cloudy"
    page.page.get_by_role("link", name=re.compile("22 November 2026")).first.click()
    page.until("document.querySelector('h1')?.innerText === 'Night of 22 November 2026'")


def test_charts_zoom_move_and_write_csv(full: str, visit: Open) -> None:
    page = visit(full).open(f"/charts?night={NIGHT}&variables=sky_brightness_mag_arcsec2")
    page.until("document.querySelectorAll('.chart-dot').length > 5")
    assert page.run("document.querySelectorAll('.band-day, .band').length") > 0
    page.run("document.querySelector('.chart-box').focus()")
    page.page.keyboard.press("End")
    page.until("document.querySelector('.chart-read').innerText.includes('21.15')")
    page.page.keyboard.press("+")
    page.until("new URLSearchParams(location.search).get('start') > '2026-11-22T20:00'")
    href = page.run("document.querySelector('a[download]').href")
    table = httpx.get(href, trust_env=False, timeout=60).text.splitlines()
    assert "sky_brightness_mag_arcsec2" in table[0]
    assert 3 <= len(table) - 1 < FRAMES
    page.run(
        "(s => { s.value = 'cloud_fraction'; s.dispatchEvent(new Event('change')); })"
        "(document.getElementById('variable'))"
    )
    page.until("document.querySelectorAll('.chart-legend li').length === 2")
    assert page.errors == []


def test_cells_of_the_map_tell_their_numbers(full: str, visit: Open) -> None:
    page = visit(full).open("/map")
    frame = page.run("document.getElementById('caption').dataset.frame")
    clouds, sky = (
        httpx.get(f"{full}/api/v1/frames/{frame}/maps/{name}", trust_env=False, timeout=60).json()
        for name in ("clouds", "brightness")
    )
    index = int(np.flatnonzero(np.array(clouds["values"]) == 1)[3])
    page.run(
        "i => document.querySelector(`.cell[data-i='${i}']`)"
        ".dispatchEvent(new PointerEvent('pointermove', {bubbles: true}))",
        index,
    )
    said = page.text(".cell-about")
    assert "cloudy" in said
    assert f"{sky['values'][index]:.2f} mag/arcsec²" in said
    assert f"az {clouds['azimuth_deg'][index]:.0f}°" in said
    page.page.get_by_role("button", name="Sky brightness").click()
    assert (
        len(
            set(
                page.run("[...document.querySelectorAll('.cell')].map(c => c.getAttribute('fill'))")
            )
        )
        > 10
    )


def test_videos_can_be_sought(full: str, visit: Open) -> None:
    page = visit(full).open("/videos")
    page.until("document.querySelector('video').readyState >= 1")
    assert page.run("document.querySelector('video').duration") == pytest.approx(4, abs=0.2)
    page.run("document.querySelector('video').currentTime = 3.2")
    page.until(
        "document.querySelector('video').readyState >= 2"
        " && !document.querySelector('video').seeking"
    )
    assert page.run("document.querySelector('video').currentTime") == pytest.approx(3.2, abs=0.1)
    page.page.get_by_role("button", name="One picture back").click()
    page.until("Math.abs(document.querySelector('video').currentTime - 3.1) < 0.02")
    assert page.errors == []


def test_the_gallery_shows_each_kind(full: str, visit: Open) -> None:
    page = visit(full).open("/transients")
    page.until("document.querySelectorAll('.transient-card').length === 2")
    page.page.get_by_role("button", name="Meteors").click()
    page.until("document.querySelectorAll('.transient-card').length === 1")
    assert "mag −2.5 ± 0.3" in page.text(".transient-card")
    page.until("document.querySelector('.transient-card img').naturalWidth > 60")
    page.page.get_by_role("button", name="Aircraft").click()
    page.until("document.body.innerText.includes('None of these')")
    page.open(f"/frames/{NIGHT}/000004")
    page.until("document.querySelectorAll('[data-layer=transients] .transient').length === 2")


def test_steps_stand_side_by_side(full: str, visit: Open) -> None:
    """Opened without a frame: the one with pictures that is nearest to the newest."""
    page = visit(full).open("/steps")
    sides = "[...document.querySelectorAll('.sides img')].map(i => [i.naturalWidth, i.src])"
    page.until(f"{sides}.every(([width]) => width === {WIDTH})")
    left, right = (source for _, source in page.run(sides))
    assert f"/{NIGHT}/000012/steps/0.jpg" in left
    assert f"/{NIGHT}/000012/steps/1.jpg" in right
    page.page.get_by_role("button", name=re.compile("1 Black level 10 ms")).click()
    assert page.run(sides)[1][1] == left
    page.open(f"/steps?frame={NIGHT}/000007")
    page.page.get_by_role("link", name="frame 8").click()
    page.until(f"{sides}[1]?.[1].includes('/000008/steps/1.jpg')")
    assert page.errors == []


def test_colours_and_the_menu_of_the_phone(full: str, visit: Open) -> None:
    page = visit(full, PHONE).open("/system")
    page.page.get_by_role("button", name="More").click()
    page.until("document.activeElement.getAttribute('aria-current') === 'page'")
    page.page.keyboard.press("Escape")
    assert page.run("getComputedStyle(document.getElementById('rail')).display") == "none"
    page.run("document.getElementById('theme').click()")
    assert page.run("document.documentElement.dataset.theme") == "light"
    assert page.violations() == []
    page.run("document.getElementById('theme').click()")
    page.open("/map")
    assert page.run("document.documentElement.dataset.theme") == "red"
    # nothing but red leaves the screen
    shot = np.frombuffer(page.page.screenshot(caret="initial"), np.uint8)
    import cv2

    pixels = cv2.imdecode(shot, cv2.IMREAD_COLOR)
    assert pixels[..., 2].max() > 150
    assert pixels[..., 0].max() < 16
    assert pixels[..., 1].max() < 60
