"""The faults, one entry each: what is done, what undoes it, and where the system notices.

Names are those of docs/reliability.md. ``hurt`` does it, ``lift`` ends what lasts (a full disk, an
unplugged cable) after ``hold_s``; what has no ``lift`` is left to the system alone.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from allsky360.simulator.faults import FAULTS as KNOBS
from benchmarks.faults.night import SITE, Night, fill

STEP_S = 90.0
STRIKE_S = 30.0  # an exposure takes two, and may be in a retry


@dataclass(frozen=True)
class Fault:
    """One way to hurt a running night.

    Attributes
    ----------
    name, part
        As in docs/reliability.md.
    hurt
        Does it.
    lift
        Ends it, where something outside must (a person who empties a disk does so in life too).
    hold_s
        How long it lasts until then.
    sign
        Where the system notices: ``owner`` (its status), ``up`` (the supervisor's lines), or the
        name of a part whose log tells.
    needs
        ``disk`` or ``clock``: what this machine must allow.
    pictures
        Whether it is over only when frames are processed again; else their turn may come later.
    affects
        Parts that need long to come back while capture goes on: the camera is hurt meanwhile.
    hold_sky_s
        The same as ``hold_s``, of the sky's clock.
    apart
        Takes minutes: done only where it is asked for by name.
    """

    name: str
    part: str
    hurt: Callable[[Night, Wound], None]
    lift: Callable[[Night, Wound], None] | None = None
    hold_s: float = 0.0
    sign: str = "up"
    needs: str = ""
    pictures: bool = False
    affects: tuple[str, ...] = ()
    hold_sky_s: float = 0.0
    apart: bool = False

    def held_s(self, rate: float) -> float:
        """How long it lasts, wall seconds."""
        return self.hold_s + self.hold_sky_s / rate


@dataclass
class Wound:
    """What one injection keeps between ``hurt`` and ``lift``."""

    chance: random.Random
    kept: dict[str, Any] = field(default_factory=dict)
    note: str = ""


# -- processes ------------------------------------------------------------------------------------


def _signal_part(part: str, what: signal.Signals, night: Night, wound: Wound) -> None:
    pid = night.pid(part)
    if pid is None:
        raise RuntimeError(f"{part} does not run")
    os.kill(pid, what)


def _signal_worker(what: signal.Signals, night: Night, wound: Wound) -> None:
    pid = night.worker()
    if pid is None:
        raise RuntimeError("no worker runs")
    os.kill(pid, what)


def _kill_burst(night: Night, wound: Wound) -> None:
    runs = [c for c in night.children("runner") if _is(c, "prefect")]
    if not runs:
        wound.note = "no flow run at that moment"
        return
    for run in runs:
        with contextlib.suppress(psutil.NoSuchProcess):
            run.kill()


def _is(process: psutil.Process, word: str) -> bool:
    try:
        return any(word in part for part in process.cmdline())
    except psutil.Error:
        return False


def _eat_memory(night: Night, wound: Wound) -> None:
    """Let a task take more than the worker may have; the worker's nanny must end it."""
    from distributed import Client, fire_and_forget

    mark = night.folder / f"ate-{time.time_ns()}"
    with Client(
        f"tcp://127.0.0.1:{night.port['dask']}", timeout=10, set_as_default=False
    ) as client:
        fire_and_forget(client.submit(eat, str(mark), 1500, pure=False))
        time.sleep(0.5)


def eat(mark: str, megabytes: int) -> None:
    """Take memory once; at the second try, in the next worker, do nothing."""
    import os
    import time

    if os.path.exists(mark):
        return
    with open(mark, "w"):
        pass
    kept = []
    for _ in range(megabytes // 50):
        kept.append(b"\1" * 50_000_000)
        time.sleep(0.02)
    time.sleep(20)


def _cut_power(night: Night, wound: Wound) -> None:
    night.kill_all()


def _power_back(night: Night, wound: Wound) -> None:
    night.again()


# -- camera, server and network -------------------------------------------------------------------


def _knob(night: Night, wound: Wound, **wanted: object) -> None:
    """Turn knobs and wait until one strikes, where it needs an exposure to come."""
    names = [name.replace("_", "-") for name in wanted]
    before = night.struck(*names)
    night.knob(**wanted)
    if any(KNOBS[name].kind == "action" for name in names):
        return
    end = time.monotonic() + STRIKE_S
    while night.struck(*names) <= before:
        if time.monotonic() > end:
            wound.note = "did not strike"
            return
        time.sleep(0.1)


def _knobs_off(night: Night, wound: Wound) -> None:
    with contextlib.suppress(httpx.HTTPError):  # a simulator that is down has no knobs on
        night.knob(clear=True)


# -- disk -----------------------------------------------------------------------------------------


def _fill(leave_bytes: int, night: Night, wound: Wound) -> None:
    ballast = night.data / f"ballast-{time.time_ns()}"
    wound.kept["ballast"] = ballast
    fill(ballast, night.free_bytes() - leave_bytes)


def _fill_when(pattern: str, night: Night, wound: Wound) -> None:
    """Fill the disk in the moment in which a file of this kind appears."""
    ballast = night.data / f"ballast-{time.time_ns()}"
    wound.kept["ballast"] = ballast
    # most of it before, so that the last bytes take no time
    fill(ballast, night.free_bytes() - 60_000_000)
    newest = max(night.data.glob("*/2026-*"))
    before, end = set(newest.glob(pattern)), time.monotonic() + 15
    while time.monotonic() < end:
        if set(newest.glob(pattern)) - before:
            break
    else:
        wound.note = "its moment did not come: filled all the same"
    rest = ballast.with_name(ballast.name + "-rest")
    wound.kept["rest"] = rest
    fill(rest, night.free_bytes())
    fill(rest.with_name(rest.name + "-2"), night.free_bytes())


def _empty(night: Night, wound: Wound) -> None:
    for ballast in night.data.glob("ballast-*"):
        ballast.unlink(missing_ok=True)


def _fill_beside_old_night(night: Night, wound: Wound) -> None:
    """Fill the disk where an old night could give way; nobody empties it but retention."""
    _empty(night, wound)
    night.remove_old_nights()
    night.old_night(150)
    _fill(0, night, wound)


def _close_folder(how: str, night: Night, wound: Wound) -> None:
    folder = next(iter(night.data.glob("*/2026-*"))).parent
    wound.kept["mounted"] = folder
    if how == "read-only":
        _run("mount", "--bind", folder, folder)
        _run("mount", "-o", "remount,ro,bind", folder)
    else:  # as when a disk is gone: its empty mount point is left
        _run("mount", "-t", "tmpfs", "-o", "ro,size=1m", "none", folder)


def _open_folder(night: Night, wound: Wound) -> None:
    _run("umount", "-l", wound.kept["mounted"])


def _run(*command: object) -> None:
    subprocess.run([str(c) for c in command], check=True, capture_output=True)


# -- files ----------------------------------------------------------------------------------------


def _newest(night: Night, pattern: str) -> Path | None:
    """Newest of the present night's files, by its name: frames are numbered."""
    newest = max(night.data.glob("*/2026-*"))

    def number(path: Path) -> tuple[int, ...]:
        return tuple(int(part) for part in path.name.split(".") if part.isdigit())

    return max(newest.glob(pattern), key=number, default=None)


def _damage_newest(pattern: str, night: Night, wound: Wound) -> None:
    file = _newest(night, pattern)
    if file is None:
        wound.note = "nothing to damage yet"
        return
    wound.note = str(file.relative_to(night.data))
    data = bytearray(file.read_bytes())
    at = len(data) // 3
    data[at : at + 200] = wound.chance.randbytes(min(200, len(data) - at))
    file.write_bytes(data)


def _truncate_newest(pattern: str, night: Night, wound: Wound) -> None:
    file = _newest(night, pattern)
    if file is None:
        wound.note = "nothing to damage yet"
        return
    wound.note = str(file.relative_to(night.data))
    os.truncate(file, file.stat().st_size // 2)


def _spoil_settings(night: Night, wound: Wound) -> None:
    night.settings_file.write_text('[site]\nlatitude_deg = "north\n')


def _mend_settings(night: Night, wound: Wound) -> None:
    night.settings_file.write_text(SITE)


# -- Prefect's database ---------------------------------------------------------------------------


def _lock_database(night: Night, wound: Wound) -> None:
    over = threading.Event()

    def hold() -> None:
        with contextlib.closing(sqlite3.connect(_database(night), timeout=30)) as opened:
            opened.execute("BEGIN IMMEDIATE")
            over.wait(60)
            opened.rollback()

    wound.kept["over"] = over
    threading.Thread(target=hold, daemon=True).start()


def _unlock_database(night: Night, wound: Wound) -> None:
    wound.kept["over"].set()


def _damage_database(night: Night, wound: Wound) -> None:
    """Overwrite a third of its pages, and let the server find out as after a power cut."""
    _spoil_pages(night, wound, every=3)
    _signal_part("prefect", signal.SIGKILL, night, wound)


def _damage_open_database(night: Night, wound: Wound) -> None:
    """Overwrite half of its pages under a server that goes on."""
    _spoil_pages(night, wound, every=2)


def _spoil_pages(night: Night, wound: Wound, every: int) -> None:
    with _database(night).open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for page in range(0, size // 4096, every):
            file.seek(page * 4096)
            file.write(wound.chance.randbytes(4096))


def _database(night: Night) -> Path:
    return night.data / "prefect" / "prefect.db"


def _keep_prefect_away(night: Night, wound: Wound) -> None:
    """End the server and sit on its port, so that it cannot come back."""
    _signal_part("prefect", signal.SIGKILL, night, wound)
    sitting, end = socket.socket(), time.monotonic() + 20
    sitting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    while True:
        try:
            sitting.bind(("127.0.0.1", night.port["prefect"]))
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    sitting.listen()
    wound.kept["sitting"] = sitting


def _let_prefect_back(night: Night, wound: Wound) -> None:
    wound.kept["sitting"].close()


# -- clock ----------------------------------------------------------------------------------------


def _step_clock(seconds: float, night: Night, wound: Wound) -> None:
    night.step_clock(seconds)


def _knobbed(name: str, part: str, hold_s: float = 0.0, **wanted: object) -> Fault:
    return Fault(name, part, partial(_knob, **wanted), _knobs_off, hold_s, "owner")


_LONG = {
    "api": ("api",),
    "prefect": ("prefect", "runner"),
    "dask": ("dask",),
    "runner": ("runner",),
}
_KILL = [
    Fault(
        f"{part}-killed",
        part,
        partial(_signal_part, part, signal.SIGKILL),
        affects=_LONG.get(part, ()),
    )
    for part in ("owner", "simulator", "api", "prefect", "dask", "runner")
]
_HANG = [
    Fault(
        f"{part}-hangs",
        part,
        partial(_signal_part, part, signal.SIGSTOP),
        affects=_LONG.get(part, ()),
    )
    for part in ("owner", "simulator", "api", "dask", "runner")
]

FAULTS: tuple[Fault, ...] = (
    # processes
    *_KILL,
    *_HANG,
    Fault("burst-killed", "runner", _kill_burst, sign="runner"),
    Fault("worker-killed", "dask", partial(_signal_worker, signal.SIGKILL), sign="dask",
          pictures=True),
    Fault("worker-hangs", "dask", partial(_signal_worker, signal.SIGSTOP), sign="dask",
          pictures=True),
    Fault("worker-eats-memory", "dask", _eat_memory, sign="dask", pictures=True),
    Fault("power-cut", "power", _cut_power, _power_back, 3.0),
    # camera, its server, the network
    _knobbed("server-drops-connection", "INDIGO server", crash=3.0),
    _knobbed("server-hangs", "INDIGO server", 8.0, hung=20.0),
    _knobbed("stream-garbage", "INDIGO server", garbage=True),
    _knobbed("image-garbage", "camera", garbage_image=1),
    _knobbed("image-truncated", "camera", truncated_image=1),
    _knobbed("image-wrong-size", "camera", mislabelled_header=1),
    _knobbed("image-stale", "camera", stale_image=1),
    _knobbed("image-missing", "camera", http_404=1),
    _knobbed("body-breaks-off", "network", truncated_body=1),
    _knobbed("network-slow", "network", 8.0, slow_body={"count": -1, "value": 40_000}),
    _knobbed("request-lost", "network", drop_request=1),
    _knobbed("exposure-never-ends", "camera", stall=1),
    _knobbed("exposure-alert", "camera", alert=2),
    _knobbed("camera-unplugged", "camera", unplug=6.0),
    _knobbed("camera-unplugged-exposing", "camera", unplug_exposing={"count": 1, "value": 4.0}),
    _knobbed("property-stuck", "camera", connect_stall={"count": 1, "value": 20.0}, crash=1.0),
    _knobbed("foreign-settings", "camera", foreign_client=True),
    _knobbed("foreign-abort", "camera", foreign_abort=1),
    # disk
    Fault("disk-full-raw", "disk", partial(_fill, 0), _empty, 6.0, "owner", "disk"),
    Fault("disk-full-measurement", "disk", partial(_fill_when, "raw.zarr/raw/c.*"),
          _empty, 6.0, "owner", "disk", pictures=True),
    Fault("disk-full-picture", "disk", partial(_fill_when, "v0001.zarr/linear*/c.*"),
          _empty, 6.0, "owner", "disk", pictures=True),
    Fault("disk-full-retention", "disk", _fill_beside_old_night, None, 0.0, "owner", "disk"),
    Fault("disk-read-only", "disk", partial(_close_folder, "read-only"), _open_folder, 8.0,
          "owner", "disk"),
    Fault("disk-gone", "disk", partial(_close_folder, "gone"), _open_folder, 8.0, "owner", "disk"),
    # files
    Fault("raw-frame-damaged", "archive", partial(_damage_newest, "raw.zarr/raw/c.*"), sign="dask"),
    Fault("raw-frame-truncated", "archive", partial(_truncate_newest, "raw.zarr/raw/c.*"),
          sign="dask"),
    Fault("raw-marker-damaged", "archive", partial(_damage_newest, "raw.zarr/zarr.json"),
          sign="api"),
    Fault("processed-marker-damaged", "archive", partial(_damage_newest, "v0001.zarr/zarr.json"),
          sign="dask"),
    Fault("settings-spoiled", "settings", _spoil_settings, _mend_settings, 25.0, "runner"),
    # Prefect's database, clock
    Fault("database-locked", "Prefect database", _lock_database, _unlock_database, 25.0, "runner"),
    Fault("database-damaged", "Prefect database", _damage_database, affects=_LONG["prefect"],
          pictures=True),
    Fault("database-damaged-open", "Prefect database", _damage_open_database,
          affects=_LONG["prefect"], pictures=True),
    Fault("prefect-away", "prefect", _keep_prefect_away, _let_prefect_back, hold_sky_s=3600.0,
          pictures=True, apart=True),
    Fault("clock-forward", "clock", partial(_step_clock, STEP_S), needs="clock", sign="runner"),
    Fault("clock-back", "clock", partial(_step_clock, 0.0), needs="clock", sign="runner"),
)  # fmt: skip

BY_NAME = {fault.name: fault for fault in FAULTS}
