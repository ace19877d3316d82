"""The chain in order: calibrate, repair, merge, debayer, survey, tone, picture."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, Backend, namespace, to_host
from allsky360.imaging import (
    black_level,
    calibrate,
    debayer,
    hdr,
    hot_pixels,
    noise,
    scene,
    stretch,
    white_balance,
)
from allsky360.imaging import (
    tone as tones,
)
from allsky360.imaging.calibrate import Calibrated, MasterMismatch, Masters
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.tone import Tone
from allsky360.model import Bracket, Exposure


@dataclass(frozen=True)
class Step:
    """One step that was done: what, which version, with which parameters, how long."""

    name: str
    version: int
    parameters: dict[str, Any]
    seconds: float


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
        ``(H, W, 3)`` uint8 sRGB, display branch.
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


@dataclass
class _Log:
    steps: list[Step] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, version: int, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Time a step; the block may add to its parameters."""
        begin = time.perf_counter()
        yield parameters
        self.steps.append(Step(name, version, parameters, round(time.perf_counter() - begin, 4)))


def develop(
    bracket: Bracket,
    parameters: ChainParameters,
    *,
    masters: Masters | None = None,
    backend: Backend = "numpy",
    tone: Tone | None = None,
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
    """
    log = _Log()
    exposures = bracket.exposures
    reference = max(exposures, key=lambda e: e.exposure_s)
    mosaic = reference.pattern is not None

    light, full = _calibrate(exposures, parameters, masters, backend, log)
    egain = reference.egain if not calibrate.is_display_referred(reference) else None
    with log.step("noise", noise.VERSION) as note:
        model = noise.estimate_noise(light, full, egain=egain, mosaic=mosaic)
        note.update(asdict(model))
    repaired = 0
    if reference.pixels.ndim == 2:
        sigmas = parameters.hot_pixel_sigma
        with log.step("hot-pixels", hot_pixels.VERSION, sigmas=sigmas) as note:
            for k, frame in enumerate(light):
                light[k], count = hot_pixels.repair_hot_pixels(frame, sigmas=sigmas, noise=model)
                repaired += count
            note["repaired"] = repaired
    times = [e.exposure_s for e in exposures]
    with log.step("hdr-merge", hdr.VERSION, exposures_s=times, knee=list(hdr.KNEE)):
        disagreement = hdr.ratio_error(light, times, full)
        merged = hdr.merge(light, times, full, model)
    full_well = full[times.index(max(times))]
    del light

    linear, clipped = merged.radiance, merged.clipped
    xp = namespace(linear)
    if reference.pattern is not None:
        level = float(np.median(to_host(linear[::9, ::9])))
        method = parameters.debayer
        with log.step("debayer", debayer.VERSION, method=method, pattern=reference.pattern):
            linear = debayer.debayer(
                linear,
                reference.pattern,
                method=method,
                noise=model.sigma(level * full_well) / full_well,
                clip=hdr.KNEE[1] * merged.full_scale,
            )
    elif linear.ndim == 2:
        linear = linear[..., None]
    else:
        clipped = xp.max(clipped, axis=-1)
    return _picture(linear, clipped, merged.full_scale, reference, parameters, model, full_well,
                    tone, {"repaired_pixels": float(repaired), "ratio_error": disagreement},
                    len(exposures), log)  # fmt: skip


def _calibrate(
    exposures: tuple[Exposure, ...],
    parameters: ChainParameters,
    masters: Masters | None,
    backend: Backend,
    log: _Log,
) -> tuple[list[Array], list[float]]:
    """Calibrate every exposure; masters that do not fit are refused and said."""
    light, full = [], []
    with log.step("calibrate", calibrate.VERSION, used=[]) as note:
        for exposure in exposures:

            def run(frames: Masters | None, e: Exposure = exposure) -> Calibrated:
                return calibrate.calibrate(
                    e,
                    black_level_adu=parameters.black_level_adu,
                    saturation_adu=parameters.saturation_adu,
                    masters=frames,
                    backend=backend,
                )

            try:
                result = run(masters)
            except MasterMismatch as error:
                log.warnings.append(f"{error.message} The black level was subtracted instead.")
                result = run(None)
            light.append(result.light)
            full.append(result.full_adu)
            note["used"].append(list(result.used))
    stated = parameters.black_level_adu > 0 or (masters is not None and bool(masters.frames))
    first = exposures[0]
    if stated or first.pixels.ndim != 2:
        return light, full
    with log.step("black-level", black_level.VERSION) as note:
        times = [e.exposure_s for e in exposures]
        level, note["source"] = black_level.estimate_black(light, times, min(full))
        note["level_adu"] = round(level, 3)
        light = [frame - level for frame in light] if level else light
        full = [f - level for f in full]
    return light, full


def _picture(
    linear: Array,
    clipped: Array,
    full_scale: float,
    reference: Exposure,
    parameters: ChainParameters,
    model: noise.NoiseModel,
    full_well: float,
    previous: Tone | None,
    numbers: dict[str, float],
    count: int,
    log: _Log,
) -> Developed:
    """Display branch and statistics of a linear frame ``(H, W, C)``."""
    with log.step("survey", scene.VERSION) as note:
        view = scene.survey(linear)
        note["sky_fraction"] = round(float(view.sky.mean()), 4)
    level = sum(view.background) / len(view.background)
    sigma = model.sigma(level * full_well) / full_well
    with log.step("tone", tones.VERSION, time_s=parameters.tone_time_s) as note:
        measured, offset = tones.measure_tone(
            view,
            reference,
            parameters,
            noise=sigma,
            full_scale=full_scale,
            display_referred=calibrate.is_display_referred(reference),
        )
        smooth = tones.smooth_tone(measured, previous, parameters.tone_time_s)
        display = tones.display_of(smooth, reference, offset, parameters)
        note.update(asdict(display))
    with log.step(
        "picture",
        stretch.VERSION,
        saturation=parameters.saturation,
        white_balance=parameters.white_balance,
        white_balance_version=white_balance.VERSION,
    ):
        picture = stretch.to_picture(
            linear, clipped, display, noise=sigma, saturation=parameters.saturation
        )
    with log.step("statistics", 1):
        xp = namespace(linear)
        saturated = float(xp.mean(xp.astype(clipped > 127, xp.float32)))
        colours = view.background if len(view.background) == 3 else view.background * 3
        statistics = numbers | {
            "background_red": colours[0],
            "background_green": colours[1],
            "background_blue": colours[2],
            "background_noise": sigma,
            "read_noise_adu": float(np.sqrt(model.read_var)),
            "egain": 1.0 / model.shot,
            "sky_fraction": float(view.sky.mean()),
            "border_level": float(np.mean(view.border)) if view.border else float("nan"),
            "saturated_fraction": saturated,
            "white_balance_red": display.gains[0],
            "white_balance_blue": display.gains[-1],
            "daylight": display.daylight,
            "exposures": float(count),
            "exposure_s": reference.exposure_s,
        }
        host = to_host(linear)
        bands = host if host.shape[2] == 3 else np.broadcast_to(host, (*host.shape[:2], 3))
        pixels = to_host(picture)
        statistics["picture_mean"] = float(pixels[::8, ::8].mean())
    return Developed(bands, pixels, statistics, tuple(log.steps), smooth, tuple(log.warnings))
