"""A thousand readers that take their answers slowly, and what the service's memory does. Issue 6.

``python -m benchmarks.api_slow_readers [FOLDER] [--readers 1000] [--seconds 20]``: connections over
loopback with small receive windows ask for the newest picture as stored, a year's chart and the
event stream, and read a kilobyte a second. Meanwhile one reader asks at its usual pace.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.api_archive import build
from benchmarks.api_scale import QUESTIONS, wait_until_up

ADDRESSES = (
    "/api/v1/latest/picture",
    "/api/v1/latest/picture",
    QUESTIONS["a year of 3 variables, 2000 points"][0],
    "/api/v1/events",
)


def main() -> None:
    """Serve, hold on, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    a = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    with tempfile.TemporaryDirectory(prefix="allsky360-api-slow-") as scratch:
        root = (a.folder or Path(scratch)) / "tenth"
        if not root.exists():
            build(root, 36, 25_000)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = {
            **os.environ,
            "ALLSKY360_STORAGE__ROOT": str(root),
            "ALLSKY360_API__PORT": str(port),
        }
        command = [sys.executable, "-m", "allsky360.cli", "api"]
        service = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            hold(port, service.pid, a.readers, a.seconds)
        finally:
            service.terminate()
            service.wait(20)


def hold(port: int, pid: int, readers: int, seconds: float) -> None:
    """Open the connections, read slowly, and watch."""
    me = psutil.Process(pid)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        wait_until_up(client)
        for _ in range(3):
            for address in ADDRESSES[:3]:
                client.get(address).raise_for_status()
        time.sleep(2)
        before = me.memory_info().rss / 2**20
        connections = [_ask(port, ADDRESSES[k % len(ADDRESSES)]) for k in range(readers)]
        opened = me.memory_info().rss / 2**20
        course, waits, got = [opened], [], 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for connection in connections:
                try:
                    got += len(connection.recv(1024))
                except (BlockingIOError, ConnectionError):
                    continue
            begin = time.perf_counter()
            client.get("/api/v1/latest").raise_for_status()
            waits.append(1e3 * (time.perf_counter() - begin))
            course.append(me.memory_info().rss / 2**20)
            time.sleep(1)
        for connection in connections:
            connection.close()
        time.sleep(2)
        after = me.memory_info().rss / 2**20
    print(f"{readers} slow readers for {seconds:.0f} s, {got / 1e6:.1f} MB read by them")
    print(f"memory: before {before:.0f}, all connected {opened:.0f}, highest {max(course):.0f}, "
          f"last {course[-1]:.0f}, when they had gone {after:.0f} MiB")  # fmt: skip
    print(f"newest frame for everybody else meanwhile: median {np.median(waits):.1f} ms, "
          f"worst {max(waits):.1f} ms")  # fmt: skip


def _ask(port: int, address: str) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    request = f"GET {address} HTTP/1.1\r\nhost: localhost\r\naccept-encoding: identity\r\n\r\n"
    connection.sendall(request.encode())
    connection.setblocking(False)
    return connection


if __name__ == "__main__":
    main()
