"""Keep one part running: start, watch, restart with back-off, stop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path

import httpx

from allsky360.logs import as_json_line
from allsky360.supervisor.parts import Part
from allsky360.supervisor.probe import answers, port_obstacle

BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
STEADY_S = 60.0  # a part that answered this long starts again at the first back-off step
PROBE_EVERY_S = 2.0
STOP_S = 15.0
HUNG_S = 3.0  # the same for a part that does not answer any more
BLOCKED_S = 5.0
LAST_WORDS_S = 2.0  # for what an ended part wrote last
_PR_SET_PDEATHSIG = 1


@dataclass
class PartState:
    """What the status view shows of a part."""

    part: Part
    state: str = "waiting"
    detail: str = ""
    pid: int | None = None
    restarts: int = 0
    since: float = field(default_factory=time.monotonic)
    healthy: bool = False

    def set(self, state: str, detail: str = "") -> None:
        """Change state; ``since`` counts from the change."""
        if state != self.state:
            self.since = time.monotonic()
        self.state, self.detail = state, detail


class Keeper:
    """Runs one part until told to stop."""

    def __init__(
        self,
        part: Part,
        environment: Mapping[str, str],
        log_file: Path,
        others: Mapping[str, PartState],
        on_change: Callable[[PartState], None],
        log_format: str = "text",
    ) -> None:
        self.status = PartState(part)
        self._environment = {**os.environ, **environment, **part.environment}
        self._others = others
        self._on_change = on_change
        self._stop = asyncio.Event()
        self._tail: deque[str] = deque(maxlen=5)
        self._reason = ""  # why we ended it ourselves, if we did
        self._log = _log_to(part.name, log_file, log_format)

    def stop(self) -> None:
        """Ask the part to end; :meth:`run` returns when it has."""
        self._stop.set()

    async def run(self) -> None:
        """Start the part, watch it, restart it; return after :meth:`stop`."""
        failures = 0
        # a proxy from the environment has no business between the parts
        async with httpx.AsyncClient(trust_env=False) as client:
            while not self._stop.is_set():
                if not await self._may_start():
                    continue
                try:
                    process = await self._start()
                except (OSError, subprocess.SubprocessError) as error:
                    steady, why = False, f"cannot be started: {error}"
                else:
                    steady = await self._watch(process, client)
                    why = self._why(process)
                if self._stop.is_set():
                    break
                failures = 0 if steady else failures + 1
                delay = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
                self.status.restarts += 1
                self._change("restarting", f"{why}; again in {delay:.0f} s")
                await self._pause(delay)
        self._change("stopped")

    async def _may_start(self) -> bool:
        part = self.status.part
        missing = [n for n in part.after if n in self._others and not self._others[n].healthy]
        if missing:
            self._change("waiting", "for " + ", ".join(missing))
            await self._pause(0.5)
            return False
        if part.port is not None:
            host, port, key = part.port
            obstacle = port_obstacle(host, port, key)
            if obstacle is not None:
                self._change("blocked", obstacle)
                await self._pause(BLOCKED_S)
                return False
        return True

    async def _start(self) -> asyncio.subprocess.Process:
        part = self.status.part
        self._tail.clear()
        self._reason = ""
        process = await asyncio.create_subprocess_exec(
            *part.command,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=2**20,
            start_new_session=True,  # Ctrl-C reaches us only; we end the parts in order
            preexec_fn=_die_with_parent,
        )
        self.status.pid = process.pid
        self._change("starting")
        return process

    async def _watch(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient) -> bool:
        """Follow the process until it has ended, or end it; True when it had run steadily."""
        reader = asyncio.create_task(self._drain(process))
        stopping = asyncio.create_task(self._stop.wait())
        ended = asyncio.create_task(process.wait())
        started = last_answer = time.monotonic()
        first_answer: float | None = None
        while True:
            await asyncio.wait(
                {stopping, ended},
                timeout=PROBE_EVERY_S if first_answer else 0.3,
                return_when=asyncio.FIRST_COMPLETED,
            )
            # the process may have ended while a child of it holds the pipe open
            if stopping.done() or process.returncode is not None:
                break
            now = time.monotonic()
            if await answers(self.status.part.probe, client):
                last_answer = now
                first_answer = first_answer or now
                self.status.healthy = True
                self._change("running")
            elif first_answer is not None and now - last_answer > self.status.part.patience_s:
                self._reason = f"did not answer for {self.status.part.patience_s:.0f} s"
                await self._end(process, HUNG_S)
            elif first_answer is None and now - started > self.status.part.startup_s:
                self._reason = f"did not answer within {self.status.part.startup_s:.0f} s"
                await self._end(process, HUNG_S)
            elif first_answer is not None:
                self.status.healthy = False
                self._change("not answering")
        self.status.healthy = False
        await self._end(process)
        await asyncio.wait({reader}, timeout=LAST_WORDS_S)
        for task in (reader, stopping, ended):
            task.cancel()
        await asyncio.gather(reader, stopping, ended, return_exceptions=True)
        return first_answer is not None and time.monotonic() - first_answer > STEADY_S

    async def _drain(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line longer than the buffer: its start is lost, the log goes on
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                self._tail.append(text)
                self._log.info(text)

    async def _end(self, process: asyncio.subprocess.Process, grace_s: float = STOP_S) -> None:
        if process.returncode is None:
            self._change("stopping")
            _signal_group(process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), grace_s)
            except TimeoutError:
                self._log.warning("did not stop within %s s: killed", grace_s)
        # whatever the part left behind in its group (Dask workers, flow runs) goes with it
        _signal_group(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):  # a disk that hangs can hold even a killed process
            await asyncio.wait_for(process.wait(), STOP_S)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    def _why(self, process: asyncio.subprocess.Process) -> str:
        code = process.returncode
        if self._reason:
            return self._reason
        if code is None:
            return f"process {process.pid} does not end even when killed"
        if code < 0:
            return f"ended by {signal.Signals(-code).name}"
        last = self._tail[-1][:160] if self._tail else ""
        return f"ended with status {code}" + (f" ({last})" if last else "")

    def _change(self, state: str, detail: str = "") -> None:
        before = (self.status.state, self.status.detail)
        self.status.set(state, detail)
        if before != (state, detail):
            self._log.info("[supervisor] %s %s", state, detail)
            self._on_change(self.status)


class _PartLog(RotatingFileHandler):
    """A log that, where it cannot be written, says so once and not with every line."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Take note of a line that was not written."""
        if not self._told:
            self._told = True
            sys.stderr.write(f"{self.baseFilename} is not written: {sys.exc_info()[1]}\n")


class _JsonLines(logging.Formatter):
    """What a part wrote, an object a line: as it is where it is one, else wrapped in one."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        return as_json_line(self._part, record.getMessage(), record.levelname)


def _log_to(name: str, file: Path, form: str = "text") -> logging.Logger:
    log = logging.Logger(f"part.{name}")  # not in the tree: it must not reach the terminal
    handler = _PartLog(file, maxBytes=10_000_000, backupCount=3, encoding="utf-8")
    if form == "json":
        handler.setFormatter(_JsonLines(name))
    else:
        lines = logging.Formatter("%(asctime)s %(message)s")
        lines.converter = time.gmtime
        handler.setFormatter(lines)
    log.addHandler(handler)
    return log


def _signal_group(pid: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, what)


def _die_with_parent() -> None:
    """Run in the child: end when the supervisor dies, so that a new one finds free ports."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
