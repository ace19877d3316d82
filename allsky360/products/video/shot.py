"""One picture on its way into a video."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.config_overlay import OverlaySettings
from allsky360.model import Site
from allsky360.overlay import burn_in, layout
from allsky360.overlay.fit import fitted
from allsky360.sky.lens import LensModel


@dataclass(frozen=True)
class Labels:
    """What is drawn over a shot.

    Attributes
    ----------
    lens
        Of the picture at its stored size.
    site, when
        Where and when (UTC, middle of the exposure).
    options
        ``[overlay]``.
    fields
        Of the text block.
    """

    lens: LensModel
    site: Site
    when: datetime
    options: OverlaySettings
    fields: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """What the labels depend on, as text."""
        parts = [
            self.lens.as_dict(),
            [self.site.name, self.site.latitude_deg, self.site.longitude_deg],
            self.when.isoformat(),
            self.options.model_dump(mode="json"),
            dict(self.fields),
        ]
        return json.dumps(parts, sort_keys=True, default=str)

    def draw(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``(H, W, 3)`` uint8 RGB, the whole stored picture at any size, with labels."""
        height, width = picture.shape[:2]
        lens = fitted(self.lens, width, height)
        return burn_in(picture, layout(lens, self.site, self.when, self.options, self.fields))


@dataclass(frozen=True)
class Shot:
    """A picture of a video.

    Attributes
    ----------
    path
        The file.
    name
        For people.
    gain
        Factor on all sRGB codes, against flicker.
    labels
        None draws nothing.
    lens
        Of the picture at its stored size, where the look needs it.
    """

    path: Path
    name: str
    gain: float = 1.0
    labels: Labels | None = field(default=None)
    lens: LensModel | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What the shot's pixels depend on; a file is known by its size and time."""
        try:
            status = self.path.stat()
            stamp = (status.st_size, status.st_mtime_ns)
        except OSError:
            stamp = (-1, -1)
        labels = self.labels.key if self.labels is not None else ""
        lens = self.lens.as_dict() if self.lens is not None else None
        return (str(self.path), *stamp, f"{self.gain:.5f}", labels, lens)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; site and options of the labels are the night's."""
        labels = self.labels
        return {
            "path": str(self.path),
            "name": self.name,
            "gain": self.gain,
            "lens": self.lens.as_dict() if self.lens is not None else None,
            "labels": None
            if labels is None
            else {
                "lens": labels.lens.as_dict(),
                "when": labels.when.isoformat(),
                "fields": dict(labels.fields),
            },
        }

    @classmethod
    def from_json(cls, content: Any, site: Site | None, options: OverlaySettings) -> Shot:
        """Read a shot back; KeyError, TypeError or ValueError where it is none."""
        given = content["labels"]
        labels = None
        if given is not None and site is not None:
            labels = Labels(
                LensModel(**given["lens"]),
                site,
                datetime.fromisoformat(given["when"]),
                options,
                given["fields"],
            )
        lens = content["lens"]
        return cls(
            Path(content["path"]),
            str(content["name"]),
            float(content["gain"]),
            labels,
            None if lens is None else LensModel(**lens),
        )
