"""What a product has to be able to do so that it can grow through a night.

:mod:`allsky360.products.grow` calls, always from one thread::

    open(context, saved) → add, add, … save, add, … save, finish → …

A grower keeps no account of frames and no file that says how far it came: that is done for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from allsky360.archive.products import ProductFile
from allsky360.config import Settings
from allsky360.model import Site
from allsky360.products.frame import ProductFrame


@dataclass(frozen=True)
class NightContext:
    """Which night grows, and where things belong.

    Attributes
    ----------
    root, camera, night, version
        Of the archive; ``camera`` is a slug.
    site
        Where the camera stands, None when unknown.
    settings
        The whole tree.
    folder
        Where finished files go: the version's products.
    """

    root: Path
    camera: str
    night: date
    version: str
    site: Site | None
    settings: Settings
    folder: Path


@dataclass(frozen=True)
class Draft:
    """A product whose files lie in the products' folder, before it is announced.

    Attributes
    ----------
    kind, name, title, files, parameters
        As in :class:`allsky360.archive.products.ProductRecord`.
    provenance
        What the grower knows beside code version and settings (which are added): the lens.
    """

    kind: str
    name: str
    title: str
    files: tuple[ProductFile, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


class Grower(Protocol):
    """A product, or several that share their work, growing frame by frame.

    Attributes
    ----------
    name
        Slug, unique among growers; names its state.
    takes_late
        Whether :meth:`add` takes frames in any order and gives the same result: then a frame that
        was passed over is added when it comes after all.
    parameters
        What it is made with, plain JSON values; a state made with others is not gone on with.

    A grower whose files cost much to write may have a ``shown_from`` above 1: see
    :func:`shown_from`.
    """

    @property
    def name(self) -> str:
        """Name the state."""
        ...

    @property
    def takes_late(self) -> bool:
        """Whether order does not matter."""
        ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What it is made with."""
        ...

    def open(self, context: NightContext, work: Path, saved: Path | None) -> None:
        """Begin empty, or go on from what :meth:`save` wrote into ``saved``.

        ``work`` is a folder of the grower's own that stays from run to run, for files that grow
        (video segments). What a crash left in it after the last :meth:`save` has to be ignored or
        removed here: what counts is what ``saved`` names.
        """
        ...

    def add(self, frame: ProductFrame) -> str | None:
        """Take a frame; return None, or why it is left out (``the Moon is up``).

        May raise; the frame is then left out with the error as its reason, and the state must be
        as it was before.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the state into an empty folder; it counts once this returned and was synced."""
        ...

    def finish(self, *, complete: bool) -> Sequence[Draft]:
        """Write files into ``context.folder``, atomically or under new names, and describe them.

        Called also while the night still grows (``complete`` False); the grower goes on after it.
        May be called with no frame used; then there is usually nothing to describe.
        """
        ...


def shown_from(grower: Grower) -> float:
    """Return by which factor a product's frames must have grown to be shown again; 1: any frame.

    A video is written as a whole each time. With 1.25 all that a night writes of it is five times
    its end, whatever the number of times its growth is looked at.
    """
    return float(getattr(grower, "shown_from", 1.0))
