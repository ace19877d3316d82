"""Nights again from raw: plan, relay the frames over the cluster, switch when whole, say how.

Started by hand, in the UI or with ``prefect deployment run reprocess-nights/by-hand``. The same
work without Prefect: ``allsky360 reprocess``.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from allsky360.config import Settings, load_settings
from allsky360.errors import AllskyError
from flows.products import one_night
from tasks.artifacts import attempt
from tasks.burst import run_log
from tasks.reprocess import Jobs, make_again


@flow(name="reprocess-nights", persist_result=False)
def reprocess_nights(
    nights: str = "latest",
    camera: str = "",
    settings: dict[str, Any] | None = None,
    drop_old: bool = False,
    switch_anyway: bool = False,
    again: bool = False,
    products: bool = True,
    from_objects: bool = False,
) -> State[Any]:
    """Make nights again beside their old version.

    Run again after a kill with the same parameters, it goes on.

    Parameters
    ----------
    nights
        2026-11-14, 2026-11-01..2026-11-14, latest or all.
    camera
        Slug or device name; empty: every camera.
    settings
        Changed settings, such as {"processing.profile": "clear"}.
    drop_old
        Delete the old version once the new one is shown.
    switch_anyway
        Show the new version though it lacks frames that the old one has.
    again
        Also nights already made with these settings.
    products
        Make the products of the new versions, too.
    from_objects
        Workers read raw frames from ``objects.url``: they do not see the archive.
    """
    from allsky360.archive import Archive
    from allsky360.reprocess.nights import nights_of
    from allsky360.reprocess.plan import plan_nights
    from allsky360.reprocess.words import result_lines, results_markdown

    config = load_settings()
    root = config.storage.root
    plan = plan_nights(
        root, nights_of(Archive(root), nights, camera), config, settings or {}, again
    )
    for line in plan.said:
        run_log().info("%s", line)
    if not plan.jobs:
        words = "; ".join(plan.said)
        return Failed(message=words) if plan.failed else Completed(message=words)
    names = [f"{j.camera} {j.night} {j.version}" for j in plan.jobs]
    results = make_again(config, names, Jobs(plan.jobs), drop_old, switch_anyway, from_objects)
    markdown = results_markdown(results)
    attempt(lambda: create_markdown_artifact(markdown, key="reprocess-nights"), run_log())
    bad = [line for r in results if r.error or r.lost for line in result_lines(r)[:1]]
    if products:
        bad += products_again(config, [r for r in results if r.switched])
    if bad or plan.failed:
        return Failed(message="; ".join(bad or plan.said))
    return Completed(message=f"{len(results)} night(s) made again")


def products_again(config: Settings, results: list[Any]) -> list[str]:
    """Make the products of nights whose new version is shown; return what failed."""
    failed = []
    for result in results:
        night = result.night.isoformat()
        try:
            failed += one_night(config, result.camera, night, [], False)
        except (AllskyError, OSError, ValueError) as error:  # the other nights go on
            run_log().error("%s %s: %s", result.camera, night, error)
            failed.append(f"{result.camera} {night}: {error}")
    return failed
