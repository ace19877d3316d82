"""``allsky360 objects``: the copy of the archive on S3-compatible storage."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="The archive's copy on S3-compatible storage.", no_args_is_help=True)

Camera = Annotated[str, typer.Option(help="Camera; all when left out.")]


@app.command()
def push(
    nights: Annotated[str, typer.Argument(help="2026-11-14, a range, latest or all.")] = "latest",
    camera: Camera = "",
) -> None:
    """Copy what is new of nights to objects.url. Nothing is deleted there."""
    from allsky360.archive import Archive
    from allsky360.config import load_settings
    from allsky360.objects.push import push_night
    from allsky360.reprocess.nights import nights_of

    settings = load_settings()
    root = settings.storage.root
    for slug, night in nights_of(Archive(root), nights, camera):
        done = push_night(root, slug, night, settings.objects)
        typer.echo(
            f"{slug} {night}: {done.files} files copied, {done.bytes / 1e6:.1f} MB, "
            f"{done.there} there already"
        )


@app.command()
def pull(
    night: Annotated[str, typer.Argument(help="YYYY-MM-DD")],
    camera: Annotated[str, typer.Option(help="Camera's folder name.")],
) -> None:
    """Bring a night back from objects.url; files that are here stay as they are."""
    from allsky360.archive.layout import parse_night
    from allsky360.config import load_settings
    from allsky360.errors import AllskyError
    from allsky360.objects.push import pull_night

    wanted = parse_night(night)
    if wanted is None:
        raise AllskyError(f"{night!r} is no night.", mend="Write it as YYYY-MM-DD.")
    settings = load_settings()
    done = pull_night(settings.storage.root, camera, wanted, settings.objects)
    typer.echo(f"{camera} {night}: {done.files} files brought, {done.bytes / 1e6:.1f} MB")


@app.command("list")
def list_nights() -> None:
    """List the nights at objects.url."""
    from allsky360.config import load_settings
    from allsky360.objects.push import nights_there

    for camera, night, version in nights_there(load_settings().objects):
        typer.echo(f"{camera} {night} {version}")
