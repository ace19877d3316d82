"""What the overlay shows, and the text block's template."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from allsky360.config_overlay import OverlaySettings as OverlayOptions
from allsky360.errors import AllskyError

__all__ = ["ABSENT", "OverlayError", "OverlayOptions", "fill_template"]

ABSENT = "–"


class OverlayError(AllskyError):
    """A picture or template nothing can be drawn with."""


class _Fields(string.Formatter):
    """Plain names only, so that a template reaches no attribute of anything."""

    def __init__(self) -> None:
        self.seen = self.filled = 0

    def get_field(
        self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Any, str]:
        """Look a field up by its plain name."""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", field_name):
            raise ValueError(f"{{{field_name}}} is no field name")
        self.seen += 1
        value = kwargs.get(field_name)
        self.filled += value is not None
        return value, field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        """Format a value; a missing one is a dash whatever its format."""
        if value is None:
            return ABSENT
        if re.search(r"\d{3}", format_spec):
            raise ValueError(f"the format {format_spec!r} is too wide")
        return format(value, format_spec)


def fill_template(template: str, fields: Mapping[str, Any]) -> list[str]:
    """Return the lines of a text block.

    ``{name}`` or ``{name:format}`` takes a field (Python's format language; for times that of
    strftime). A field that has no value shows as a dash; a line none of whose fields has one is
    left out.

    Raises
    ------
    OverlayError
        For a template Python cannot read, or a format that does not fit its value.
    """
    lines = []
    for number, line in enumerate(template.splitlines(), 1):
        formatter = _Fields()
        try:
            text = formatter.vformat(line, (), fields)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise OverlayError(
                f"line {number} of the overlay text, {line!r}: {error}.",
                mend="Write {name} or {name:format}; double a brace to show it.",
            ) from error
        if formatter.seen == 0 or formatter.filled:
            lines.append(text)
    return lines
