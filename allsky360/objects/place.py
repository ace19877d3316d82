"""Opening the object store of the settings."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

from allsky360.config_objects import ObjectsSettings
from allsky360.config_offsite import OffsiteSettings
from allsky360.errors import AllskyError


class ObjectsError(AllskyError):
    """The object store cannot be used."""


Place: TypeAlias = ObjectsSettings | OffsiteSettings


def table_of(settings: Place) -> str:
    """Return the table of the settings that names a store."""
    return "offsite" if isinstance(settings, OffsiteSettings) else "objects"


def open_place(settings: Place) -> Any:
    """Return the store (of obstore), with the URL's folder as its root.

    Raises
    ------
    ObjectsError
        No URL is set, or it is none that can be used.
    """
    table = table_of(settings)
    if not settings.url:
        raise ObjectsError(f"{table}.url is not set.", mend="Write s3://bucket/folder there.")
    return _open(settings.url, settings.endpoint, settings.region, table)


@lru_cache(maxsize=4)
def _open(url: str, endpoint: str, region: str, table: str) -> Any:
    from obstore.store import from_url

    options: dict[str, Any] = {}
    if url.startswith("s3"):
        options = {"region": region, "virtual_hosted_style_request": False}
        if endpoint:
            options["endpoint"] = endpoint
            options["client_options"] = {"allow_http": endpoint.startswith("http://")}
    elif url.startswith("file:"):
        options = {"mkdir": True}
    try:
        return from_url(url, **options)
    except Exception as error:  # obstore's errors have no common base but Exception
        raise ObjectsError(
            f"{table}.url = {url!r} cannot be opened: {first_line(error)}.",
            mend="Write s3://bucket/folder, and keys into AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY.",
        ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's words: obstore adds its innards below."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
