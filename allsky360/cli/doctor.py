"""``allsky360 doctor``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

_MARK = {"good": "ok", "doubt": "doubt", "bad": "BAD", "none": "-"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Write a ZIP file for a support request, secrets removed."),
    ] = None,
) -> None:
    """Look at machine, disk, parts, camera and sky; say what is wrong and what mends it.

    Exits with 1 when something does not work.
    """
    from allsky360.config import load_settings
    from allsky360.doctor import Finding, examine
    from allsky360.doctor.bundle import write_bundle

    settings = load_settings()
    findings: list[Finding] = []
    group = ""
    for found in examine(settings):
        findings.append(found)
        if as_json:
            continue
        if found.group != group:
            group = found.group
            typer.echo(group)
        typer.echo(f"  {_MARK[found.state]:<6}{found.name}: {found.says}")
        if found.mend and found.state != "good":
            typer.echo(f"          {found.mend}")
    if as_json:
        typer.echo(json.dumps([asdict(f) for f in findings], indent=1))
    if bundle is not None:
        write_bundle(bundle, settings, findings)
        typer.echo(f"wrote {bundle}; look through it before you send it", err=True)
    if any(f.state == "bad" for f in findings):
        raise typer.Exit(1)
