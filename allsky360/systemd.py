"""A sign of life for systemd: units of ``Type=notify`` with ``WatchdogSec=``.

A thread asks the part as any other program would, and tells systemd while it answers. A part that
does not is ended and started anew by systemd, as the supervisor of ``allsky360 up`` does it.
Protocol: sd_notify(3). Standard library only.
"""

from __future__ import annotations

import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping

ANSWER_S = 5.0
WITHOUT_WATCHDOG_S = 10.0


def give_signs(
    alive: Callable[[], bool], environment: Mapping[str, str] = os.environ
) -> threading.Event | None:
    """Tell systemd that this process is ready, once it lives, and ever again while it does.

    Parameters
    ----------
    alive
        Asks the part; called in a thread of its own, several times in a watchdog's time.

    Returns
    -------
    threading.Event or None
        Set it to end the signs; None where no systemd asks for them.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return None
    stop = threading.Event()
    every_s = _watchdog_s(environment)
    thread = threading.Thread(
        target=_signs, args=(address, alive, every_s, stop), name="systemd", daemon=True
    )
    thread.start()
    return stop


def answers(url: str, timeout_s: float = ANSWER_S) -> bool:
    """Whether something at an HTTP address answers without an error of its own."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=timeout_s).close()
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Return the time in which a sign is due; None where systemd waits for none of ours."""
    mine = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if mine and microseconds.isdecimal() else None


def _signs(
    address: str, alive: Callable[[], bool], watchdog_s: float | None, stop: threading.Event
) -> None:
    ready = False
    while not stop.is_set():
        if alive():
            said = (["WATCHDOG=1"] if watchdog_s else []) + ([] if ready else ["READY=1"])
            ready = _send(address, "\n".join(said)) or ready
            if not watchdog_s and ready:
                return
        # until it is ready often, so that nobody waits for it without need
        stop.wait((watchdog_s or WITHOUT_WATCHDOG_S) / 4 if ready else 0.5)


def _send(address: str, text: str) -> bool:
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(text.encode(), name)
    except OSError:  # systemd is being restarted: the next sign is due soon
        return False
    return True
