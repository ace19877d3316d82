"""The list of products; a new one is a line here and a table in the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from allsky360.config_products import ProductsSettings
from allsky360.errors import AllskyError
from allsky360.products.grower import Grower


def _keogram(settings: ProductsSettings) -> Grower | None:
    from allsky360.products.keogram import Keogram

    return Keogram(settings.keogram) if settings.keogram.enabled else None


def _startrails(settings: ProductsSettings) -> Grower | None:
    from allsky360.products.startrails import StarTrails

    return StarTrails(settings.startrails) if settings.startrails.enabled else None


def _comet(settings: ProductsSettings) -> Grower | None:
    from allsky360.products.startrails import CometTrails

    s = settings.startrails
    return CometTrails(s) if s.enabled and s.fade > 0 else None


def _stack(settings: ProductsSettings) -> Grower | None:
    from allsky360.products.stack import Stack

    return Stack(settings.stack) if settings.stack.enabled else None


def _panorama(settings: ProductsSettings) -> Grower | None:
    from allsky360.products.panorama import Panorama

    return Panorama(settings.panorama) if settings.panorama.enabled else None


def _timelapse(settings: ProductsSettings) -> Grower | None:
    from allsky360.products.timelapse import Timelapse

    s = settings.timelapse
    return Timelapse(s, settings.video) if s.enabled else None


def _startrails_video(settings: ProductsSettings) -> Grower | None:
    from allsky360.products.startrails_video import StarTrailsVideo

    s = settings.startrails_video
    return StarTrailsVideo(s, settings.startrails, settings.video) if s.enabled else None


def _panorama_video(settings: ProductsSettings) -> Grower | None:
    from allsky360.products.panorama_video import PanoramaVideo

    s = settings.panorama_video
    return PanoramaVideo(s, settings.panorama, settings.video) if s.enabled else None


MAKERS: dict[str, Callable[[ProductsSettings], Grower | None]] = {
    "keogram": _keogram,
    "startrails": _startrails,
    "startrails-comet": _comet,
    "stack": _stack,
    "panorama": _panorama,
    "timelapse": _timelapse,
    "startrails-video": _startrails_video,
    "panorama-video": _panorama_video,
}
"""By name: makes the grower, or returns None where the settings switch it off."""


class NoSuchProduct(AllskyError):
    """A product nobody makes."""


def growers_for(settings: ProductsSettings, only: Iterable[str] = ()) -> list[Grower]:
    """Return the growers that are switched on, or those of ``only`` that are.

    Raises
    ------
    NoSuchProduct
        ``only`` has an unknown name, or one that is switched off.
    """
    wanted = list(only)
    for name in wanted:
        if name not in MAKERS:
            raise NoSuchProduct(
                f"There is no product {name!r}.", mend=f"Take of {', '.join(sorted(MAKERS))}."
            )
    growers = []
    for name in wanted or MAKERS:
        grower = MAKERS[name](settings)
        if grower is not None:
            growers.append(grower)
        elif wanted:
            raise NoSuchProduct(
                f"The product {name!r} is switched off.",
                mend=f"Set products.{name.replace('-', '_')}.enabled.",
            )
    return growers
