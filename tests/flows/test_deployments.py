from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from prefect.cli.deploy._models import PrefectYamlModel
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from allsky360.config import Settings
from flows import serve
from flows.deployments import FILE, DeploymentsError, read_deployments, runner_deployments
from flows.reaper import Places, clear_late, deployment_ids, reap
from tasks.slots import EPOCH, slot_at

NOW = datetime(2026, 11, 22, 20, 0, 3, tzinfo=UTC)


def test_the_list_says_what_prefect_deploy_understands() -> None:
    model = PrefectYamlModel.model_validate(yaml.safe_load(FILE.read_text()))
    assert [d.name for d in model.deployments] == [
        "every-slot",
        "catch-up",
        "daily",
        "hourly",
        "by-hand",
        "every-half-hour",
        "every-ten-minutes",
        "after-dawn",
        "by-hand",
    ]
    assert all(d.work_pool is not None and d.work_pool.name for d in model.deployments)


def test_the_runner_serves_the_same_list_with_the_slot_of_the_settings(settings: Settings) -> None:
    built = {f"{d.flow_name}/{d.name}": d for d in runner_deployments(read_deployments(settings))}
    assert set(built) == {
        serve.CAPTURE,
        serve.CATCH_UP,
        "housekeeping/daily",
        "copy-offsite/hourly",
        "take-darks/by-hand",
        "calibrate-lens/every-half-hour",
        "grow-products/every-ten-minutes",
        "nightly-products/after-dawn",
        "reprocess-nights/by-hand",
    }
    capture = built[serve.CAPTURE]
    (schedule,) = capture.schedules or ()
    assert schedule.schedule.interval == timedelta(seconds=settings.capture.slot_s)
    assert schedule.schedule.anchor_date == EPOCH
    assert capture.concurrency_limit == 2
    assert capture.concurrency_options is not None
    assert capture.concurrency_options.collision_strategy == "CANCEL_NEW"
    assert "allsky360" in capture.tags
    assert built[serve.CATCH_UP].parameters == {"nights": 3, "batch_size": 20}


@pytest.mark.parametrize(
    "text", ["", "deployments: [", "deployments: 3", "deployments: [{name: x}]", "- a", None]
)
def test_a_broken_list_is_one_clear_error(
    settings: Settings, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "prefect.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DeploymentsError, match=r"prefect\.yaml"):
        read_deployments(settings, file)


class Server:
    """A Prefect server as the reaper sees it."""

    def __init__(self, **runs: tuple[str, float]) -> None:
        """Runs as name=(state, minutes until it is due), of deployment ``ours`` or ``other``."""
        self.ours, self.other = uuid4(), uuid4()
        self.limited, self.taken = True, 0
        self.runs = {
            uuid4(): {
                "name": name,
                "state": state,
                "due": NOW + timedelta(minutes=minutes),
                "deployment": self.other if name.startswith("other") else self.ours,
            }
            for name, (state, minutes) in runs.items()
        }

    def read_deployment_by_name(self, name: str) -> Any:
        if name != "ours/one":
            raise ObjectNotFound(Exception(name))
        return SimpleNamespace(id=self.ours)

    def read_flow_runs(self, *, flow_run_filter: Any, limit: int) -> list[Any]:
        f = flow_run_filter
        states = {StateType(s).value for s in f.state.type.any_}
        due = f.expected_start_time.before_ if f.expected_start_time else None
        return [
            SimpleNamespace(id=key)
            for key, run in self.runs.items()
            if run["deployment"] in f.deployment_id.any_
            and run["state"] in states
            and (due is None or run["due"] <= due)
        ][:limit]

    def set_flow_run_state(self, run: UUID, state: Any, force: bool) -> None:
        assert force
        self.runs[run]["state"] = state.type.value
        self.runs[run]["word"] = state.name

    def read_deployment(self, deployment: UUID) -> Any:
        limit = SimpleNamespace(name=f"deployment:{deployment}", active_slots=self.taken)
        return SimpleNamespace(global_concurrency_limit=limit if self.limited else None)

    def update_global_concurrency_limit(self, name: str, update: Any) -> None:
        assert name == f"deployment:{self.ours}"
        self.taken = update.active_slots

    def states(self) -> dict[str, str]:
        return {r["name"]: r.get("word", r["state"]) for r in self.runs.values()}


def test_the_reaper_ends_our_stale_runs_and_no_others() -> None:
    server = Server(
        a=("RUNNING", -9), b=("PENDING", -1), c=("SCHEDULED", 1), d=("COMPLETED", -9),
        e=("CANCELLING", -2), other=("RUNNING", -9),
    )  # fmt: skip
    ours = deployment_ids(server, ["ours/one", "ours/not-yet"])  # type: ignore[arg-type]
    assert ours == [server.ours]
    assert reap(server, ours) == 3  # type: ignore[arg-type]
    assert server.states() == {
        "a": "Crashed", "b": "Crashed", "c": "SCHEDULED", "d": "COMPLETED",
        "e": "Crashed", "other": "RUNNING",
    }  # fmt: skip
    assert reap(server, ours) == 0  # type: ignore[arg-type]


def test_a_place_nobody_holds_is_given_back_once_it_was_seen_twice() -> None:
    server, places = Server(a=("RUNNING", -1), b=("COMPLETED", -2), other=("RUNNING", 0)), Places()
    server.taken = 2
    assert places.check(server, [server.ours]) == 0  # type: ignore[arg-type]
    assert server.taken == 2
    assert places.check(server, [server.ours]) == 1  # type: ignore[arg-type]
    assert server.taken == 1
    server.limited = False
    assert places.check(server, [server.ours]) == 0  # type: ignore[arg-type]


def test_a_count_that_was_only_ahead_of_its_run_is_left_alone() -> None:
    server, places = Server(a=("PENDING", 0)), Places()
    for taken in (2, 1, 2, 1):  # behind for a moment, never twice in a row
        server.taken = taken
        assert places.check(server, [server.ours]) == 0  # type: ignore[arg-type]
        assert server.taken == taken


def test_without_a_deployment_of_ours_nothing_is_touched() -> None:
    server = Server(other=("RUNNING", -9), other_late=("SCHEDULED", -9))
    assert reap(server, []) == 0  # type: ignore[arg-type]
    assert clear_late(server, [], NOW) == 0  # type: ignore[arg-type]
    assert server.states() == {"other": "RUNNING", "other_late": "SCHEDULED"}


def test_runs_nobody_was_there_for_are_dropped_and_future_ones_stay() -> None:
    server = Server(**{f"late{n}": ("SCHEDULED", -n) for n in range(1, 500)}, next=("SCHEDULED", 1))
    assert clear_late(server, [server.ours], NOW) == 499  # type: ignore[arg-type]
    states = server.states()
    assert states.pop("next") == "SCHEDULED"
    assert set(states.values()) == {"Missed"}


def test_at_start_the_rest_of_the_slot_is_taken_unless_little_is_left(settings: Settings) -> None:
    runs = serve.runs_at_start(settings, NOW)
    due, _ = runs[serve.CAPTURE]
    assert due == slot_at(NOW, settings.capture.slot_s).start < NOW
    assert serve.CATCH_UP in runs
    assert serve.CAPTURE not in serve.runs_at_start(settings, NOW + timedelta(seconds=12))


def test_a_missing_server_is_one_clear_error(free_port: Callable[[], int]) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    with pytest.raises(serve.ServerUnreachable, match=url):
        serve.wait_for_server(url, timeout_s=0.1)
