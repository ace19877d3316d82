"""Have everything compiled that is compiled on first use, before the first frame waits for it.

numba keeps its machine code beside the source, so this is done once an installation: simulated
frames go through processing as those of a camera do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from allsky360.archive import Archive, FrameRef, RawWriter
from allsky360.config import Settings
from allsky360.lenses import lens_folder
from allsky360.model import Bracket, Site
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest, as_exposure
from allsky360.sky.lens_file import LensFile, write_lens

SITE = Site("warm-up", 28.76, -17.88, 2326.0)
CAMERA = "warm-up"
NIGHT, NOON = datetime(2026, 11, 14, tzinfo=UTC), datetime(2026, 11, 13, 13, tzinfo=UTC)
BY_DAY = (
    *("neutralise", "gradient", "dehaze", "median", "multiscale_median"),
    *("acdnr(amount_luminance=0.75)", "scnr", "fuse", "local_histogram", "clarity"),
    *("sharpen", "saturation", "gamma"),
)
"""Every filter but those that move the picture; the profile "clear" has the stretch of nights."""


def warm_up() -> None:
    """Compile the loops of processing, measuring and lens solving for this machine."""
    _pictures()
    _sky()


def _pictures() -> None:
    from allsky360.processing import process_archived_frame

    for profile in ("day", "clear"):
        with _camera({"profile": profile, "profiles": {"day": BY_DAY}}) as camera:
            process_archived_frame(*camera.shoot(NOON, (5e-5, 5e-6)), camera.settings)


def _sky() -> None:
    from allsky360.processing.stages import begin_frame, measure_begun
    from allsky360.sky.solve import solve_lens
    from allsky360.sky.stars import find_stars
    from allsky360.star_residuals import green_plane

    with _camera({}) as camera:
        for k in range(2):  # what moved is seen from the second frame on
            root, ref = camera.shoot(NIGHT + timedelta(seconds=20 * k), (10.0, 1.0))
            measure_begun(begin_frame(root, ref, camera.settings), None, camera.settings)
        long = Archive(root).longest_exposure(ref)
        height, width = long.pixels.shape
        solve_lens(find_stars(green_plane(long)), SITE, long.start, width, height)


@dataclass(frozen=True)
class _Camera:
    """A simulated camera whose lens is known, and its archive."""

    settings: Settings
    source: SkySource
    writer: RawWriter

    def shoot(self, when: datetime, exposures_s: tuple[float, ...]) -> tuple[Path, FrameRef]:
        asked = [ExposureRequest(when, exposure_s) for exposure_s in exposures_s]
        taken = tuple(as_exposure(self.source.expose(each), each, CAMERA) for each in asked)
        return self.settings.storage.root, self.writer.append(Bracket(taken), {})


@contextmanager
def _camera(processing: dict[str, object]) -> Iterator[_Camera]:
    with TemporaryDirectory(prefix="allsky360-warm-up-") as folder:
        root = Path(folder)
        settings = Settings.model_validate(
            {
                "storage": {"root": root, "min_free_gb": 0},
                "simulator": {"width": 1200, "height": 900},
                "site": {
                    "latitude_deg": SITE.latitude_deg,
                    "longitude_deg": SITE.longitude_deg,
                    "elevation_m": SITE.elevation_m,
                },
                "processing": processing,
            }
        )
        source = SkySource.from_settings(settings, SITE)
        lens = LensFile(source.lens, CAMERA, 1, NIGHT, SITE, (NIGHT,))
        lens_folder(root, CAMERA).mkdir(parents=True)
        write_lens(lens_folder(root, CAMERA) / "0001.json", lens)
        with closing(RawWriter(root, CAMERA, SITE)) as writer:
            yield _Camera(settings, source, writer)
