"""Products' flows: each product alone, failures named, due nights only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prefect.states import Completed as completed
from prefect.states import Failed as failed

from allsky360.config import Settings
from allsky360.errors import AllskyError
from flows import products, reprocess
from tasks import artifacts
from tasks import reprocess as reprocess_tasks


class State:
    """What a task returns with ``return_state``."""

    def __init__(self, state: Any, value: Any = None) -> None:
        self.message, self._ok, self._value = state.message, state.type.value == "COMPLETED", value

    def is_completed(self) -> bool:
        return self._ok

    def result(self, raise_on_failure: bool = True) -> Any:
        return self._value


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> list[tuple[Any, ...]]:
    seen: list[tuple[Any, ...]] = []

    def make(
        _: Settings, camera: str, night: str, product: str, anew: bool, *, return_state: bool
    ) -> State:
        seen.append(("make", camera, night, product, *([anew] if anew else ())))
        bad = product == "timelapse" and night == "2026-11-13"
        return State(failed(message="no encoder") if bad else completed())

    def grow(_: Settings, camera: str, night: str, anew: bool = False, **__: Any) -> State:
        seen.append(("grow", camera, night, anew))
        given = {"frames": 3, "complete": False, "failed": {"stack": "no lens"}}
        return State(completed(), given)

    def report(_: Settings, camera: str, night: str, bad: dict[str, str]) -> dict[str, Any]:
        seen.append(("report", camera, night, dict(bad)))
        if camera == "broken":
            raise AllskyError("the disk is full.")
        return {"markdown": f"# {night}", "complete": True}

    monkeypatch.setattr(products, "load_settings", lambda: settings)
    monkeypatch.setattr(products, "make_product", make)
    monkeypatch.setattr(products, "grow", grow)
    monkeypatch.setattr(products, "write_report", report)
    monkeypatch.setattr(products, "copy_night", lambda *_, **__: State(completed(), {"files": 0}))
    monkeypatch.setattr(products, "product_names", lambda *_: ["keogram", "timelapse"])
    monkeypatch.setattr(
        products, "create_markdown_artifact", lambda text, key: seen.append((key, text))
    )
    return seen


def test_every_due_night_gets_every_product_and_a_report_whatever_fails(
    calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = [("broken", "2026-11-12", "x"), ("cam", "2026-11-13", "x"), ("cam", "2026-11-14", "x")]
    monkeypatch.setattr(products, "due", lambda *_: todo)
    state = products.nightly_products.fn()
    assert state.type.value == "FAILED"
    assert "broken 2026-11-12: the disk is full" in state.message
    assert "cam 2026-11-13: timelapse: no encoder" in state.message
    assert "2026-11-14" not in state.message
    made = [c for c in calls if c[0] == "make" and c[1] == "cam"]
    assert [c[2:] for c in made] == [
        ("2026-11-13", "keogram"), ("2026-11-13", "timelapse"),
        ("2026-11-14", "keogram"), ("2026-11-14", "timelapse"),
    ]  # fmt: skip
    assert ("report", "cam", "2026-11-13", {"timelapse": "no encoder"}) in calls
    assert ("report", "cam", "2026-11-14", {}) in calls
    assert ("night-cam", "# 2026-11-14") in calls


def test_nothing_due_costs_nothing_and_by_hand_the_newest_is_taken(
    calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "due", lambda *_: [])
    assert products.nightly_products.fn().message == "nothing due"
    assert calls == []
    asked = []

    def wanted(_: Settings, camera: str, nights: str) -> list[tuple[str, str, str]]:
        asked.append((camera, nights))
        return [("cam", "2026-11-14", "asked for")]

    monkeypatch.setattr(products, "wanted", wanted)
    assert products.nightly_products.fn(camera="cam", anew=True).type.value == "COMPLETED"
    assert asked == [("cam", "latest")], "the newest night of that camera"
    assert calls[:2] == [
        ("grow", "cam", "2026-11-14", True),
        ("make", "cam", "2026-11-14", "keogram"),
    ]
    calls.clear()
    products.nightly_products.fn(night="latest", products=["keogram"], anew=True)
    assert calls[0] == ("make", "cam", "2026-11-14", "keogram", True)


def test_running_nights_grow_and_a_product_that_is_given_up_is_named(
    calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "growing_nights", lambda _: [("cam", "2026-11-14")])
    state = products.grow_products.fn()
    assert (state.type.value, state.message) == ("FAILED", "cam 2026-11-14: stack: no lens")
    monkeypatch.setattr(products, "growing_nights", lambda _: [])
    assert products.grow_products.fn().message == "no new frame"


def test_the_bar_of_reprocessing_counts_all_nights(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import date
    from uuid import uuid4

    shown: list[float] = []
    monkeypatch.setattr(artifacts, "UPDATE_EVERY_S", 0.0)
    monkeypatch.setattr(
        artifacts,
        "create_progress_artifact",
        lambda percent, **_: (shown.append(percent), uuid4())[1],
    )
    monkeypatch.setattr(
        artifacts,
        "update_progress_artifact",
        lambda _, *, progress, **__: shown.append(progress),
    )
    bar = reprocess_tasks.NightsBar(20)
    for done, night in ((5, 13), (10, 13), (5, 14)):
        bar.show(
            SimpleNamespace(
                camera="c", night=date(2026, 11, night), version="v0002", done=done, total=10
            )
        )
    bar.end()
    assert shown == [25.0, 50.0, 75.0, 100.0]


def test_reprocessing_says_what_came_of_every_night(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import date

    from allsky360.reprocess import nights, plan
    from allsky360.reprocess.run import NightResult

    job = SimpleNamespace(camera="cam", night=date(2026, 11, 13), version="v0002")
    published: list[str] = []
    monkeypatch.setattr(reprocess, "load_settings", lambda: settings)
    monkeypatch.setattr(nights, "nights_of", lambda *_: [("cam", job.night)])
    monkeypatch.setattr(plan, "plan_nights", lambda *_: plan.Plan([job], ["begins"], 0))
    monkeypatch.setattr(
        reprocess, "create_markdown_artifact", lambda text, key: published.append(text)
    )
    result = NightResult("cam", job.night, "v0002", "v0001", frames=9, failed={3: "broken"})
    monkeypatch.setattr(reprocess, "make_again", lambda *_: [result])
    monkeypatch.setattr(reprocess, "products_again", lambda *_: [])
    result.switched = True
    assert reprocess.reprocess_nights.fn().type.value == "COMPLETED"
    assert "frame 3 failed: broken" in published[0]
    result.switched, result.lost = False, (3,)
    state = reprocess.reprocess_nights.fn()
    assert state.type.value == "FAILED"
    assert "v0001 stays" in state.message
