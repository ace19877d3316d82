"""Runs the Prefect server and mends what it cannot start or go on with: a damaged database.

Nothing in it is worth a person's night: the deployments are registered anew by the runner, frames
and products are in the archive. So a database that SQLite calls damaged is put aside, as
``prefect.db.damaged-1``, before the start. Under a server that runs, damage shows where it is read:
in an answer, or only in what the server prints while flow runs wait for it. Either has the file
checked, and the server ended for a new start. Standard library, and of ours what needs no more: it
lives as long as the server.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from allsky360 import systemd
from allsky360.logs import set_up_logging

log = logging.getLogger("flows.server_keeper")

ASK_EVERY_S = 20.0
DOUBTS_IN_A_ROW = 3
"""A file that is well, under a server that goes on to complain: its copy in memory is not."""
WORDS = (b"disk image is malformed", b"file is not a database")
STOP_S = 12.0
_PR_SET_PDEATHSIG = 1


def main(database: Path, api_url: str, host: str, port: str, form: str = "text") -> int:
    """Run the server until it ends or SIGTERM; return the exit status.

    ``form`` is ``logging.format`` of the settings.
    """
    set_up_logging("prefect", form)
    put_aside_if_damaged(database)
    arguments = ["prefect", "server", "start", "--host", host, "--port", port]
    server = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        preexec_fn=_die_with_parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert server.stdout is not None
    words = Words(server.stdout, sys.stdout.buffer)
    systemd.give_signs(lambda: systemd.answers(f"{api_url}/health"))
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        server.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    complained = 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = server.wait(ASK_EVERY_S)
            words.end()
            return 0 if stopped else abs(status)
        complained = complained + 1 if words.complained() else 0
        failing = answers_with_error(api_url)
        if what := why_anew(database, complained, failing=failing):
            log.error("the database is damaged (%s): the server is started anew", what)
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(STOP_S)
            server.kill()
            words.end()
            return 1


def why_anew(database: Path, complained: int, *, failing: bool) -> str:
    """Say why the server must be started anew; empty where it need not.

    ``complained`` is in how many rounds in a row it complained of its database, ``failing`` whether
    it answers with errors: that alone says nothing, for a full disk makes it do so, too.
    """
    if not complained and not failing:
        return ""
    return damage(database) or ("so it says" if complained >= DOUBTS_IN_A_ROW else "")


class Words:
    """Passes on what the server prints, and notes where it complains of its database."""

    def __init__(self, source: IO[bytes], target: IO[bytes]) -> None:
        self._heard = threading.Event()
        self._thread = threading.Thread(target=self._pass_on, args=(source, target), daemon=True)
        self._thread.start()

    def complained(self) -> bool:
        """Whether it did since this was asked last."""
        heard = self._heard.is_set()
        self._heard.clear()
        return heard

    def end(self) -> None:
        """Wait for the last words of a server that has ended."""
        self._thread.join(2.0)

    def _pass_on(self, source: IO[bytes], target: IO[bytes]) -> None:
        for line in source:
            if any(words in line for words in WORDS):
                self._heard.set()
            with contextlib.suppress(OSError):  # nobody listens: the server must not wait for it
                target.write(line)
                target.flush()


def damage(database: Path) -> str:
    """Say what is wrong with a database; empty where nothing is, or it cannot be told now."""
    if not database.exists():
        return ""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
        ) as opened:
            found = str(opened.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:  # locked, or the disk
        return str(error) if "malformed" in str(error) else ""
    except sqlite3.DatabaseError as error:  # malformed, or no database at all
        return str(error)
    return "" if found == "ok" else found


def put_aside_if_damaged(database: Path) -> Path | None:
    """Rename a damaged database and its journals; return where it went."""
    what = damage(database)
    if not what:
        return None
    number = 1
    while (aside := database.with_name(f"{database.name}.damaged-{number}")).exists():
        number += 1
    log.error("%s is damaged (%s): kept as %s, a new one is begun", database, what, aside.name)
    database.rename(aside)
    for ending in ("-wal", "-shm", "-journal"):
        journal = database.with_name(database.name + ending)
        if journal.exists():
            journal.rename(aside.with_name(aside.name + ending))
    return aside


def answers_with_error(api_url: str) -> bool:
    """Ask for something that lies in the database; an answer of 500 or more is an error."""
    request = urllib.request.Request(
        f"{api_url}/deployments/count",
        data=b"{}",
        headers={"content-type": "application/json"},
        method="POST",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        return error.code >= 500
    except OSError:  # not started yet, or busy: the supervisor's matter
        return False
    return False


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:6]))
