"""A small coverage-guided fuzzer: an input that reaches new code is kept and changed further.

Guided by ``sys.settrace`` over our own code, since atheris has no wheels for aarch64. Every input
has a limit of processor time and of memory; what a decoder may raise is an :class:`AllskyError`.
"""

from __future__ import annotations

import contextlib
import random
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import allsky360
from allsky360.errors import AllskyError
from tests.fuzz.mutate import mutate

OURS = str(Path(allsky360.__file__).parent)
ROOM_BYTES = 3 << 30
"""Address space beyond what the process has when it begins: what is refused unread needs none."""


class Hang(BaseException):
    """An input took too long. No ``Exception``: a decoder must not catch it."""


@dataclass(frozen=True)
class Target:
    """A decoder.

    Attributes
    ----------
    run
        Decodes one input.
    seeds
        Inputs that it reads.
    words
        Bytes that mean something to it.
    input_s
        Processor seconds an input may take, traced: five to fifty times what it takes untraced.
    """

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    words: Sequence[bytes] = ()
    input_s: float = 10.0


@dataclass
class Report:
    """What was tried and found.

    Attributes
    ----------
    runs, kept, edges
        Inputs tried, inputs that reached new code, ways from line to line that were taken.
    findings
        By kind and place: the traceback and the first input.
    rss_bytes
        Resident memory after a tenth of the time, and at the end.
    seconds, slowest_s
        Processor time of all inputs, and the longest of one.
    """

    runs: int = 0
    kept: int = 0
    edges: int = 0
    findings: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    rss_bytes: list[int] = field(default_factory=list)
    seconds: float = 0.0
    slowest_s: float = 0.0


class Trace:
    """Remembers which line of our code followed which."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType, int, int]] = set()
        self._ours: dict[CodeType, bool] = {}

    @contextmanager
    def on(self) -> Iterator[None]:
        """Watch the body."""
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            ours = self._ours[code] = code.co_filename.startswith(OURS)
        if not ours:
            return None
        before = 0
        seen = self.seen

        def line(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal before
            if event == "line":
                seen.add((code, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line

    def watch_threads(self) -> None:
        """Watch threads that begin from now on, too."""
        threading.settrace(self._call)


def limit_memory(room_bytes: int = ROOM_BYTES) -> None:
    """Let this process have no more than ``room_bytes`` of address space beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + room_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def hunt(
    target: Target,
    seconds: float,
    seed: int = 0,
    *,
    before: Callable[[bytes], None] = lambda data: None,
    after: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Try inputs for a while.

    Parameters
    ----------
    seconds
        Processor time: what others do on the machine changes nothing.
    seed
        Of the choices made.
    before
        Called with each input; keeps it for whoever finds this process dead.
    after
        Called with the report after each input.
    """
    rng, trace, report = random.Random(seed), Trace(), Report()
    corpus = list(target.seeds)
    for data in corpus:  # what is imported, compiled and read once is no input's doing
        with contextlib.suppress(Exception):
            target.run(data)
    trace.watch_threads()
    begin = time.process_time()
    signal.signal(signal.SIGPROF, _too_long)
    try:
        for data in corpus:
            _try(target, data, trace, report, before)
        while (gone := time.process_time() - begin) < seconds:
            if len(report.rss_bytes) == 0 and gone > seconds / 10:
                report.rss_bytes.append(_rss())
            known = len(trace.seen)
            # what was found last leads furthest
            parent = corpus[-1 - int(len(corpus) * rng.random() ** 2)]
            data = mutate(rng, parent, target.words, rng.choice(corpus))
            _try(target, data, trace, report, before)
            if len(trace.seen) > known:
                corpus.append(data)
                report.kept += 1
            report.edges, report.seconds = len(trace.seen), gone
            after(report)
    finally:
        threading.settrace(None)  # type: ignore[arg-type]
    report.rss_bytes.append(_rss())
    return report


def _too_long(number: int, frame: FrameType | None) -> None:
    raise Hang


def _try(
    target: Target, data: bytes, trace: Trace, report: Report, before: Callable[[bytes], None]
) -> None:
    before(data)
    start = time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, target.input_s)
        try:
            with trace.on():
                target.run(data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except AllskyError:
        pass  # what a decoder is to say
    except (Exception, Hang) as error:  # noqa: BLE001 - a finding
        place = f"{type(error).__name__} at {_place(error)}"
        words = "".join(traceback.format_exception(error)[-12:])
        report.findings.setdefault(place, (words, data))
    report.runs += 1
    report.slowest_s = max(report.slowest_s, time.process_time() - start)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename.startswith(OURS)] or list(frames)
    last = ours[-1]
    return f"{Path(last.filename).name}:{last.lineno} in {last.name}"


def _rss() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
