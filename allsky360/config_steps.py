"""Steps of a picture profile as text: ``clarity`` or ``clarity(amount=0.4, radius_px=30)``."""

from __future__ import annotations

import ast
import difflib
import re
from typing import Any

from pydantic import BaseModel, ValidationError

from allsky360.config_section import DisplayFilter

TO_DISPLAY = ("stretch", "fuse")
"""Steps that make display values of linear light; a profile has one of them."""

_STEP = re.compile(r"^\s*([a-z_]+)\s*(?:\((.*)\))?\s*$", re.DOTALL)


def parse_step(text: str) -> tuple[str, dict[str, Any]]:
    """Return name and own keywords of one step.

    Raises
    ------
    ValueError
        It is not of the form above; the values are plain Python or TOML literals.
    """
    found = _STEP.match(text)
    if found is None:
        raise ValueError(f"{text!r} is not a step such as 'clarity' or 'clarity(amount=0.4)'")
    name, inside = found.group(1), found.group(2) or ""
    plain = re.sub(r"\btrue\b", "True", re.sub(r"\bfalse\b", "False", inside))
    try:
        call = ast.parse(f"f({plain})", mode="eval").body
        # "a(b=1)(c=2)" and "a(b=1)+(2)" are calls too, or hold one.
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise ValueError
        if call.args or any(k.arg is None for k in call.keywords):
            raise ValueError
        return name, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{text!r}: write its keywords as name=value, name=value") from error


def resolve_steps(
    steps: tuple[str, ...], filters: BaseModel
) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return each step's name and all its keywords: the filter's own table, then the step's.

    Raises
    ------
    ValueError
        Naming the step, what is wrong with it, and the nearest name.
    """
    resolved = []
    for text in steps:
        name, own = parse_step(text)
        table = getattr(filters, name, None) if name in type(filters).model_fields else None
        if not isinstance(table, BaseModel):
            close = difflib.get_close_matches(name, type(filters).model_fields, n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{name!r} is not a filter.{hint}")
        try:
            whole = type(table).model_validate(table.model_dump() | own)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{text!r}: {where}: {first['msg']}") from error
        resolved.append((name, whole.model_dump()))
    return tuple(resolved)


def check_steps(profile: str, steps: tuple[str, ...], filters: BaseModel) -> None:
    """Refuse a profile whose steps cannot be resolved, or that has not one stretch or fuse.

    Raises
    ------
    ValueError
        Naming the profile, the step, and the mend.
    """
    try:
        names = [name for name, _ in resolve_steps(steps, filters)]
    except ValueError as error:
        raise ValueError(f"profiles.{profile}: {error}") from error
    makers = [name for name in names if name in TO_DISPLAY]
    if len(makers) != 1:
        raise ValueError(
            f"profiles.{profile}: 'stretch' must stand in it exactly once, or 'fuse' in its place;"
            " they make display values of linear light"
        )
    maker = makers[0]
    for number, name in enumerate(names):
        linear = not isinstance(getattr(filters, name), DisplayFilter)
        if name != maker and linear != (number < names.index(maker)):
            place = "before" if linear else "after"
            raise ValueError(f"profiles.{profile}: '{name}' must stand {place} '{maker}'")


GEOMETRY = ("crop", "flip", "rotate")


def check_geometry(profiles: dict[str, tuple[str, ...]], filters: BaseModel) -> None:
    """Refuse profiles that crop or turn the picture differently.

    Raises
    ------
    ValueError
        Pictures of one night would differ in size, and could not be mixed where one profile hands
        over to the next.
    """
    kept = {
        name: [s for s in resolve_steps(steps, filters) if s[0] in GEOMETRY]
        for name, steps in profiles.items()
    }
    first = next(iter(kept))
    for name, steps in kept.items():
        if steps != kept[first]:
            raise ValueError(
                f"profiles.{name} and profiles.{first} do not crop, flip and rotate alike; write"
                " the same such steps in every profile"
            )
