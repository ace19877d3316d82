"""Ask a part whether it lives, and a port whether it is free."""

from __future__ import annotations

import asyncio
import errno
import socket
from urllib.parse import urlsplit

import httpx
import psutil

from allsky360.supervisor.pulse import beats

TIMEOUT_S = 5.0


async def answers(probe: str, client: httpx.AsyncClient) -> bool:
    """Return whether a ``tcp://``, ``http://`` or ``pulse://`` probe is answered."""
    if not probe:
        return True
    try:
        if probe.startswith("pulse://"):
            return await asyncio.wait_for(beats(urlsplit(probe).netloc), TIMEOUT_S)
        if probe.startswith("tcp://"):
            parts = urlsplit(probe)
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(parts.hostname, parts.port), TIMEOUT_S
            )
            writer.close()
            await writer.wait_closed()
            return True
        reply = await client.get(probe, timeout=TIMEOUT_S)
    except (OSError, httpx.HTTPError, httpx.InvalidURL):
        return False
    return reply.status_code < 500


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
