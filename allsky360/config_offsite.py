"""A safe copy of the archive somewhere else: the ``[offsite]`` table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from allsky360.config_section import Section

OffsiteKind = Literal["raw", "linear", "pictures", "products", "versions"]


class OffsiteSettings(Section):
    """A verified copy of the archive elsewhere; retention removes nothing it does not hold yet."""

    url: str = Field(
        "",
        description="s3://bucket/folder; empty: no copy. file:///folder is another disk. "
        "Keys come from AWS_* variables.",
    )
    endpoint: str = Field(
        "", description="Address of a storage that is not Amazon's, such as http://host:9000."
    )
    region: str = Field("us-east-1", description="Of the bucket.")
    kinds: tuple[OffsiteKind, ...] = Field(
        ("raw", "linear", "pictures", "products"),
        description="What is copied beside measurements and records. A kind that is left out is "
        "not copied, and leaves the archive by retention as if there were no copy.",
    )
    max_mbit_s: float = Field(
        0.0, ge=0, le=100_000, description="Megabits a second that copying may use; 0: all."
    )
    at_once: int = Field(4, ge=1, le=64, description="Files copied at the same time.")
    alarm_after_h: float = Field(
        36.0, gt=0, le=8760, description="Hours without a whole copy before the alarm."
    )
