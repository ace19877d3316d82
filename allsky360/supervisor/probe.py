"""Ask a part whether it lives, and a port whether it is free."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx
import psutil

from allsky360.supervisor.pulse import beats

TIMEOUT_S = 5.0


async def answers(probe: str, client: httpx.AsyncClient) -> bool:
    """Return whether a ``tcp://``, ``http://`` or ``pulse://`` probe is answered."""
    return not await ailment(probe, client)


async def ailment(probe: str, client: httpx.AsyncClient) -> str:
    """Say what is wrong with a part, from its probe; empty where it answers, or has none."""
    if not probe:
        return ""
    parts = urlsplit(probe)
    try:
        if parts.scheme == "pulse":
            alive = await asyncio.wait_for(beats(parts.netloc), TIMEOUT_S)
            return "" if alive else "runs, but does no work: restart it"
        if parts.scheme == "tcp":
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(parts.hostname, parts.port), TIMEOUT_S
            )
            writer.close()
            await writer.wait_closed()
            return ""
        status = (await client.get(probe, timeout=TIMEOUT_S)).status_code
    except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
        return f"does not answer ({str(error) or type(error).__name__})"
    return "" if status < 500 else f"answers with {status}"


def ailments(probes: Sequence[str]) -> list[str]:
    """Ask several parts at once; :func:`ailment` of each. Blocks for ``TIMEOUT_S`` at the most."""

    async def ask() -> list[str]:
        # a proxy from the environment has no business between the parts, which speak plain HTTP
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            return await asyncio.gather(*(ailment(p, client) for p in probes))

    return asyncio.run(ask())


def port_obstacle(host: str, port: int, key: str) -> str | None:
    """Say what keeps a part from listening on a port, and the mend; None when nothing does.

    Parameters
    ----------
    key
        The port's settings key, such as ``api.port``.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host, port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            section = key.partition(".")[0]
            return (
                f"cannot listen on {host}:{port}: {error.strerror}; change {section}.host or {key}"
            )
        holder = _holder_name(port) or "another program"
        return f"port {port} is in use by {holder}; stop it or change {key}"
    return None


def _holder_name(port: int) -> str | None:
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.laddr
                and connection.laddr.port == port
                and connection.status == psutil.CONN_LISTEN
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return None
    return None
