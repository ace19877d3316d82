"""The read service: the ``[api]`` table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from allsky360.config_section import Section

Scope = Literal["read", "raw", "system"]
TOKEN_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,62}):(?P<scopes>(?:read|raw|system)(?:,(?:read|raw|system))*)"
    r":(?P<hash>[0-9a-f]{64})"
)


class ApiSettings(Section):
    """The read service and its pages."""

    host: str = Field("127.0.0.1", description="Address it binds to; loopback unless changed.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8360, description="Port it binds to.")
    tokens: tuple[str, ...] = Field(
        (),
        max_length=1000,
        description="Who may read from elsewhere: lines of 'allsky360 api-token' (hashes).",
    )
    token_file: Path | None = Field(
        None, description="File with more such lines; # begins a remark."
    )
    require_token: bool = Field(
        False, description="Ask programs on this machine for a token, too (behind a proxy)."
    )
    public: tuple[Literal["read", "raw"], ...] = Field(
        (),
        description="What anybody may read without a token: 'read' is pictures and numbers, "
        "'raw' is FITS files. The site is then rounded.",
    )
    public_location_deg: float = Field(
        0.1, ge=0.01, le=10, description="Step the site is rounded to for those without a token."
    )
    cors_origins: tuple[str, ...] = Field(
        (),
        max_length=50,
        description="Origins whose pages may read from here, as https://sky.example.org; * is all.",
    )
    rate_per_s: float = Field(
        30.0, ge=0, le=100_000, description="Requests a second from one address elsewhere; 0: any."
    )
    rate_burst: int = Field(
        300, ge=1, le=1_000_000, description="Requests an address may make at once."
    )
    max_connections: int = Field(
        2000, ge=10, le=100_000, description="Open connections above which new ones are refused."
    )

    @field_validator("tokens")
    @classmethod
    def _readable(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        for number, line in enumerate(lines, 1):
            if TOKEN_LINE.fullmatch(line) is None:
                raise ValueError(
                    f"number {number} is no line of 'allsky360 api-token' (name:scopes:hash)"
                )
        return lines

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", origin) is None:
                raise ValueError(f"{origin!r} is no origin; write https://host, without a path")
        return origins
