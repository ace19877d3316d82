"""Settings changed for one purpose: ``processing.profile=clear`` on top of the settings file."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from allsky360.config import Settings
from allsky360.errors import SettingsError

ALLOWED = ("processing", "overlay", "safety", "transients", "camera")
"""Tables whose keys may be changed: what decides how a frame comes out."""


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` texts; a value is written as in TOML, quotes may be left away.

    Raises
    ------
    SettingsError
        For a text without ``=``.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"{text!r} is not key=value.", mend="Write processing.debayer=…")
        try:
            found[key.strip()] = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            found[key.strip()] = value.strip()
    return found


def with_overrides(settings: Settings, overrides: Mapping[str, Any]) -> Settings:
    """Return the settings with some keys changed, validated as if they stood in the file.

    Raises
    ------
    SettingsError
        Naming the key that is not there, must not be changed, or has a wrong value.
    """
    for key, value in overrides.items():
        table, *path = key.split(".")
        if table not in ALLOWED or not path:
            raise SettingsError(
                f"{key!r} cannot be changed here.",
                mend=f"Keys of {', '.join(f'[{a}]' for a in ALLOWED)} can.",
            )
        section: BaseModel = getattr(settings, table)
        data = section.model_dump()
        place = data
        for depth, name in enumerate(path):
            if not isinstance(place, dict) or name not in place:
                names = list(place) if isinstance(place, dict) else []
                near = difflib.get_close_matches(name, names, 1) or names[:1]
                known = ".".join([table, *path[:depth]])
                raise SettingsError(
                    f"there is no setting {key!r}.",
                    mend=f"[{known}] has {near[0]!r}." if near else f"{known} is a value.",
                )
            if depth == len(path) - 1:
                place[name] = value
            else:
                place = place[name]
        try:
            changed = type(section).model_validate(data)
        except ValidationError as error:
            raise SettingsError(f"{key} = {value!r}: {error.errors()[0]['msg']}.") from error
        settings = settings.model_copy(update={table: changed})
    return settings
