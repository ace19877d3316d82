"""Tokens: made at random, kept as hashes, compared in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from allsky360.config_api import TOKEN_LINE, ApiSettings, Scope
from allsky360.errors import AllskyError

PREFIX = "a360_"
MAX_FILE_BYTES = 256 * 1024


class TokenFileError(AllskyError):
    """The token file cannot be used."""


@dataclass(frozen=True)
class Grant:
    """One token's name, what it may read, and its SHA-256."""

    name: str
    scopes: frozenset[Scope]
    digest: str


def new_token(name: str, scopes: Iterable[Scope]) -> tuple[str, str]:
    """Make a token of 256 random bits; return it and the line that admits it.

    A fast hash is enough for what cannot be guessed.

    Raises
    ------
    TokenFileError
        The name cannot be written in such a line.
    """
    token = PREFIX + secrets.token_urlsafe(32)
    line = f"{name}:{','.join(dict.fromkeys(scopes))}:{digest_of(token)}"
    if TOKEN_LINE.fullmatch(line) is None:
        raise TokenFileError(
            f"{name!r} cannot name a token.", mend="Take letters, digits, dots, - and _."
        )
    return token, line


def digest_of(token: str) -> str:
    """SHA-256 of a token, as lines carry it."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def grants_of(settings: ApiSettings) -> tuple[Grant, ...]:
    """Read every line of the settings and of the token file.

    Raises
    ------
    TokenFileError
        The file cannot be read, or a line of it is none.
    """
    lines = list(settings.tokens)
    if settings.token_file is not None:
        lines += _file_lines(settings.token_file)
    return tuple(_grant(line) for line in lines)


def _file_lines(path: Path) -> list[str]:
    try:
        text = path.read_bytes()[:MAX_FILE_BYTES].decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise TokenFileError(
            f"cannot read api.token_file {path}: {why}.", mend="Mend it, or leave the key out."
        ) from error
    found = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        if TOKEN_LINE.fullmatch(line) is None:
            raise TokenFileError(
                f"line {number} of {path} is no line of 'allsky360 api-token'.",
                mend="Write name:scopes:hash as that command prints it.",
            )
        found.append(line)
    return found


def _grant(line: str) -> Grant:
    match = TOKEN_LINE.fullmatch(line)
    assert match is not None
    scopes: frozenset[Scope] = frozenset(match["scopes"].split(","))  # type: ignore[arg-type]
    return Grant(match["name"], scopes, match["hash"])


def find_grant(grants: Iterable[Grant], token: str) -> Grant | None:
    """Return the grant of a token; every one is compared, in constant time."""
    digest = digest_of(token)
    found = None
    for grant in grants:
        if hmac.compare_digest(grant.digest, digest):
            found = grant
    return found


def token_from(authorization: str | None) -> str | None:
    """Return the token of an Authorization header: Bearer, or the password of Basic.

    Basic is what lets a browser ask for it and send it with pictures and event streams.
    """
    kind, _, rest = (authorization or "").strip().partition(" ")
    rest = rest.strip()
    if kind.lower() == "bearer" and rest:
        return rest
    if kind.lower() == "basic":
        try:
            plain = base64.b64decode(rest, validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            return None
        return plain.partition(":")[2] or None
    return None
