"""From a raw frame to its stars: what solving starts from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from allsky360.arrays import Backend
from allsky360.config import Settings
from allsky360.imaging.calibrate import Masters
from allsky360.imaging.linear import linearise
from allsky360.imaging.parameters import ChainParameters, parameters_from
from allsky360.imaging.steps import StepLog
from allsky360.model import Bracket
from allsky360.processing.chain import backend_for, masters_for
from allsky360.sky.plane import measurement_plane
from allsky360.sky.stars import StarList, find_stars


@dataclass(frozen=True, eq=False)
class Seen:
    """The stars of one frame.

    Attributes
    ----------
    name
        The frame, for people.
    stars
        As :func:`allsky360.sky.stars.find_stars` lists them.
    middle
        UTC middle of the exposure.
    width, height
        Of the frame.
    """

    name: str
    stars: StarList
    middle: datetime
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


@dataclass(frozen=True)
class Finder:
    """Finds the stars of raw frames as the settings calibrate them."""

    parameters: ChainParameters
    masters: Masters | None
    backend: Backend

    @classmethod
    def of(cls, settings: Settings, root: Path | None = None) -> Finder:
        """Read the masters and the parameters once; ``root`` is the archive of the frames."""
        return cls(parameters_from(settings), masters_for(settings, root), backend_for(settings))

    def seen(self, bracket: Bracket, name: str) -> Seen:
        """Return the stars of a bracket; their time is the middle of its longest exposure."""
        frame = linearise(
            bracket, self.parameters, StepLog(), masters=self.masters, backend=self.backend
        )
        electrons = frame.full_well_adu / max(frame.noise.shot, 1e-9)
        stars = find_stars(
            measurement_plane(frame.image), clipped=frame.clipped, electrons_per_unit=electrons
        )
        height, width = frame.image.shape[:2]
        reference = frame.reference
        middle = reference.start + timedelta(seconds=0.5 * reference.exposure_s)
        return Seen(name, stars, middle, width, height)
