from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster
from distributed.client import ClosedClientError

from allsky360.archive import FrameRef
from allsky360.cluster import ClusterError
from allsky360.config import Settings
from tasks.handover import Handover, frame_key, submit_frame

NIGHT = date(2026, 11, 22)
LOG = logging.getLogger("tasks")
# module level: Dask pickles functions, and events inside them it cannot
GO, DONE = threading.Event(), threading.Event()
CALLS: list[int] = []


@pytest.fixture(autouse=True)
def _reset() -> None:
    GO.clear()
    DONE.clear()
    CALLS.clear()


def slow_work(_: Any, ref: FrameRef, __: Settings) -> int:
    CALLS.append(ref.index)
    GO.wait(20)
    DONE.set()
    return ref.index


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as made:
        yield made


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Put a function in the place of the real processing."""

    def put(function: Callable[..., Any]) -> None:
        module = SimpleNamespace(process_archived_frame=function)
        monkeypatch.setitem(sys.modules, "allsky360.processing", module)

    return put


def connecting(cluster: LocalCluster) -> Callable[[Settings], Client]:
    return lambda _: Client(cluster.scheduler_address, set_as_default=False)


def test_frames_are_processed_and_counted(
    settings: Settings, cluster: LocalCluster, process: Callable[..., None]
) -> None:
    def work(root: Any, ref: FrameRef, _: Settings) -> dict[str, Any]:
        assert root.is_absolute()
        if ref.index == 2:
            raise ValueError("half an image")
        return {"index": ref.index}

    process(work)
    handover = Handover(settings, connecting(cluster))
    for index in range(4):
        handover.give("CCD Imager Simulator", NIGHT, index, LOG)
    settled = handover.settle(20)
    handover.close()
    key = frame_key(FrameRef("ccd-imager-simulator", NIGHT, 2))
    assert settled == {
        "processed": 3, "failed": 1, "running": 0, "left": 0,
        "errors": {key: "ValueError: half an image"},
    }  # fmt: skip


def test_a_client_that_closes_in_between_leaves_the_frame_to_catch_up(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ClosedClientError("the client is closed")

    client: Any = SimpleNamespace(status="running", submit=refuse, close=lambda **_: None)
    client.as_current = contextlib.nullcontext
    handover = Handover(settings, lambda _: client)
    handover.give("fake", NIGHT, 1, LOG)
    settled = handover.settle(20)
    handover.close()
    assert (settled["left"], settled["failed"]) == (1, 0)
    assert "left to catch-up: the client is closed" in caplog.text


def test_what_takes_too_long_goes_on_without_us(
    settings: Settings, cluster: LocalCluster, process: Callable[..., None]
) -> None:
    process(slow_work)
    handover = Handover(settings, connecting(cluster))
    handover.give("fake", NIGHT, 10, LOG)
    settled = handover.settle(0.5)
    handover.close()
    assert (settled["running"], settled["processed"]) == (1, 0)
    GO.set()
    assert DONE.wait(20), "closing the hand-over must not cancel the frame"


def test_a_frame_handed_over_twice_is_processed_once(
    settings: Settings, cluster: LocalCluster, process: Callable[..., None]
) -> None:
    process(slow_work)
    ref = FrameRef("fake", NIGHT, 20)
    with connecting(cluster)(settings) as one, connecting(cluster)(settings) as two:
        futures = [submit_frame(client, settings, ref) for client in (one, two)]
        deadline = time.monotonic() + 20
        while not CALLS and time.monotonic() < deadline:
            time.sleep(0.02)
        GO.set()
        assert [f.result(timeout=20) for f in futures] == [20, 20]
    assert CALLS == [20]


def test_frames_lost_with_the_scheduler_are_left_to_catch_up(
    settings: Settings, cluster: LocalCluster, process: Callable[..., None]
) -> None:
    process(slow_work)
    handover = Handover(settings, connecting(cluster))
    handover.give("fake", NIGHT, 30, LOG)
    (given,) = handover._given.values()
    future = given.result(timeout=20)
    assert future is not None
    future.cancel(force=True, reason="scheduler-restart")
    settled = handover.settle(10)
    GO.set()
    handover.close()
    assert (settled["left"], settled["processed"], settled["failed"]) == (1, 0, 0)


def test_a_cluster_that_is_down_costs_no_burst(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[float] = []

    def away(_: Settings) -> Client:
        tries.append(time.monotonic())
        raise ClusterError("no Dask scheduler answers at tcp://x:1.")

    handover = Handover(settings, away)
    for index in range(3):
        handover.give("fake", NIGHT, index, LOG)
    settled = handover.settle(5)
    handover.close()
    assert settled["left"] == 3
    assert len(tries) == 1  # not once a frame
    assert "Raw frames are safe; the catch-up flow will process them." in caplog.text


def test_nothing_given_nothing_imported(settings: Settings) -> None:
    handover = Handover(settings, lambda _: pytest.fail("must not connect"))
    assert handover.settle(5)["processed"] == 0
    handover.close()


def test_pictures_are_fewer_and_not_later_where_processing_is_slow(
    settings: Settings, cluster: LocalCluster, process: Callable[..., None]
) -> None:
    process(slow_work)
    handover = Handover(settings, connecting(cluster))
    for index in range(20):
        handover.give("cam", NIGHT, index, LOG)
    assert handover.settle(1.0)["left"] == 20 - settings.processing.live_ahead
    GO.set()
    settled = handover.settle(20)
    assert settled["processed"] == settings.processing.live_ahead
    handover.give("cam", NIGHT, 30, LOG)  # it is no longer behind
    assert handover.settle(20)["processed"] == settings.processing.live_ahead + 1
    handover.close()
    assert sorted(CALLS) == [*range(settings.processing.live_ahead), 30]
