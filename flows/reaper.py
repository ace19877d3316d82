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
    from prefect.states import Crashed

    count = 0
    while runs := _runs(client, deployments, live_states()):
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


class Places:
    """Gives back places of a concurrency limit that nobody holds.

    A server that keeps leases in memory (Prefect's default, not ours) and its count of places in
    the database miscounts when it is killed while a run waits for its slot: the run takes a second
    place as it starts, and the first stays taken for ever. Seen on 3.8.8 as every second burst
    cancelled. So the runner compares the count with the runs that live; a difference seen twice is
    corrected.
    """

    def __init__(self) -> None:
        self._suspected: set[UUID] = set()

    def check(self, client: SyncPrefectClient, deployments: Sequence[UUID]) -> int:
        """Compare and correct; return how many places were given back."""
        from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

        freed = 0
        for deployment in deployments:
            limit = client.read_deployment(deployment).global_concurrency_limit
            taken = limit.active_slots if limit else 0
            live = len(_runs(client, [deployment], live_states())) if taken else 0
            if limit is None or taken <= live:
                self._suspected.discard(deployment)
            elif deployment not in self._suspected:
                self._suspected.add(deployment)
            else:
                self._suspected.discard(deployment)
                client.update_global_concurrency_limit(
                    limit.name, GlobalConcurrencyLimitUpdate(active_slots=live)
                )
                freed += taken - live
        return freed


def live_states() -> list[StateType]:
    """Return the states in which a run holds a place."""
    from prefect.client.schemas.objects import StateType

    return [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


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
