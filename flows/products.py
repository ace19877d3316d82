"""The story of a night's products: they grow while it lasts, and are made whole when it is over.

``grow-products`` runs every few minutes and hands new frames to every product. ``nightly-products``
looks which nights wait (after dawn, after noon, after a dawn nobody was there for), makes each
product in a task of its own, and writes the report. Both can be run again at any time.
"""

from __future__ import annotations

from typing import Any, cast

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from allsky360.config import Settings, load_settings
from allsky360.errors import AllskyError
from tasks.artifacts import attempt
from tasks.burst import run_log
from tasks.patience import HOUR_S, end_if_hung
from tasks.products import (
    copy_night,
    due,
    grow,
    growing_nights,
    make_product,
    product_names,
    wanted,
    write_report,
)

NIGHT_S = 12 * HOUR_S  # all products of a long night, on a small machine


@flow(name="grow-products", persist_result=False)
def grow_products() -> State[Any]:
    """Let the products of the running nights grow by the frames that came since the last run."""
    end_if_hung(HOUR_S)
    settings = load_settings()
    frames, failed = 0, []
    for camera, night in growing_nights(settings):
        end_if_hung(NIGHT_S)
        state = cast("State[Any]", grow(settings, camera, night, return_state=True))
        if not state.is_completed():
            failed.append(f"{camera} {night}: {state.message}")
            continue
        made = state.result(raise_on_failure=False)
        frames += made["frames"]
        failed += [f"{camera} {night}: {name}: {why}" for name, why in made["failed"].items()]
    if failed:
        return Failed(message="; ".join(failed))
    return Completed(message=f"{frames} frame(s) taken in" if frames else "no new frame")


@flow(name="nightly-products", persist_result=False)
def nightly_products(
    night: str = "",
    camera: str = "",
    products: list[str] | None = None,
    anew: bool = False,
    nights: int = 14,
) -> State[Any]:
    """Make the products of nights that wait for them, or of those asked for.

    Parameters
    ----------
    night
        2026-11-14, a range, latest or all; empty: what is due.
    camera
        Slug or device name; empty: every camera.
    products
        Some products only; empty: all that are switched on.
    anew
        From the first frame again, instead of going on.
    nights
        How many of the newest nights are looked at for what is due.
    """
    end_if_hung(HOUR_S)
    settings = load_settings()
    by_hand = bool(night or camera)
    todo = wanted(settings, camera, night or "latest") if by_hand else due(settings, nights)
    failed = []
    for slug, which, why in todo:
        end_if_hung(NIGHT_S)
        run_log().info("%s %s: %s", slug, which, why)
        try:
            failed += one_night(settings, slug, which, products or [], anew)
        except (AllskyError, OSError, ValueError) as error:  # the other nights go on
            run_log().error("%s %s: %s", slug, which, error)
            failed.append(f"{slug} {which}: {error}")
    if failed:
        return Failed(message="; ".join(failed))
    return Completed(message="; ".join(f"{c} {n}" for c, n, _ in todo) or "nothing due")


def one_night(
    settings: Settings, camera: str, night: str, only: list[str], anew: bool
) -> list[str]:
    """Grow everything in one pass, then each product alone, then the report; return failures."""
    names = product_names(settings, only)
    if not only:
        # most of the work, each picture decoded once; what fails in it is tried again below, alone
        grow(settings, camera, night, anew, return_state=True)
    failed: dict[str, str] = {}
    for name in names:
        again = anew and bool(only)  # what grew anew in the pass above must not begin once more
        made = make_product(settings, camera, night, name, again, return_state=True)
        state = cast("State[Any]", made)
        if not state.is_completed():
            failed[name] = str(state.message)
    report = write_report(settings, camera, night, failed)
    key = f"night-{camera}"
    attempt(lambda: create_markdown_artifact(report["markdown"], key=key), run_log())
    copied = cast("State[Any]", copy_night(settings, camera, night, return_state=True))
    if not copied.is_completed():
        failed["copy to the object store"] = str(copied.message)
    return [f"{camera} {night}: {name}: {why}" for name, why in failed.items()]
