"""Open-shutter share of the owner against the simulator, each in its own process.

``python benchmarks/open_shutter.py [--exposure 10] [--seconds 65] [--width 1608 --height 1104]``
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta

from allsky360.owner.client import OwnerClient, OwnerUnreachable


def free_port() -> int:
    """Return a loopback port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def main() -> None:
    """Start both, take bursts, print the share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exposure", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=65.0)
    parser.add_argument("--bursts", type=int, default=1)
    parser.add_argument("--width", type=int, default=1608)
    parser.add_argument("--height", type=int, default=1104)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        owner_port = free_port()
        fixed = {"MIN_EXPOSURE_S": options.exposure, "MAX_EXPOSURE_S": options.exposure}
        environment = {
            "SITE__LATITUDE_DEG": "28.76",
            "SITE__LONGITUDE_DEG": "-17.88",
            "STORAGE__ROOT": root,
            "OWNER__PORT": owner_port,
            "SIMULATOR__PORT": free_port(),
            "SIMULATOR__WIDTH": options.width,
            "SIMULATOR__HEIGHT": options.height,
            # same rate as life, but at night whenever it is run
            "CLOCK__START": "2026-01-12T01:00:00Z",
            "CLOCK__ANCHOR": datetime.now(UTC).isoformat(),
            **{
                f"EXPOSURE__{period}__{key}": value
                for period in ("DAY", "TWILIGHT", "NIGHT")
                for key, value in {**fixed, "EXPOSURES": 1, "MAX_GAIN": 0}.items()
            },
        }
        env = {**os.environ, **{f"ALLSKY360_{k}": str(v) for k, v in environment.items()}}
        parts = [
            subprocess.Popen([sys.executable, "-m", "allsky360.cli", name], env=env)
            for name in ("simulate", "owner")
        ]
        try:
            with OwnerClient(f"http://127.0.0.1:{owner_port}") as client:
                wait_until_ready(client)
                for number in range(options.bursts):
                    until = datetime.now(UTC) + timedelta(seconds=options.seconds)
                    events = list(client.burst(until, f"benchmark-{number}"))
                    end = events[-1]
                    print([e for e in events if e["event"] == "fault"], end)
                    n, open_s, elapsed_s = end["brackets"], end["open_s"], end["elapsed_s"]
                    print(
                        f"{n} exposures of {options.exposure:g} s, "
                        f"{options.width}x{options.height}: open {open_s:.2f} s of "
                        f"{elapsed_s:.2f} s = {100 * open_s / elapsed_s:.2f} %, "
                        f"{1000 * (elapsed_s - open_s) / max(1, n):.0f} ms dead an exposure"
                    )
        finally:
            for part in reversed(parts):
                part.terminate()
            for part in parts:
                part.wait(20)


def wait_until_ready(client: OwnerClient) -> None:
    """Wait until the owner has its camera."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if client.status()["state"] == "ready":
                return
        except OwnerUnreachable:
            pass
        time.sleep(0.2)
    raise SystemExit("the owner did not become ready")


if __name__ == "__main__":
    main()
