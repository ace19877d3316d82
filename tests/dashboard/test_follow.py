"""An open page follows what is captured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.dashboard.archive import DUSK, STEP, Truth
from tests.dashboard.conftest import Open, port, serving, settings_for

pytestmark = pytest.mark.slow


@pytest.fixture
def growing(tmp_path: Path, browser: Browser) -> Iterator[tuple[Truth, str]]:
    truth = Truth.begin(tmp_path / "archive")
    with serving(settings_for(truth.root, port(), port())) as base:
        yield truth, base


def test_pages_follow_from_the_first_frame_on(growing: tuple[Truth, str], visit: Open) -> None:
    truth, base = growing
    live, kiosk, panorama = (visit(base).open(path) for path in ("/", "/kiosk", "/panorama"))
    live.until("document.body.innerText.includes('Nothing has been captured yet')")
    ref = truth.shoot(DUSK)
    live.until(f"document.getElementById('caption').dataset.frame === '{ref.id}'")
    kiosk.until(f"document.querySelector('.kiosk-stage').dataset.frame === '{ref.id}'")
    panorama.until("document.body.innerText.includes('The lens is not known yet')")
    assert live.run("document.querySelector('[data-layer=sky]')") is None
    truth.lens()
    second = truth.shoot(DUSK + STEP)
    live.until(f"document.getElementById('caption').dataset.frame === '{second.id}'")
    live.until("document.querySelector('[data-layer=sky]') !== null")
    panorama.until(f"document.querySelector('.panorama').dataset.frame === '{second.id}'")
    live.until("document.querySelectorAll('#strip .thumb').length === 2")
    waiting = truth.shoot(DUSK + 2 * STEP, process=False)
    time.sleep(0.6)
    assert live.run("document.getElementById('caption').dataset.frame") == second.id
    truth.process(waiting, DUSK + 2 * STEP + timedelta(0), {})
    live.until(f"document.getElementById('caption').dataset.frame === '{waiting.id}'")
    for page in (live, kiosk, panorama):
        assert page.errors == []
