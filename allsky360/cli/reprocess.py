"""``allsky360 reprocess``: nights again from raw, over the Dask cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from allsky360.reprocess.plan import NightJob
    from allsky360.reprocess.run import NightResult


def reprocess(
    nights: Annotated[
        str, typer.Argument(help="2026-11-14, 2026-11-01..2026-11-14, latest or all.")
    ],
    camera: Annotated[str, typer.Option(help="Camera; all when left out.")] = "",
    profile: Annotated[
        str, typer.Option(help="Picture profile: auto, clear, moonlit, cloudy or day.")
    ] = "",
    setting: Annotated[
        list[str] | None,
        typer.Option("--setting", "-s", help="Change a setting: processing.debayer=bilinear."),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(min=0, help="Start a cluster of so many workers; 0: the resident one."),
    ] = 0,
    drop: Annotated[
        bool,
        typer.Option("--drop/--keep", help="Delete the old version once the new one is shown."),
    ] = False,
    anyway: Annotated[
        bool,
        typer.Option("--anyway", help="Show the new version though it lacks frames of the old."),
    ] = False,
    from_objects: Annotated[
        bool,
        typer.Option("--from-objects", help="Workers read raw from objects.url, not the archive."),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also nights already made with these settings.")
    ] = False,
) -> None:
    """Make nights again from their raw frames, beside the old version; switch when whole.

    Stopped at any moment, the same command goes on where it ended.
    """
    from allsky360.archive import Archive
    from allsky360.cluster import client_for
    from allsky360.config import load_settings
    from allsky360.config_overrides import parse_overrides
    from allsky360.reprocess.nights import nights_of
    from allsky360.reprocess.plan import plan_nights
    from allsky360.reprocess.run import reprocess as run

    settings = load_settings()
    root = settings.storage.root
    overrides = parse_overrides(setting or ())
    if profile:
        overrides["processing.profile"] = profile
    plan = plan_nights(root, nights_of(Archive(root), nights, camera), settings, overrides, again)
    for line in plan.said:
        typer.echo(line)
    if not plan.jobs:
        raise typer.Exit(1 if plan.failed else 0)
    with client_for(settings, workers) as client, _Bars(plan.jobs, root) as bars:
        results = run(
            client,
            root,
            plan.jobs,
            report=bars.show,
            drop_old=drop,
            switch_anyway=anyway,
            from_objects=from_objects,
        )
    for result in results:
        _say(result)
    if plan.failed or any(r.error or r.lost for r in results):
        raise typer.Exit(1)


class _Bars:
    """One bar a night, on the terminal."""

    def __init__(self, jobs: list[NightJob], root: Any) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[trouble]}"),
        )
        self._tasks = {}
        for job in jobs:
            missing = len(job.missing(root))
            total = job.frames(root)
            self._tasks[job.camera, job.night] = self._bars.add_task(
                f"{job.camera} {job.night} {job.version}",
                total=total,
                completed=total - missing,
                trouble="",
            )

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, progress: Any) -> None:
        trouble = f"{progress.failed} failed" if progress.failed else ""
        self._bars.update(
            self._tasks[progress.camera, progress.night],
            completed=progress.done,
            total=progress.total,
            trouble=trouble,
        )


def _say(result: NightResult) -> None:
    from allsky360.reprocess.words import result_lines

    for line in result_lines(result):
        typer.echo(line, err=bool(result.error or result.lost))
