"""Bands of rows: what they cover, several threads at once, and after a fork."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from allsky360.arrays import bands
from allsky360.arrays.bands import compiled, in_bands
from allsky360.config import load_settings

LONGEST_S = 60


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "threads", lambda: 2)


@compiled
def _mark(y0: int, y1: int, out: np.ndarray) -> int:
    for y in range(y0, y1):
        out[y] += y + 1
    return y1 - y0


def marked(rows: int) -> np.ndarray:
    out = np.zeros(rows, np.int64)
    assert sum(in_bands(_mark, rows, out)) == rows
    return out


@pytest.mark.parametrize("rows", [0, 1, 2 * bands.SMALL - 1, 2 * bands.SMALL, 1001])
def test_every_row_is_met_once(rows: int) -> None:
    assert np.array_equal(marked(rows), np.arange(1, rows + 1))


def test_threads_share_the_pool() -> None:
    start = threading.Barrier(6)

    def work(_: int) -> bool:
        start.wait(LONGEST_S)
        return all(np.array_equal(marked(500), np.arange(1, 501)) for _ in range(20))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6), timeout=LONGEST_S))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_makes_a_pool_of_its_own() -> None:
    marked(1001)
    child = os.fork()
    if child == 0:
        import faulthandler

        # Should it hang, it ends with a status that is not 0.
        faulthandler.dump_traceback_later(LONGEST_S / 4, exit=True)
        os._exit(0 if np.array_equal(marked(1001), np.arange(1, 1002)) else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_variable_for_threads_is_no_stray_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLSKY360_THREADS", "2")
    load_settings()
