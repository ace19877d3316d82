"""Addresses: binding to a host of the settings, and reaching what is bound there."""

from __future__ import annotations

import errno
import ipaddress
import socket

from allsky360.errors import AllskyError

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class CannotListen(AllskyError):
    """An address is taken or not ours."""


def reachable(host: str) -> str:
    """Return the address of a server bound to ``host``: loopback where it binds to all."""
    return _ANY.get(host, host)


def is_loopback(host: str) -> bool:
    """Whether a server bound to ``host`` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def netloc(host: str, port: int) -> str:
    """Return ``host:port`` as a URL writes it, for a server bound to ``host``."""
    host = reachable(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listening_socket(host: str, port: int, table: str, *, key: str = "port") -> socket.socket:
    """Bind an address now, so that a taken port is one clear error.

    Parameters
    ----------
    host, port
        Where to listen.
    table, key
        Settings that say so, named in the error: ``api``, ``port``.

    Raises
    ------
    CannotListen
        Naming the address and the setting to change.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise cannot_listen(error, host, port, table, key=key) from error
    listener.set_inheritable(False)
    return listener


def cannot_listen(
    error: OSError, host: str, port: int, table: str, *, key: str = "port"
) -> CannotListen:
    """Explain why an address could not be bound."""
    if error.errno == errno.EADDRINUSE:
        return CannotListen(
            f"{table}.{key}: {host}:{port} is in use by another program.",
            mend=f"Stop that program or set another {table}.{key}.",
        )
    return CannotListen(
        f"{table}: cannot listen on {host}:{port}: {error.strerror or error}.",
        mend=f"Set {table}.host to an address of this computer, and {table}.{key} to a free port.",
    )
