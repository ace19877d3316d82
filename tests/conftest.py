"""Shared fixtures: the real frames, free ports, a site, a settings tree without surprises."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import settings

from allsky360.model import Site

# No example is judged by the clock: a busy machine is no failure.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

SHARED_DATA = Path(
    os.environ.get("ALLSKY360_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")
)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print a failure when it happens: a run that is cut off has no summary."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        reason = "\n".join(report.longreprtext.splitlines()[-40:])
        print(
            f"\nFAILED {report.nodeid} ({report.when}, {report.duration:.0f} s)\n{reason}",
            file=sys.__stdout__,
            flush=True,
        )


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ALLSKY360_"):
            monkeypatch.delenv(name)


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Return a path below ``../shared/data``; skip the test where it is absent."""

    def find(relative: str) -> Path:
        path = SHARED_DATA / relative
        if not path.exists():
            pytest.skip(f"real all-sky frames not present: {path}")
        return path

    return find


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Return a loopback TCP port nobody listens on."""

    def find() -> int:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return int(s.getsockname()[1])

    return find


@pytest.fixture
def site() -> Site:
    return Site("La Palma", 28.7606, -17.8816, 2326.0)


def utc(text: str) -> datetime:
    """Read ``2026-11-22T01:02:03`` as UTC."""
    return datetime.fromisoformat(text + "+00:00")
