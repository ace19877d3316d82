"""The read service over a year: 365 nights, 250,000 frames. Marks of issue 6.

``python -m benchmarks.api_scale [FOLDER]``; the archive is built where FOLDER does not hold it.
Medians of warm requests over loopback, to a service of its own process, and what they cost it in
CPU (which a busy machine changes little); the same questions to a
tenth of the archive say whether cost follows the answer.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from benchmarks.api_archive import CAMERA, build

QUESTIONS = {
    "newest frame": ("/api/v1/latest", 10.0),
    "a year of 3 variables, 2000 points": (
        "/api/v1/series?variables=sky_brightness_mag_arcsec2,cloud_fraction,limiting_mag&points=2000",
        150.0,
    ),
    "search with 3 filters, 100 frames": (
        "/api/v1/frames?sun_altitude_max=-18&cloud_fraction_max=0.1&sky_brightness_min=21.3",
        150.0,
    ),
    "search with 3 filters, none found": (
        "/api/v1/frames?sun_altitude_max=-18&cloud_fraction_max=0.1&sky_brightness_min=23",
        150.0,
    ),
    "a year's calendar": ("/api/v1/nights?limit=366", None),
    "a year of 3 variables as Arrow, all rows": (
        "/api/v1/series?variables=sky_brightness_mag_arcsec2,cloud_fraction,limiting_mag"
        "&points=500000&format=arrow",
        None,
    ),
}


def main() -> None:
    """Build, serve, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=15)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="allsky360-api-scale-") as scratch:
        folder = a.folder or Path(scratch)
        year, tenth = folder / "year", folder / "tenth"
        for root, nights, frames in ((year, 365, 250_000), (tenth, 36, 25_000)):
            if not root.exists():
                begin = time.perf_counter()
                build(root, nights, frames)
                print(f"built {root.name}: {nights} nights, {frames} frames, "
                      f"{time.perf_counter() - begin:.0f} s")  # fmt: skip
        results = {root.name: measure(root, a.rounds) for root in (tenth, year)}
    print(
        f"\n{'question':44} {'first':>9} {'median':>9} {'its CPU':>9} {'a tenth':>9} {'mark':>14}"
    )
    for name, (_, mark) in QUESTIONS.items():
        first, median, size, cpu = results["year"][0][name]
        small = results["tenth"][0][name][1]
        shown = "" if mark is None else f"{mark:.0f} ms {'met' if median <= mark else 'MISSED'}"
        print(f"{name:44} {first:6.0f} ms {median:6.1f} ms {cpu:6.1f} ms {small:6.1f} ms "
              f"{shown:>14}  {size}")  # fmt: skip
    memory = results["year"][1]
    print(f"memory of the process: {memory:.0f} MiB (mark 400 MiB)")


WARM_UP_S = 20.0
"""The service reads the year ahead in the background; the marks are for a warm one."""


def measure(root: Path, rounds: int) -> tuple[dict[str, tuple[float, float, int, float]], float]:
    """Return first and median milliseconds and bytes of each question, and MiB resident."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "ALLSKY360_STORAGE__ROOT": str(root),
        "ALLSKY360_API__PORT": str(port),
        "ALLSKY360_SITE__LATITUDE_DEG": "28.76",
        "ALLSKY360_SITE__LONGITUDE_DEG": "-17.88",
    }
    command = [sys.executable, "-m", "allsky360.cli", "api"]
    service = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            wait_until_up(client)
            time.sleep(WARM_UP_S)
            found = {}
            for name, (address, _) in QUESTIONS.items():
                times, size = [], 0
                me = psutil.Process(service.pid)
                for turn in range(rounds + 1):
                    if turn == 1:
                        cpu = sum(me.cpu_times()[:2])
                    begin = time.perf_counter()
                    reply = client.get(
                        address, params=None, headers={"accept-encoding": "identity"}
                    )
                    times.append(1e3 * (time.perf_counter() - begin))
                    reply.raise_for_status()
                    size = len(reply.content)
                cpu_ms = 1e3 * (sum(me.cpu_times()[:2]) - cpu) / rounds
                found[name] = (times[0], statistics.median(times[1:]), size, cpu_ms)
            assert CAMERA in client.get("/api/v1/cameras").text
            memory = psutil.Process(service.pid).memory_info().rss / 2**20
        return found, memory
    finally:
        service.terminate()
        service.wait(20)


def wait_until_up(client: httpx.Client) -> None:
    """Wait until the service answers."""
    for _ in range(600):
        with contextlib.suppress(httpx.TransportError):  # nobody listens yet
            if client.get("/api/v1/health").status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit("the service did not start")


if __name__ == "__main__":
    main()
