"""The parts of the system on this machine, and the camera's server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx

from allsky360.config import Settings
from allsky360.doctor.finding import Finding
from allsky360.errors import AllskyError
from allsky360.net import is_loopback
from allsky360.supervisor.parts import Part, owner_status_url, parts_of
from allsky360.supervisor.probe import ailments

ANSWER_S = 3.0
LOG_TAIL = 65536
_TROUBLE = re.compile(r"\b(ERROR|CRITICAL|Traceback)\b")


def services(settings: Settings) -> Iterator[Finding]:
    """Ask every part whether it lives, and read the end of its log."""
    parts = parts_of(settings)
    for part, ailment in zip(parts, ailments([p.probe for p in parts]), strict=True):
        yield _alive(part, ailment)
        found = _log(settings.storage.root / "logs" / f"{part.name}.log")
        if found is not None:
            yield found
    yield from _exposed(settings)


def _alive(part: Part, ailment: str) -> Finding:
    where = f" at {part.address}" if part.address else ""
    if not part.probe:
        return Finding("services", part.name, "none", "has no address; see its log")
    if not ailment:
        return Finding("services", part.name, "good", f"answers{where}")
    mend = "Start everything with 'allsky360 up', or this part's systemd unit; see its log."
    return Finding("services", part.name, "bad", f"{ailment}{where}", mend)


def _log(path: Path) -> Finding | None:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    trouble = [line for line in lines if _TROUBLE.search(line)]
    if not trouble:
        return None
    says = f"{len(trouble)} errors at the end of {path}; last: {trouble[-1].strip()[:200]}"
    return Finding("services", f"{path.stem} log", "doubt", says, "Read it.")


def _exposed(settings: Settings) -> Iterator[Finding]:
    """Name what listens beyond this machine without asking who calls."""
    for table, host in (
        ("prefect", settings.prefect.host),
        ("dask", settings.dask.host),
        ("owner", settings.owner.host),
    ):
        if table == "prefect" and settings.prefect.auth_file is not None:
            continue
        if not is_loopback(host):
            says = f"{table}.host = {host}: whoever reaches it controls this machine's work"
            mend = f"Set {table}.host to 127.0.0.1, or keep the network to yourself (a firewall)."
            yield Finding("services", f"{table} exposed", "doubt", says, mend)


def camera(settings: Settings) -> Iterator[Finding]:
    """Ask the camera's server what it has, and the owner how it fares."""
    from allsky360.camera.indigo import list_cameras
    from allsky360.camera.servers import dialect_of

    host, port = settings.camera.host, settings.camera.port
    if not host:
        host, port = settings.simulator.host, settings.simulator.port
    speak = dialect_of(settings.camera.protocol)
    where = f"{speak().family} server {host}:{port}"
    try:
        found = asyncio.run(list_cameras(host, port, speak=speak))
    except AllskyError as error:
        yield Finding("camera", "server", "bad", error.message, error.mend)
        return
    names = [info.device for info in found]
    wanted = settings.camera.device
    if not names:
        mend = "Load the camera's driver there (its control panel, or indigo_server indigo_ccd_…)."
        yield Finding("camera", "server", "bad", f"{where} has no camera", mend)
    elif wanted and wanted not in names:
        says = f"{where} has no {wanted!r}, it has {', '.join(names)}"
        yield Finding("camera", "device", "bad", says, f"Set camera.device = {names[0]!r}.")
    elif not wanted and len(names) > 1:
        says = f"{where} has several cameras: {', '.join(names)}"
        yield Finding("camera", "device", "bad", says, f"Set camera.device = {names[0]!r}.")
    else:
        yield Finding("camera", "device", "good", f"{where} has {wanted or names[0]}")
    yield _owner(settings)


def _owner(settings: Settings) -> Finding:
    try:
        state = httpx.get(owner_status_url(settings), timeout=ANSWER_S, trust_env=False).json()
        name, fault = str(state["state"]), state["fault"]
    except (OSError, httpx.HTTPError, ValueError, KeyError, TypeError):
        return Finding("camera", "owner", "none", "the owner does not run, or does not tell")
    if fault:
        mend = "It is tried again by itself; the message says what helps."
        return Finding("camera", "owner", "bad", f"{fault['name']}: {fault['message']}", mend)
    counts = ", ".join(f"{n} x {k}" for k, n in sorted(state.get("fault_counts", {}).items()))
    says = f"{name}, {state['frames']} frames since it started"
    return Finding("camera", "owner", "good", says + (f"; mended: {counts}" if counts else ""))
