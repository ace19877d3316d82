"""Addresses: where this machine reaches a server that binds to a host of the settings."""

from __future__ import annotations

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def reachable(host: str) -> str:
    """Return the address of a server bound to ``host``: loopback where it binds to all."""
    return _ANY.get(host, host)


def netloc(host: str, port: int) -> str:
    """Return ``host:port`` as a URL writes it, for a server bound to ``host``."""
    host = reachable(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
