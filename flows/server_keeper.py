"""Runs the Prefect server and mends what it cannot start or go on with: a damaged database.

Nothing in it is worth a person's night: the deployments are registered anew by the runner, frames
and products are in the archive. So a database that SQLite calls damaged is put aside, as
``prefect.db.damaged-1``, before the start, and the server is ended for a new start when it answers
with errors and the file is damaged. Standard library, and of ours what needs no more: it lives as
long as the server.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from allsky360 import systemd
from allsky360.logs import set_up_logging

log = logging.getLogger("flows.server_keeper")

ASK_EVERY_S = 20.0
ERRORS_IN_A_ROW = 2
STOP_S = 12.0
_PR_SET_PDEATHSIG = 1


def main(database: Path, api_url: str, host: str, port: str, form: str = "text") -> int:
    """Run the server until it ends or SIGTERM; return the exit status.

    ``form`` is ``logging.format`` of the settings.
    """
    set_up_logging("prefect", form)
    put_aside_if_damaged(database)
    arguments = ["prefect", "server", "start", "--host", host, "--port", port]
    server = subprocess.Popen([sys.executable, "-m", *arguments], preexec_fn=_die_with_parent)
    systemd.give_signs(lambda: systemd.answers(f"{api_url}/health"))
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        server.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    errors = 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = server.wait(ASK_EVERY_S)
            return 0 if stopped else abs(status)
        errors = errors + 1 if answers_with_error(api_url) else 0
        if errors >= ERRORS_IN_A_ROW and (what := damage(database)):
            log.error("the database is damaged (%s): the server is started anew", what)
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(STOP_S)
            server.kill()
            return 1


def damage(database: Path) -> str:
    """Say what is wrong with a database; empty where nothing is, or it cannot be told now."""
    if not database.exists():
        return ""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
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
