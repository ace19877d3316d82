"""Settings as the service may show them."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

HIDDEN = "***"
_SECRET = re.compile(r"token|secret|password|passphrase|credential|api_?key|access_?key", re.I)


def without_secrets(tree: Any, name: str = "") -> Any:
    """Return a settings tree with ``***`` for every value whose name or form is a secret's.

    Addresses keep everything but their user and password.
    """
    if isinstance(tree, dict):
        return {key: without_secrets(value, str(key)) for key, value in tree.items()}
    if _SECRET.search(name) and tree not in (None, "", [], False):
        return HIDDEN
    if isinstance(tree, list | tuple):
        return [without_secrets(value) for value in tree]
    return _without_login(tree) if isinstance(tree, str) and "://" in tree else tree


def _without_login(address: str) -> str:
    try:
        parts = urlsplit(address)
        if parts.username is None and parts.password is None and not parts.query:
            return address
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, f"{HIDDEN}@{host}", parts.path, "", ""))
    except ValueError:
        return HIDDEN
