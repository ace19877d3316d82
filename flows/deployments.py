"""Read ``prefect.yaml``, the one list of deployments, with the interval of the settings.

``python -m flows.deployments`` prints it for ``prefect deploy --prefect-file``: Prefect checks the
intervals before it fills in variables, so that a variable cannot stand there.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from allsky360.config import Settings, load_settings
from allsky360.errors import AllskyError

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

FILE = Path(__file__).parents[1] / "prefect.yaml"
SLOT_SLUG = "slot"  # the schedule whose interval is capture.slot_s


class DeploymentsError(AllskyError):
    """``prefect.yaml`` is missing or not what we need."""


def read_deployments(settings: Settings, file: Path = FILE) -> dict[str, Any]:
    """Return the whole file with the interval of the settings filled in.

    Raises
    ------
    DeploymentsError
        No file, no YAML, no list of deployments, or none of them with the slot's schedule.
    """
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        found = [
            schedule
            for deployment in data["deployments"]
            for schedule in deployment.get("schedules", ())
            if schedule.get("slug") == SLOT_SLUG
        ]
    except OSError as error:
        raise DeploymentsError(f"cannot read {file}: {error.strerror}.") from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise DeploymentsError(f"{file} is not a list of deployments: {error}.") from error
    if not found:
        raise DeploymentsError(f"{file} has no schedule with slug '{SLOT_SLUG}'.")
    for schedule in found:
        schedule["interval"] = settings.capture.slot_s
    return dict(data)


def runner_deployments(data: dict[str, Any]) -> list[RunnerDeployment]:
    """Build what a runner serves from the list."""
    from prefect.client.schemas.objects import (
        ConcurrencyLimitConfig,
        ConcurrencyLimitStrategy,
    )
    from prefect.deployments.runner import RunnerDeployment

    built = []
    for d in data["deployments"]:
        limit = d.get("concurrency_limit") or {}
        built.append(
            RunnerDeployment.from_entrypoint(
                d["entrypoint"],
                name=d["name"],
                description=d.get("description"),
                tags=d.get("tags"),
                parameters=d.get("parameters"),
                schedules=[schedule_of(s) for s in d.get("schedules", ())],
                concurrency_limit=ConcurrencyLimitConfig(
                    limit=limit["limit"],
                    collision_strategy=ConcurrencyLimitStrategy(limit["collision_strategy"]),
                )
                if limit
                else None,
                paused=False,  # a clean stop has paused them
            )
        )
    return built


def schedule_of(item: dict[str, Any]) -> Any:
    """Turn one schedule of the file into Prefect's own."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    zone = item.get("timezone", "UTC")
    schedule: CronSchedule | IntervalSchedule
    if "cron" in item:
        schedule = CronSchedule(cron=item["cron"], timezone=zone)
    else:
        schedule = IntervalSchedule(
            interval=timedelta(seconds=item["interval"]),
            anchor_date=datetime.fromisoformat(item["anchor_date"]),
            timezone=zone,
        )
    return DeploymentScheduleCreate(schedule=schedule, active=True, slug=item.get("slug"))


if __name__ == "__main__":
    yaml.safe_dump(read_deployments(load_settings()), sys.stdout, sort_keys=False)
