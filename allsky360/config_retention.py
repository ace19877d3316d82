"""The settings of retention: what leaves the archive, and when."""

from __future__ import annotations

from pydantic import Field, model_validator

from allsky360.config_section import Section

_NEVER = " 0: never."


class RetentionSettings(Section):
    """What leaves the archive, and when; measurements never do, favourite nights keep all."""

    low_free_percent: float = Field(
        5.0,
        ge=0,
        le=90,
        description="Free disk space under which the oldest nights give way; 0: never.",
    )
    high_free_percent: float = Field(
        10.0, ge=0, le=95, description="Free disk space at which that ends."
    )
    raw_days: int = Field(
        0, ge=0, le=36500, description="Age at which a night's raw images go." + _NEVER
    )
    linear_days: int = Field(
        0, ge=0, le=36500, description="Age at which its reduced linear images go." + _NEVER
    )
    pictures_days: int = Field(
        0, ge=0, le=36500, description="Age at which its pictures go." + _NEVER
    )
    products_days: int = Field(
        0, ge=0, le=36500, description="Age at which its time-lapse, keogram and so on go." + _NEVER
    )
    versions_days: int = Field(
        30,
        ge=0,
        le=36500,
        description="Age at which what a reprocessing replaced goes, counted from the switch."
        + _NEVER,
    )
    keep_nights: int = Field(
        2, ge=1, le=36500, description="The newest nights of each camera, which are never touched."
    )

    @model_validator(mode="after")
    def _ordered(self) -> RetentionSettings:
        if self.high_free_percent < self.low_free_percent:
            raise ValueError("high_free_percent must not be below low_free_percent")
        return self
