"""``allsky360 process``: the whole chain on files, without any server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from allsky360.processing import FileFailure, FileResult


def process(
    files: Annotated[
        list[Path], typer.Argument(help="FITS, RAW, DNG, TIFF, PNG, JPEG, CDF files.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for pictures and records.")],
    bracket: Annotated[
        int, typer.Option(min=1, max=5, help="Merge every N consecutive exposures.")
    ] = 1,
    frames: Annotated[
        str, typer.Option(help="Frames A:B (from A, before B) of files that hold many.")
    ] = "",
    profile: Annotated[
        str, typer.Option(help="Picture profile: auto, clear, moonlit, cloudy or day.")
    ] = "",
    lens: Annotated[
        Path | None, typer.Option(help="Lens file, for measuring stars, sky and clouds.")
    ] = None,
    format: Annotated[
        Literal["jpeg", "png", "webp", "avif"],
        typer.Option("--format", help="Of the pictures; png is lossless."),
    ] = "jpeg",
    steps: Annotated[
        bool, typer.Option("--steps", help="Write the picture after each of its steps too.")
    ] = False,
) -> None:
    """Develop files into one picture and one JSON record each."""
    from allsky360.config import load_settings
    from allsky360.processing import FileFailure, process_files
    from allsky360.sky.lens_file import read_lens

    def say(item: FileResult | FileFailure) -> None:
        if isinstance(item, FileFailure):
            typer.echo(f"failed: {item.source}: {item.reason}", err=True)
            return
        typer.echo(f"{item.picture}  {item.seconds:.2f} s  from {', '.join(item.sources)}")
        for warning in item.warnings:
            typer.echo(f"  warning: {warning}", err=True)

    wanted = _slice(frames) if frames else None
    result = process_files(
        files,
        out,
        load_settings(),
        bracket=bracket,
        frames=wanted,
        profile=profile or None,
        every_step=steps,
        lens=read_lens(lens) if lens is not None else None,
        format=format,
        report=say,
    )
    typer.echo(f"{len(result.done)} pictures in {out}, {len(result.failed)} failed")
    if result.failed:
        raise typer.Exit(1)


def _slice(text: str) -> slice:
    """Read ``A:B``, ``A:``, ``:B`` or ``A``."""
    parts = text.split(":")
    try:
        numbers = [int(p) if p else None for p in parts]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not A:B", param_hint="--frames") from error
    if len(parts) > 2 or any(n is not None and n < 0 for n in numbers):
        raise typer.BadParameter(f"{text!r} is not A:B", param_hint="--frames")
    first = numbers[0] or 0
    last = first + 1 if len(parts) == 1 else numbers[1]
    if last is not None and last <= first:
        raise typer.BadParameter(f"{text!r} names no frame: B is not in it", param_hint="--frames")
    return slice(first, last)
