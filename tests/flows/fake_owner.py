"""A camera owner without a camera: the HTTP interface of docs/architecture.md, one burst at a time.

``python tests/flows/fake_owner.py PORT LOG`` serves it and writes one JSON line per burst.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class FakeOwner(ThreadingHTTPServer):
    """Takes a bracket every ``bracket_s`` seconds while now < until."""

    daemon_threads = True

    def __init__(self, port: int = 0, bracket_s: float = 1.0, log: Path | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.bracket_s = bracket_s
        self.log = log
        self.camera = threading.Lock()
        self.index = 0
        self.bursts: list[dict[str, Any]] = []
        self.script: list[list[dict[str, Any]]] = []  # canned answers, used up first

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def note(self, burst: dict[str, Any]) -> None:
        self.bursts.append(burst)
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(json.dumps(burst) + "\n")


class _Handler(BaseHTTPRequestHandler):
    server: FakeOwner

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        body = json.dumps({"state": "ready", "camera": "fake", "fault": None}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        until = datetime.fromisoformat(asked["until"])
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        if self.server.script:
            for event in self.server.script.pop(0):
                self._say(event)
            return
        called = datetime.now(UTC)
        with self.server.camera:
            self._take(asked["run_id"], called, until)

    def _take(self, run_id: str, called: datetime, until: datetime) -> None:
        begun, count = datetime.now(UTC), 0
        try:
            while (start := datetime.now(UTC)) < until:
                time.sleep(self.server.bracket_s)
                self.server.index += 1
                count += 1
                self._say(
                    {
                        "event": "bracket",
                        "camera": "fake",
                        "night": start.date().isoformat(),
                        "index": self.server.index,
                        "time": start.isoformat(),
                        "exposures_s": [self.server.bracket_s],
                        "gain": 0,
                        "level": 0.1,
                        "sun_altitude_deg": -30.0,
                    }
                )
        except (BrokenPipeError, ConnectionResetError):
            pass  # the caller hung up: the burst is over
        ended = datetime.now(UTC)
        self.server.note(  # before it is told, so that who hears of the end finds it
            {
                "run_id": run_id,
                "called": called.isoformat(),
                "begun": begun.isoformat(),
                "until": until.isoformat(),
                "ended": ended.isoformat(),
                "brackets": count,
            }
        )
        end = {
            "event": "end",
            "brackets": count,
            "open_s": count * self.server.bracket_s,
            "elapsed_s": (ended - begun).total_seconds(),
        }
        with suppress(BrokenPipeError, ConnectionResetError):
            self._say(end)

    def _say(self, event: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(event).encode() + b"\n")
        self.wfile.flush()


if __name__ == "__main__":
    FakeOwner(int(sys.argv[1]), log=Path(sys.argv[2])).serve_forever()
