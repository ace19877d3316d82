"""The chain in order: linear frame, picture, numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Backend, namespace, to_host
from allsky360.imaging.calibrate import Masters
from allsky360.imaging.display import Picture, SkyHints, Watcher, render_picture
from allsky360.imaging.linear import LinearFrame, linearise
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.steps import Step, StepLog
from allsky360.imaging.tone import Tone
from allsky360.model import Bracket


@dataclass(frozen=True, eq=False)
class Developed:
    """What a bracket becomes.

    Attributes
    ----------
    linear
        ``(H, W, 3)`` float32, measurement branch: 1.0 = full well of the longest exposure, camera
        colours, negatives kept, may exceed 1. Read-only where the sensor is mono (three equal
        bands share one plane).
    picture
        ``(H, W, 3)`` uint8 sRGB, display branch; geometry steps may have changed its size.
    statistics
        Plain numbers about the frame.
    steps
        Provenance, in order.
    tone
        To be handed to the next frame's :func:`develop`.
    warnings
        What did not go as configured, one sentence each.
    """

    linear: NDArray[np.float32]
    picture: NDArray[np.uint8]
    statistics: dict[str, float]
    steps: tuple[Step, ...]
    tone: Tone
    warnings: tuple[str, ...] = ()


def develop(
    bracket: Bracket,
    parameters: ChainParameters,
    *,
    masters: Masters | None = None,
    backend: Backend = "numpy",
    tone: Tone | None = None,
    hints: SkyHints | None = None,
    watch: Watcher | None = None,
) -> Developed:
    """Develop one bracket into a linear frame and a picture.

    Parameters
    ----------
    bracket
        1 to 5 exposures; mosaic, mono or RGB.
    parameters
        Of the chain.
    masters
        Master frames to subtract; where none fits, the black level is used and a warning says so.
    backend
        "cupy" runs the same steps on the GPU: raw goes up once, results come back once.
    tone
        The previous frame's ``Developed.tone``, for pictures that do not flicker.
    hints
        What is known about Moon and clouds; chooses the profile.
    watch
        Sees the picture after each of its steps.
    """
    log = StepLog()
    frame = linearise(bracket, parameters, log, masters=masters, backend=backend)
    picture = render_picture(frame, parameters, log, tone=tone, hints=hints, watch=watch)
    return finish(frame, picture, log)


def finish(frame: LinearFrame, picture: Picture, log: StepLog) -> Developed:
    """Bring the results to the host, with their numbers."""
    with log.step("statistics", 2):
        statistics = statistics_of(frame) | picture.numbers
        host = to_host(frame.image)
        bands = host if host.shape[2] == 3 else np.broadcast_to(host, (*host.shape[:2], 3))
        pixels = to_host(picture.pixels)
        statistics["picture_mean"] = float(pixels[::8, ::8].mean())
    return Developed(bands, pixels, statistics, tuple(log.steps), picture.tone, tuple(log.warnings))


def statistics_of(frame: LinearFrame) -> dict[str, float]:
    """Plain numbers about a linear frame."""
    xp = namespace(frame.image)
    view = frame.scene
    colours = view.background if len(view.background) == 3 else view.background * 3
    return frame.numbers | {
        "background_red": colours[0],
        "background_green": colours[1],
        "background_blue": colours[2],
        "background_noise": frame.sky_noise,
        "read_noise_adu": float(np.sqrt(frame.noise.read_var)),
        "egain": 1.0 / frame.noise.shot,
        "sky_fraction": float(view.sky.mean()),
        "border_level": float(np.mean(view.border)) if view.border else float("nan"),
        "saturated_fraction": float(xp.mean(xp.astype(frame.clipped > 127, xp.float32))),
        "exposures": float(frame.exposures),
        "exposure_s": frame.reference.exposure_s,
    }
