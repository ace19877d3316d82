"""The settings of logs: the ``[logging]`` table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from allsky360.config_section import Section


class LoggingSettings(Section):
    """What the logs of all parts look like."""

    format: Literal["text", "json"] = Field(
        "text",
        description="text: lines for people; json: an object a line with time (UTC), level, part,"
        " logger, message, exception.",
    )
