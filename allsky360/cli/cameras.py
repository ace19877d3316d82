"""``allsky360 cameras``: what a server has."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Annotated

import typer

from allsky360.config import load_settings
from allsky360.errors import AllskyError

if TYPE_CHECKING:
    from allsky360.camera.indigo import CameraInfo


def cameras(
    server: Annotated[
        str, typer.Argument(metavar="[HOST[:PORT]]", help="Camera server; default: the settings'.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    connect: Annotated[
        bool, typer.Option("--connect", help="Connect idle cameras for a moment to read all.")
    ] = False,
    indi: Annotated[
        bool, typer.Option("--indi", help="It speaks only INDI 1.7; default: camera.protocol.")
    ] = False,
) -> None:
    """List the cameras of an INDIGO or INDI server."""
    from allsky360.camera.indigo import list_cameras
    from allsky360.camera.servers import dialect_of

    host, port = address(server) if server else configured_address()
    speak = dialect_of("indi" if indi else load_settings().camera.protocol)
    found = asyncio.run(list_cameras(host, port, connect=connect, speak=speak))
    if as_json:
        typer.echo(json.dumps([info.as_json() for info in found], indent=2))
    elif found:
        _print_table(found)
    else:
        typer.echo(
            f"the {speak().family} server {host}:{port} has no camera; load its driver there"
        )


def configured_address() -> tuple[str, int]:
    """Return the server of the settings: the camera's, else the built-in simulator's."""
    settings = load_settings()
    if settings.camera.host:
        return settings.camera.host, settings.camera.port
    return settings.simulator.host, settings.simulator.port


def address(text: str) -> tuple[str, int]:
    """Read ``HOST``, ``HOST:PORT`` or ``[IPv6]:PORT``."""
    match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::(\d{1,5}))?", text)
    if match is None and text.count(":") > 1 and "[" not in text:
        return text, 7624  # a bare IPv6 address
    port = int(match[3] or 7624) if match else 0
    if match is None or not 0 < port < 65536:
        raise AllskyError(f"{text!r} is no server address.", mend="Write HOST or HOST:PORT.")
    return match[1] or match[2], port


_COLUMNS = ("name", "driver", "connected", "size", "bits", "Bayer", "cooler", "exposure s", "gain")


def _print_table(found: list[CameraInfo]) -> None:
    """Print aligned columns; plain text, so that a narrow terminal or a pipe cuts no name."""
    rows = [_COLUMNS, *(_row(info) for info in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())
    if any(info.capabilities.exposure_s is None for info in found):
        typer.echo("A camera tells the rest while it is connected; try --connect.")


def _row(info: CameraInfo) -> tuple[str, ...]:
    can = info.capabilities
    cooler = "-" if can.exposure_s is None else "yes" if can.has_cooler else "no"
    return (
        info.device,
        can.driver or "-",
        "yes" if info.connected else "no",
        f"{can.width}x{can.height}" if can.width else "-",
        str(can.bits_per_pixel or "-"),
        can.bayer or "-",
        cooler,
        _span(can.exposure_s),
        _span(can.gain),
    )


def _span(limits: tuple[float, float] | None) -> str:
    return f"{limits[0]:g} to {limits[1]:g}" if limits else "-"
