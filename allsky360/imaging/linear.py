"""From raw exposures to one linear frame: calibrate, repair, merge, debayer, survey."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from allsky360.arrays import Array, Backend, namespace, to_host
from allsky360.errors import AllskyError
from allsky360.imaging import (
    black_level,
    calibrate,
    debayer,
    hdr,
    hot_pixels,
    noise,
    rows,
    scene,
)
from allsky360.imaging import flat as flats
from allsky360.imaging.calibrate import Calibrated, MasterMismatch, Masters
from allsky360.imaging.noise import NoiseModel
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.scene import Scene
from allsky360.imaging.steps import StepLog
from allsky360.model import Bracket, Exposure

SMALLEST_MOSAIC = 4
"""Side from which on a mosaic can be debayered."""


@dataclass(frozen=True, eq=False)
class LinearFrame:
    """The merged bracket: what is measured, and what the picture is made of.

    Attributes
    ----------
    image
        ``(H, W, C)`` float32 on the device, C 3 or 1: 1.0 = full well of the longest exposure,
        camera colours, negatives kept, may exceed 1.
    clipped
        ``(H, W)`` uint8 on the device; 255 where even the shortest exposure is saturated.
    full_scale
        Value at which the shortest exposure saturates.
    full_well_adu
        Full well of the longest exposure above black, ADU: what 1.0 stands for.
    noise
        Noise model of the longest exposure, ADU.
    reference
        The longest exposure.
    scene
        A reduced copy on the host, and its sky.
    numbers
        Found on the way: repaired pixels, disagreement of exposure ratios.
    exposures
        How many were merged.
    """

    image: Array
    clipped: Array
    full_scale: float
    full_well_adu: float
    noise: NoiseModel
    reference: Exposure
    scene: Scene
    numbers: dict[str, float]
    exposures: int

    @property
    def sky_level(self) -> float:
        """Mean of the channels of the sky background."""
        return sum(self.scene.background) / len(self.scene.background)

    @property
    def sky_noise(self) -> float:
        """Standard deviation of one pixel of the sky."""
        return self.noise.sigma(self.sky_level * self.full_well_adu) / self.full_well_adu


def linearise(
    bracket: Bracket,
    parameters: ChainParameters,
    log: StepLog,
    *,
    masters: Masters | None = None,
    backend: Backend = "numpy",
) -> LinearFrame:
    """Merge a bracket into one linear frame; see :func:`allsky360.imaging.pipeline.develop`."""
    exposures = bracket.exposures
    _check(exposures)
    reference = max(exposures, key=lambda e: e.exposure_s)
    mosaic = reference.pattern is not None

    light, full, repaired = _calibrate(exposures, parameters, masters, backend, log)
    if parameters.banding != "keep" and reference.pixels.ndim == 2:
        with log.step("banding", rows.VERSION, remove=parameters.banding):
            both = parameters.banding == "rows and columns"
            light = [rows.remove_pattern(f, columns=both, mosaic=mosaic) for f in light]
    egain = reference.egain if not calibrate.is_display_referred(reference) else None
    with log.step("noise", noise.VERSION) as note:
        model = noise.estimate_noise(light, full, egain=egain, mosaic=mosaic)
        note.update(asdict(model))
    if reference.pixels.ndim == 2:
        sigmas = parameters.hot_pixel_sigma
        with log.step("hot-pixels", hot_pixels.VERSION, sigmas=sigmas) as note:
            for k, frame in enumerate(light):
                light[k], count = hot_pixels.repair_hot_pixels(
                    frame, sigmas=sigmas, noise=model, in_place=True
                )
                repaired += count
            note["repaired"] = repaired
    times = [e.exposure_s for e in exposures]
    with log.step("hdr-merge", hdr.VERSION, exposures_s=times, knee=list(hdr.KNEE)):
        disagreement = hdr.ratio_error(light, times, full)
        merged = hdr.merge(light, times, full, model)
    full_well = full[times.index(max(times))]
    del light

    linear, clipped = merged.radiance, merged.clipped
    flat = _flat_for(reference, masters, log)
    if flat is not None:
        with log.step("flat", flats.VERSION, used=flat.name):
            linear = flats.divide(linear, flats.on_device(flat, linear))
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
                balance=(parameters.red, 1.0, parameters.blue),
            )
    elif linear.ndim == 2:
        linear = linear[..., None]
    else:
        clipped = xp.max(clipped, axis=-1)
    with log.step("survey", scene.VERSION) as note:
        view = scene.survey(linear)
        note["sky_fraction"] = round(float(view.sky.mean()), 4)
    return LinearFrame(
        linear,
        clipped,
        merged.full_scale,
        full_well,
        model,
        reference,
        view,
        {
            "repaired_pixels": float(repaired),
            "ratio_error": disagreement,
            "moved_fraction": merged.moved,
        },
        len(exposures),
    )


def _check(exposures: tuple[Exposure, ...]) -> None:
    """Refuse what cannot be merged or debayered."""
    if len(exposures) > 1 and min(e.exposure_s for e in exposures) <= 0:
        raise AllskyError(
            "A bracket holds an exposure without an exposure time: it cannot be merged.",
            mend="Process its files one by one, or write EXPTIME into their headers.",
        )
    h, w = exposures[0].pixels.shape[:2]
    least = 1 if exposures[0].pattern is None else SMALLEST_MOSAIC
    if min(h, w) < least:
        raise AllskyError(
            f"A frame of {w}x{h} is too small: a mosaic has {least}x{least} pixels or more.",
            mend="Choose a larger region of interest.",
        )


def _calibrate(
    exposures: tuple[Exposure, ...],
    parameters: ChainParameters,
    masters: Masters | None,
    backend: Backend,
    log: StepLog,
) -> tuple[list[Array], list[float], int]:
    """Calibrate every exposure; masters that do not fit are refused and said."""

    def run(exposure: Exposure, frames: Masters | None) -> Calibrated:
        return calibrate.calibrate(
            exposure,
            black_level_adu=parameters.black_level_adu,
            saturation_adu=parameters.saturation_adu,
            masters=frames,
            backend=backend,
        )

    known = parameters.black_level_adu > 0
    done, refused = [], False
    with log.step("calibrate", calibrate.VERSION) as note:
        for exposure in exposures:
            try:
                done.append(run(exposure, masters))
            except MasterMismatch as error:
                refused = True
                log.warnings.append(f"{error.message} The black level was subtracted instead.")
                done.append(run(exposure, None))
        if refused and not known:
            # With its pedestal one exposure could not be merged with another that has lost it.
            done = [run(exposure, None) for exposure in exposures]
        repaired = sum(result.repaired for result in done)
        note |= {"used": [list(result.used) for result in done], "repaired": repaired}
    log.warnings.extend(dict.fromkeys(n for result in done for n in result.notes))
    light, full = [result.light for result in done], [result.full_adu for result in done]
    dark = masters is not None and any(m.kind != "flat" for m in masters.frames)
    if known or (dark and not refused) or exposures[0].pixels.ndim != 2:
        return light, full, repaired
    with log.step("black-level", black_level.VERSION) as note:
        times = [e.exposure_s for e in exposures]
        level, note["source"] = black_level.estimate_black(light, times, min(full))
        note["level_adu"] = round(level, 3)
        for frame in light if level else ():
            frame -= level  # ours alone: calibrate made it
        full = [f - level for f in full]
    return light, full, repaired


def _flat_for(exposure: Exposure, masters: Masters | None, log: StepLog) -> flats.Flat | None:
    """Find the flat; one that does not fit is refused and said."""
    try:
        return flats.flat_for(exposure, masters)
    except MasterMismatch as error:
        log.warnings.append(f"{error.message} The frame was not flattened.")
        return None
