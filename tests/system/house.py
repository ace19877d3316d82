"""The whole system as a child process: ``allsky360 up`` on free ports in a folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

T = TypeVar("T")

# how each part's main process is recognised among the supervisor's children
MARKS = {
    "simulator": "simulate",
    "owner": "owner",
    "api": "api",
    "prefect": "flows.server_keeper",
    "dask": "cluster",
    "runner": "flows.serve",
}


def free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


class House:
    """Runs ``allsky360 up``; use as a context manager."""

    def __init__(self, folder: Path, extra: Mapping[str, str] | None = None) -> None:
        names = ("simulator", "owner", "api", "prefect", "dask", "dashboard")
        self.port = dict(zip(names, free_ports(len(names)), strict=True))
        self.folder = folder
        self.environment = {
            **os.environ,
            "ALLSKY360_STORAGE__ROOT": str(folder / "data"),
            "ALLSKY360_STORAGE__MIN_FREE_GB": "0.1",
            "ALLSKY360_SIMULATOR__PORT": str(self.port["simulator"]),
            "ALLSKY360_OWNER__PORT": str(self.port["owner"]),
            "ALLSKY360_API__PORT": str(self.port["api"]),
            "ALLSKY360_PREFECT__PORT": str(self.port["prefect"]),
            "ALLSKY360_DASK__PORT": str(self.port["dask"]),
            "ALLSKY360_DASK__DASHBOARD_PORT": str(self.port["dashboard"]),
            **(extra or {}),
        }
        self.log = folder / "up.log"

    def __enter__(self) -> House:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._out = self.log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "allsky360.cli", "up"],
            env=self.environment,
            stdout=self._out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        finally:
            self._out.close()

    def get(self, part: str, path: str) -> Any:
        """Answer of a part as JSON; None while it does not answer with 200."""
        try:
            reply = httpx.get(f"http://127.0.0.1:{self.port[part]}{path}", timeout=5)
            return reply.json() if reply.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return None

    def latest_id(self) -> str | None:
        """Name of the newest frame on the read service."""
        latest = self.get("api", "/api/v1/latest")
        return None if latest is None else str(latest["id"])

    def until(self, what: str, ask: Callable[[], T], timeout_s: float) -> T:
        """Ask again and again until the answer is true; fail with the log's end."""
        end = time.monotonic() + timeout_s
        while True:
            answer = ask()
            if answer:
                return answer
            if self.process.poll() is not None:
                raise AssertionError(f"up ended while waiting for {what}\n{self.tail()}")
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not within {timeout_s} s\n{self.tail()}")
            time.sleep(0.5)

    def pid(self, part: str) -> int | None:
        """Process id of a part's main process."""
        for child in psutil.Process(self.process.pid).children():
            try:
                if MARKS[part] in child.cmdline():
                    return child.pid
            except psutil.Error:
                continue
        return None

    def tail(self, lines: int = 40) -> str:
        """Last lines of what ``up`` printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
