"""Settings of the picture filters: one small table each, named and documented like its keywords.

A field here has the name and the default of a keyword of the filter of the same name in
``allsky360/imaging/filters/``; a test holds the two together.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from allsky360.config_section import Section


class ScnrSettings(Section):
    """Removal of excess green."""

    amount: float = Field(0.8, ge=0, le=1, description="Share of the excess green taken away.")
    protection: Literal["average", "maximum"] = Field(
        "average", description="Green may be as large as the mean, or the larger, of red and blue."
    )
    keep_luminance: bool = Field(True, description="Keep brightness where green was taken away.")
