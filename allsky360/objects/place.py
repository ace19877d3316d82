"""Opening the object store of the settings."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from allsky360.config_objects import ObjectsSettings
from allsky360.errors import AllskyError


class ObjectsError(AllskyError):
    """The object store cannot be used."""


def open_place(settings: ObjectsSettings) -> Any:
    """Return the store (of obstore), with the URL's folder as its root.

    Raises
    ------
    ObjectsError
        No URL is set, or it is none that can be used.
    """
    if not settings.url:
        raise ObjectsError("objects.url is not set.", mend="Write s3://bucket/folder there.")
    return _open(settings.url, settings.endpoint, settings.region)


@lru_cache(maxsize=4)
def _open(url: str, endpoint: str, region: str) -> Any:
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
            f"objects.url = {url!r} cannot be opened: {first_line(error)}.",
            mend="Write s3://bucket/folder, and keys into AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY.",
        ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's words: obstore adds its innards below."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
