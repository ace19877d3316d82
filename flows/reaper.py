"""Start-up reaper: end what a runner that was killed left behind.

A run killed together with its runner stays Running for the server and keeps its place in the
deployment's concurrency limit, after a power cut for ever: every later burst would be cancelled.
Only runs of our own deployments are touched, and the runner calls this before it serves, so that
none of them can be alive (on one machine; a fleet has one runner per camera).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, StateType

log = logging.getLogger(__name__)
PAGE = 200


def deployment_ids(client: SyncPrefectClient, names: Sequence[str]) -> list[UUID]:
    """Return the ids of deployments given as ``flow/deployment``; unknown ones are left out."""
    from prefect.exceptions import ObjectNotFound

    found = []
    for name in names:
        try:
            found.append(client.read_deployment_by_name(name).id)
        except ObjectNotFound:
            continue  # the first start on this database
    return found


def reap(client: SyncPrefectClient, deployments: Sequence[UUID]) -> int:
    """Declare our pending, running and cancelling runs crashed; return how many there were."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    live = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    count = 0
    while runs := _runs(client, deployments, live):
        for run in runs:
            client.set_flow_run_state(
                run.id, Crashed(message="its runner was gone at start-up"), force=True
            )
        count += len(runs)
    return count


def clear_late(client: SyncPrefectClient, deployments: Sequence[UUID], before: datetime) -> int:
    """Cancel runs that should have started before ``before``; return how many there were."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    count = 0
    while runs := _runs(client, deployments, [StateType.SCHEDULED], before):
        for run in runs:
            client.set_flow_run_state(
                run.id, Cancelled(name="Missed", message="no runner was there"), force=True
            )
        count += len(runs)
    return count


def _runs(
    client: SyncPrefectClient,
    deployments: Sequence[UUID],
    states: Sequence[StateType],
    before: datetime | None = None,
) -> Sequence[FlowRun]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )

    if not deployments:  # an empty filter would match every run of the server
        return []
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=list(deployments)),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=before) if before else None,
        ),
        limit=PAGE,
    )
