"""What every table of the settings file is built on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the settings file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class LinearFilter(Section):
    """A filter that runs before the stretch."""


class DisplayFilter(Section):
    """A filter that runs after the stretch."""
