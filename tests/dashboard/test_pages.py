"""Every page at both sizes: with data, without, and with a service that fails."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Route

from allsky360.api.routers.pages import PAGES
from tests.dashboard.archive import NIGHT
from tests.dashboard.conftest import Open
from tests.dashboard.visit import DESKTOP, PHONE, SETTLED, Visit

pytestmark = pytest.mark.slow

ALL = {page.name: page.path for page in PAGES} | {
    "night": f"/nights/{NIGHT}",
    "frame": f"/frames/{NIGHT}/000004",
}


def check(page: Visit, size: tuple[int, int], *, axe: bool = True, within: str = "html") -> None:
    page.resize(size)
    page.page.wait_for_timeout(50)
    assert page.too_wide() <= 0, f"wider than {size[0]} px"
    if axe:
        assert page.violations(within) == []


@pytest.mark.parametrize("name", ALL)
def test_with_data(full: str, visit: Open, name: str) -> None:
    page = visit(full).open(ALL[name])
    assert page.run("document.querySelectorAll('h1').length") == 1
    check(page, DESKTOP)
    check(page, PHONE, within="html" if name in ("live", "kiosk") else "main")  # the frame once
    assert page.run("document.querySelectorAll('[role=alert]').length") == 0, page.text("main")
    assert page.errors == []
    assert page.foreign() == []


WORDS = {
    "live": "Nothing has been captured yet",
    "panorama": "Nothing to look around in yet",
    "map": "No map yet",
    "sun-moon": "Sun below the horizon",
    "nights": "No nights yet",
    "videos": "No videos yet",
    "transients": "Nothing has crossed the sky yet",
    "charts": "Nothing to draw yet",
    "lens": "No camera yet",
    "steps": "No frame yet",
    "system": "Frames waiting",
    "kiosk": "Nothing has been captured yet",
    "docs": "/api/v1/frames",
}


@pytest.mark.parametrize("name", WORDS)
def test_without_data(bare: str, visit: Open, name: str) -> None:
    page = visit(bare).open(ALL[name])
    page.until(f"document.body.innerText.includes({json.dumps(WORDS[name])})")
    check(page, DESKTOP, axe=False)  # the frame around was looked at with data
    check(page, PHONE, within="main")
    assert page.errors == []
    assert page.foreign() == []


def refuse(route: Route) -> None:
    body = {"type": "urn:allsky360:problem:storage-unreadable", "detail": "The disk is asleep."}
    route.fulfill(status=503, content_type="application/problem+json", body=json.dumps(body))


@pytest.mark.parametrize("name", ALL)
def test_with_a_service_that_fails(full: str, visit: Open, name: str) -> None:
    page = visit(full)
    page.page.route("**/api/**", refuse)
    page.open(ALL[name])
    page.until("document.body.innerText.includes('The disk is asleep.')")
    check(page, DESKTOP, axe=False)  # the frame around was looked at with data
    check(page, PHONE, within="main")
    page.until("!document.querySelector('.state[data-kind=loading]')")
    others = [e for e in page.errors if "the server responded with a status of 503" not in e]
    assert others == []
    assert page.foreign() == []


@pytest.mark.parametrize("name", ALL)
def test_a_service_that_is_gone_is_said_and_comes_back(full: str, visit: Open, name: str) -> None:
    page = visit(full)
    page.page.route("**/api/**", lambda route: route.abort())
    page.open(ALL[name])
    page.until("document.getElementById('main').innerText.includes('cannot be reached')")
    if name != "kiosk":  # which shows nothing but the picture and a few words
        page.until("document.getElementById('pill').textContent === 'offline'")
        assert "cannot be reached" in page.text("#banner")
    page.page.unroute("**/api/**")
    page.until("!document.body.innerText.includes('cannot be reached')")  # nobody clicks
    page.until(f"{SETTLED} && !document.querySelector('main [role=alert]')")


def test_a_page_of_a_night_that_is_not_there(full: str, visit: Open) -> None:
    page = visit(full).open("/nights/2020-01-01")
    page.until("document.body.innerText.includes('There is no night 2020-01-01')")
    assert page.run("fetch('/nights/yesterday').then(r => r.status)") == 422
