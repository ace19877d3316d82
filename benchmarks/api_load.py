"""The read service under load while the system captures. Marks of issue 6.

``python -m benchmarks.api_load [--seconds 30] [--connections 64]`` runs ``allsky360 up`` with the
simulator in a folder of its own, lets it come to rest, watches it quiet for a while, then asks with
wrk for the newest picture (200 and 304), a frame's metadata and a thumbnail. An exposure counts as
late by how much longer than in the quiet time the pause before it was.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from allsky360.archive import Archive
from allsky360.client import Client, ServiceError

API = "/api/v1"
SLOT_S = 60


@dataclass(frozen=True)
class Answered:
    """What wrk says of one address."""

    name: str
    per_s: float
    p99_ms: float
    errors: int
    mb_per_s: float


def main() -> None:
    """Run, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--quiet", type=int, default=60)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="allsky360-api-load-") as scratch:
        root = Path(scratch) / "data"
        port, environment = settings_of(root)
        log = (Path(scratch) / "up.log").open("wb")
        up = subprocess.Popen([sys.executable, "-m", "allsky360.cli", "up"], env=environment,
                              stdout=log, stderr=log, cwd=scratch)  # fmt: skip
        heard: list[float] = []
        try:
            base = f"http://127.0.0.1:{port}"
            try:
                frame = wait_for_frames(base, 3)
            except SystemExit:
                print((Path(scratch) / "up.log").read_text()[-3000:])
                raise
            print("frames come in; watching it quiet", flush=True)
            threading.Thread(target=listen, args=(base, heard), daemon=True).start()
            quiet = time.time(), time.time() + a.quiet
            time.sleep(a.quiet)
            loaded = time.time()
            answers = ask_all(base, frame, a.seconds, a.connections)
            done = time.time()
            time.sleep(5)
            pauses = {k: pauses_of(root, *span) for k, span in
                      (("quiet", quiet), ("loaded", (loaded, done)))}  # fmt: skip
            slots = slots_of(root, loaded, done)
            newest = httpx.get(f"{base}{API}/status").json()["last_picture"]
            show_arrays(base)
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(120)
    print(f"\n{'address':34} {'requests/s':>10} {'p99':>9} {'MB/s':>7} {'errors':>7}")
    for x in answers:
        print(f"{x.name:34} {x.per_s:10.0f} {x.p99_ms:6.1f} ms {x.mb_per_s:7.1f} {x.errors:7d}")
    usual = float(np.median(pauses["quiet"]))
    for name, values in pauses.items():
        late = 1e3 * (values - usual)
        print(f"{name:7} {len(values):4d} exposures; start after the pause usual when quiet: "
              f"median {np.median(late):+.0f} ms, latest {late.max():+.0f} ms")  # fmt: skip
    if heard:
        print(f"{len(heard)} frames announced after their commit: median {np.median(heard):.2f} s, "
              f"latest {max(heard):.2f} s (mark 1 s)")  # fmt: skip
    latest = 1e3 * float((pauses["loaded"] - usual).max())
    print(f"slots under load {slots[0]} of {slots[1]} with exposures; newest picture {newest}")
    good = slots[0] == slots[1] and latest <= 100 and not any(x.errors for x in answers)
    print("marks (no burst missed, none over 100 ms late, no error):", "met" if good else "MISSED")


def listen(base: str, heard: list[float]) -> None:
    """Note how long after its commit each frame is announced, until the service goes."""
    with contextlib.suppress(ServiceError, httpx.HTTPError), Client(base) as sky:
        for event in sky.events():
            if event.name == "frame":
                heard.append(time.time() - int(event.id.rpartition("-")[2]) / 1e9)


def show_arrays(base: str) -> None:
    """Open the night as the example does."""
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, root / "examples" / "remote_night.py", base], cwd=root)


def settings_of(root: Path) -> tuple[int, dict[str, str]]:
    """Return the service's port and an environment in which it is night, at the rate of life."""
    names = ("SIMULATOR__PORT", "OWNER__PORT", "API__PORT", "PREFECT__PORT", "DASK__PORT",
             "DASK__DASHBOARD_PORT")  # fmt: skip
    sockets = [socket.socket() for _ in names]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = {name: str(s.getsockname()[1]) for name, s in zip(names, sockets, strict=True)}
    for s in sockets:
        s.close()
    given = {
        "STORAGE__ROOT": str(root),
        "STORAGE__MIN_FREE_GB": "0.1",
        "CAPTURE__SLOT_S": str(SLOT_S),
        "EXPOSURE__NIGHT__MAX_EXPOSURE_S": "4",
        "EXPOSURE__NIGHT__MIN_EXPOSURE_S": "4",
        "EXPOSURE__START_EXPOSURE_S": "4",
        **ports,
    }
    environment = {**os.environ, **{f"ALLSKY360_{k}": v for k, v in given.items()}}
    return int(ports["API__PORT"]), environment


def wait_for_frames(base: str, count: int, timeout_s: float = 400.0) -> str:
    """Wait until so many frames are processed; return the newest one's address."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError, KeyError):  # not up yet
            page = httpx.get(f"{base}{API}/frames?processed=true&order=newest").json()["frames"]
            if len(page) >= count:
                return str(page[0]["links"]["self"])
        time.sleep(1)
    raise SystemExit("no frames came")


def ask_all(base: str, frame: str, seconds: int, connections: int) -> list[Answered]:
    """Run wrk on each address in turn."""
    latest = f"{base}{API}/latest/picture"
    thumbnail = httpx.get(base + frame).json()["links"]["thumbnail"]
    questions = [
        ("newest picture, 200", latest, None),
        ("newest picture, 304", latest, "follow"),
        ("frame metadata", base + frame, None),
        ("thumbnail", base + thumbnail, None),
    ]
    return [
        wrk(name, url, seconds, connections, latest if how else None)
        for name, url, how in questions
    ]


def wrk(name: str, url: str, seconds: int, connections: int, tag_of: str | None) -> Answered:
    """Run wrk; ``tag_of`` is an address whose ETag is sent along."""
    # nice: the clients are elsewhere, and must not take the processor from what they ask
    command = [
        "nice",
        "-n",
        "10",
        "wrk",
        "-t2",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "--timeout",
        "10s",
    ]
    if tag_of:
        command += ["-H", f"If-None-Match: {httpx.get(tag_of).headers['etag']}"]
    text = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    sent = re.search(r"Transfer/sec:\s+([\d.]+)(\w+)", text)
    if not (p99 and rate and sent):
        raise SystemExit(text)
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}[p99[2]]
    scale = {"B": 1e-6, "KB": 1e-3, "MB": 1.0, "GB": 1e3}[sent[2]]
    return Answered(
        name,
        float(rate[1]),
        float(p99[1]) * unit,
        errors + (int(failed[1]) if failed else 0),
        float(sent[1]) * scale,
    )


def exposures_of(root: Path) -> np.ndarray:
    """Start and length of every archived exposure, seconds, in order."""
    found = []
    for folder in [root, *root.glob("demo*")]:
        archive = Archive(folder)
        for camera in archive.cameras():
            for night in archive.nights(camera):
                for f in archive.frames(camera, night):
                    found.append((f.time.timestamp(), sum(f.exposures_s)))
    return np.array(sorted(found))


def pauses_of(root: Path, since: float, until: float) -> np.ndarray:
    """Pause before each exposure that began in a time, seconds."""
    e = exposures_of(root)
    pause = e[1:, 0] - (e[:-1, 0] + e[:-1, 1])
    within = (e[1:, 0] >= since) & (e[1:, 0] < until)
    return pause[within]


def slots_of(root: Path, since: float, until: float) -> tuple[int, int]:
    """Return whole slots of a time with exposures, and how many there were."""
    first, last = int(since // SLOT_S) + 1, int(until // SLOT_S)
    begun = set((exposures_of(root)[:, 0] // SLOT_S).astype(int).tolist())
    return sum(k in begun for k in range(first, last)), last - first


if __name__ == "__main__":
    main()
