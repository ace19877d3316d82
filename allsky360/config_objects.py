"""A copy of the archive on S3-compatible storage: the ``[objects]`` table."""

from __future__ import annotations

from pydantic import Field

from allsky360.config_section import Section


class ObjectsSettings(Section):
    """A copy of the archive on S3-compatible storage; keys come from AWS_* variables."""

    url: str = Field(
        "", description="s3://bucket/folder; empty: no copy. file:///folder is another disk."
    )
    endpoint: str = Field(
        "", description="Address of a storage that is not Amazon's, such as http://host:9000."
    )
    region: str = Field("us-east-1", description="Of the bucket.")
    push: bool = Field(True, description="Copy every night when its products are made.")
