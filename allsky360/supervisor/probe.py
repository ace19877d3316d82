"""Ask a part whether it lives, and a port who holds it."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import urlsplit

import httpx
import psutil

TIMEOUT_S = 5.0


async def answers(probe: str, client: httpx.AsyncClient) -> bool:
    """Return whether a ``tcp://`` or ``http://`` probe is answered."""
    if not probe:
        return True
    try:
        if probe.startswith("tcp://"):
            parts = urlsplit(probe)
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(parts.hostname, parts.port), TIMEOUT_S
            )
            writer.close()
            await writer.wait_closed()
            return True
        reply = await client.get(probe, timeout=TIMEOUT_S)
    except (OSError, TimeoutError, httpx.HTTPError):
        return False
    return reply.status_code < 500


def port_holder(host: str, port: int) -> str | None:
    """Say who listens on a TCP port; None when it is free."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError as error:
            return _holder_name(port) or (error.strerror or "another program")
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
