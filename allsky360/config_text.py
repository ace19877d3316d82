"""Settings as text: the commented default file, and errors a person can act on."""

from __future__ import annotations

import difflib
import json
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

Key = tuple[str, ...]


def walk_fields(model: type[BaseModel], prefix: Key = ()) -> Iterator[tuple[Key, FieldInfo]]:
    """Yield every leaf key of a settings tree with its field; a table's own keys come first."""
    tables = []
    for name, field in model.model_fields.items():
        child = field.annotation
        if isinstance(child, type) and issubclass(child, BaseModel):
            tables.append((name, child))
        else:
            yield (*prefix, name), field
    for name, child in tables:
        yield from walk_fields(child, (*prefix, name))


def allowed(field: FieldInfo) -> str:
    """Say in words which values a field takes, e.g. ``number from -90 to 90``."""
    low = high = ""
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Ge):
            low = f"from {rule.ge}"
        elif isinstance(rule, annotated_types.Gt):
            low = f"above {rule.gt}"
        elif isinstance(rule, annotated_types.Le):
            high = f"to {rule.le}"
        elif isinstance(rule, annotated_types.Lt):
            high = f"below {rule.lt}"
    return " ".join(filter(None, (_type_words(field.annotation), low, high)))


def _type_words(kind: Any) -> str:
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(json.dumps(a) for a in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_words(a) for a in arguments if a is not type(None))
    if origin is Annotated:
        return _type_words(arguments[0])
    if origin is tuple:
        if typing.get_origin(arguments[0]) is Literal:
            return "list of " + ", ".join(json.dumps(a) for a in typing.get_args(arguments[0]))
        count = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"list of {count}{_type_words(arguments[0])}s"
    names = {float: "number", int: "whole number", bool: "true or false", str: "text", Path: "path"}
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def toml_value(value: Any) -> str:
    """Write one plain value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Path):
        return json.dumps(str(value))
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def default_text(model: type[BaseModel], instance: BaseModel) -> str:
    """Write the commented settings file; every key stands there with meaning, range and default.

    Keys whose default is "not set" are commented out.
    """
    lines = [
        "# allsky360 settings. Check with: allsky360 config check",
        "# Environment wins over this file: ALLSKY360_SITE__LATITUDE_DEG=48.1",
    ]
    last: Key = ()
    for key, field in walk_fields(model):
        table = key[:-1]
        if table != last:
            lines += ["", f"# {_doc(model, table)}", f"[{'.'.join(table)}]"]
            last = table
        value: Any = instance
        for part in key:
            value = getattr(value, part)
        lines.append(f"# {field.description} ({allowed(field)})")
        lines.append(f"# {key[-1]} =" if value is None else f"{key[-1]} = {toml_value(value)}")
    return "\n".join(lines) + "\n"


def _doc(model: type[BaseModel], table: Key) -> str:
    kind = model
    for part in table:
        child = kind.model_fields[part].annotation
        assert isinstance(child, type)
        assert issubclass(child, BaseModel)
        kind = child
    doc = (kind.__doc__ or "").strip().splitlines()[0]
    return f"{doc}" if len(table) < 2 else f"{doc} ({table[-1]})"


def explain_errors(
    model: type[BaseModel],
    error: ValidationError,
    data: Mapping[str, Any],
    file: Path | None,
    env_prefix: str,
) -> list[str]:
    """Turn a pydantic error into one line an error: where, key, value, what is allowed."""
    fields = dict(walk_fields(model))
    lines = []
    for item in error.errors():
        key = tuple(str(part) for part in item["loc"])
        in_file = _holds(data, key)
        where = (
            str(file)
            if in_file and file is not None
            else (f"environment {env_prefix}{'__'.join(key).upper()}")
        )
        line = f"{where}: {'.'.join(key)}"
        if item["type"] == "extra_forbidden":
            line += " is not a setting." + nearest(key, fields)
        elif item["type"] == "model_type":
            line += f" is a table, not {item['input']!r}: write [{'.'.join(key)}]."
        else:
            shown = f" = {item['input']!r}" if not isinstance(item["input"], dict) else ""
            reason = item["msg"].removeprefix("Value error, ")
            field = fields.get(_leaf(key, fields))
            limits = f" Allowed: {allowed(field)}." if field is not None else ""
            line += f"{shown}: {reason}.{limits}"
        lines.append(line)
    return lines


def explain_stray_environment(
    model: type[BaseModel], environment: Mapping[str, str], prefix: str, known: Collection[str]
) -> list[str]:
    """Name every variable that looks like a setting but has no such table."""
    tables = {name.upper() for name in model.model_fields}
    lines = []
    for variable in sorted(environment):
        if not variable.startswith(prefix) or variable in known:
            continue
        key = tuple(variable[len(prefix) :].lower().split("__"))
        if key[0].upper() not in tables:
            hint = nearest(key, dict(walk_fields(model)))
            lines.append(f"environment {variable}: {'.'.join(key)} is not a setting.{hint}")
    return lines


def nearest(key: Key, fields: Mapping[Key, FieldInfo]) -> str:
    """Return " Did you mean 'a.b'?" for the nearest valid key, or an empty string."""
    names = {".".join(k) for k in fields} | {".".join(k[:-1]) for k in fields}
    wanted = ".".join(key)
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.6)
    if not close:  # the right name in the wrong table
        close = [n for n in sorted(names) if re.fullmatch(rf".*\.{re.escape(key[-1])}", n)][:1]
    return f" Did you mean '{close[0]}'?" if close else ""


def _holds(data: Mapping[str, Any], key: Key) -> bool:
    node: Any = data
    for part in key:
        if isinstance(node, Mapping) and part in node:
            node = node[part]
        else:
            return node is not data and not isinstance(node, Mapping)
    return True


def _leaf(key: Key, fields: Mapping[Key, FieldInfo]) -> Key:
    """Drop list indices and union tags from the end of an error's location."""
    while key and key not in fields:
        key = key[:-1]
    return key
