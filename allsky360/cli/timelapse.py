"""``allsky360 timelapse``: a video from the archive, or from a folder of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allsky360.config_video import Codec, Deflicker, Mode, PixelFormat, Preset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allsky360.config import Settings
    from allsky360.config_video import TimelapseSettings, VideoSettings
    from allsky360.products.source import NightFrames
    from allsky360.products.video.shot import Shot


@dataclass(frozen=True)
class _Source:
    """What the video is made of."""

    shots: Sequence[Shot]
    width: int
    height: int
    left_out: Sequence[tuple[str, str]]
    name: str


def timelapse(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of pictures; left out: the archive.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; default NAME.mp4 here.")
    ] = None,
    camera: Annotated[str, typer.Option(help="Camera; the only one when left out.")] = "",
    night: Annotated[str, typer.Option(help="YYYY-MM-DD; the newest when left out.")] = "",
    begin: Annotated[
        str, typer.Option("--from", help="UTC: 22:30, or a date with time; the night's start.")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="UTC, included; the night's end.")] = "",
    whole: Annotated[
        bool, typer.Option("--day", help="With the frames taken while the Sun is up.")
    ] = False,
    every: Annotated[int, typer.Option(min=1, help="Take every N-th picture.")] = 1,
    mode: Annotated[Mode | None, typer.Option(help="What is shown.")] = None,
    window: Annotated[
        int | None, typer.Option(min=2, max=31, help="Pictures that mean, max, … look at.")
    ] = None,
    deflicker: Annotated[Deflicker | None, typer.Option(help="Evens brightness out.")] = None,
    overlay: Annotated[
        bool | None, typer.Option("--overlay/--no-overlay", help="Draw names and figures.")
    ] = None,
    codec: Annotated[Codec | None, typer.Option()] = None,
    software: Annotated[
        bool, typer.Option("--software", help="Not the GPU's encoder, even if there is one.")
    ] = False,
    preset: Annotated[Preset | None, typer.Option(help="Slower gives smaller files.")] = None,
    quality: Annotated[
        int | None, typer.Option(min=0, max=63, help="CRF; lower is better.")
    ] = None,
    bitrate: Annotated[
        int | None, typer.Option(min=50, help="Kilobits a second, instead of a quality.")
    ] = None,
    fps: Annotated[float | None, typer.Option(min=1, max=120, help="Frames a second.")] = None,
    size: Annotated[int | None, typer.Option(min=0, help="Longest side; 0: as it is.")] = None,
    pixel_format: Annotated[PixelFormat | None, typer.Option(help="Of the video.")] = None,
) -> None:
    """Make a time-lapse; what is not given follows the settings' table products.

    Stopped at any moment, the same command goes on where it was.
    """
    from allsky360.config import load_settings
    from allsky360.products.video.looks import look_for
    from allsky360.products.video.make import make_video
    from allsky360.products.video.plan import plan_video

    settings = load_settings()
    video = _changed(
        settings.products.video,
        codec=codec,
        encoder="software" if software else None,
        preset=preset,
        quality=quality,
        bitrate_kbps=bitrate,
        fps=fps,
        size_px=size,
        pixel_format=pixel_format,
    )
    how = _changed(
        settings.products.timelapse,
        mode=mode,
        window=window,
        deflicker=deflicker,
        overlay=overlay,
        sun_below_deg=90.0 if whole else None,
    )
    if folder is not None:
        if camera or night or begin or end:
            raise typer.BadParameter("--camera, --night, --from and --to choose from the archive")
        source = _folder(folder, how, every)
    else:
        source = _night(settings, how, camera, night, begin, end, every)
    path = out if out is not None else Path(f"{source.name}.mp4")
    workers, threads = _share(video)
    plan = plan_video(video, source.width, source.height, encoder_threads=threads)
    with _Bar(len(source.shots)) as bar:
        made = make_video(
            source.shots,
            plan,
            lambda: look_for(how.mode, how.window),
            path,
            workers=workers,
            progress=bar.update,
        )
    for name, reason in [*source.left_out, *made.left_out]:
        typer.echo(f"left out: {name}: {reason}", err=True)
    reused = f", {made.reused} of them from the run before" if made.reused else ""
    typer.echo(
        f"{path}: {made.frames} frames{reused}, {made.duration_s:.1f} s, "
        f"{plan.width} x {plan.height}, {plan.encoder}, {path.stat().st_size / 1e6:.1f} MB, "
        f"made in {made.seconds:.1f} s"
    )


def _changed(section: Any, **given: Any) -> Any:
    """Return a settings table with what was given on the command line, checked as a whole."""
    values = section.model_dump() | {k: v for k, v in given.items() if v is not None}
    return type(section).model_validate(values)


def _share(video: VideoSettings) -> tuple[int, int]:
    """Return how many pieces are encoded at once, and with how many threads each."""
    from allsky360.arrays.bands import threads
    from allsky360.products.video.plan import choose_encoder

    cores = threads()
    if choose_encoder(video.codec, video.encoder, video.pixel_format).endswith("_nvenc"):
        return min(3, cores), 1  # the cards' drivers open few sessions; decoding takes the cores
    workers = min(4, cores)
    return workers, max(1, cores // workers)


def _folder(folder: Path, how: TimelapseSettings, every: int) -> _Source:
    from allsky360.products.video import deflicker
    from allsky360.products.video.folder import find_pictures
    from allsky360.products.video.night import Steady, steadied
    from allsky360.products.video.shot import Shot

    found = find_pictures(folder, every=every)
    shots = [Shot(path, str(path)) for path in found.paths]
    measure = {"picture": deflicker.file_level, "exposure": deflicker.exif_level}.get(how.deflicker)
    levels = [measure(path) for path in found.paths] if measure is not None else []
    if how.overlay:
        typer.echo("no overlay: the lens of a folder's pictures is not known", err=True)
    return _Source(
        steadied(shots, levels, Steady(how.deflicker, how.deflicker_frames)),
        found.width,
        found.height,
        [(str(p), r) for p, r in found.left_out],
        folder.resolve().name or "timelapse",
    )


def _night(
    settings: Settings,
    how: TimelapseSettings,
    camera: str,
    night: str,
    begin: str,
    end: str,
    every: int,
) -> _Source:
    from PIL import Image

    from allsky360.products.video.night import Steady, night_shots, parse_instant
    from allsky360.products.video.plan import VideoError

    frames = _frames(settings, camera, night)
    first = parse_instant(begin, frames.night, frames.site) if begin else None
    last = parse_instant(end, frames.night, frames.site) if end else None
    chosen = night_shots(
        frames,
        first=first,
        last=last,
        sun_below_deg=how.sun_below_deg,
        every=every,
        steady=Steady(how.deflicker, how.deflicker_frames, settings.camera.gain_unit_db),
        overlay=settings.overlay if how.overlay else None,
    )
    if not chosen.shots:
        why = f"; {len(chosen.left_out)} cannot be shown" if chosen.left_out else ""
        raise VideoError(
            f"no frame of {frames.camera}, {frames.night.isoformat()} is chosen of "
            f"{chosen.passed_over + len(chosen.left_out)}{why}.",
            mend="Take another --from and --to, or --day for frames with the Sun up.",
        )
    with Image.open(chosen.shots[0].path) as picture:
        width, height = picture.size
    if how.overlay and all(s.labels is None for s in chosen.shots):
        typer.echo("no overlay: lens or site are not known", err=True)
    name = f"timelapse-{frames.camera}-{frames.night.isoformat()}"
    return _Source(chosen.shots, width, height, chosen.left_out, name)


def _frames(settings: Settings, camera: str, night: str) -> NightFrames:
    from allsky360.archive import Archive
    from allsky360.archive.empty import nothing_archived
    from allsky360.archive.layout import parse_night
    from allsky360.products.source import NightFrames
    from allsky360.products.video.plan import VideoError

    archive = Archive(settings.storage.root)
    cameras = [archive.slug(camera)] if camera else archive.cameras()
    if not cameras:
        raise nothing_archived(settings.storage.root)
    if len(cameras) != 1:
        known = ", ".join(cameras)
        raise VideoError(
            f"the archive {settings.storage.root} has {len(cameras)} cameras: {known}.",
            mend="Name one with --camera, or name a folder of pictures.",
        )
    nights = archive.nights(cameras[0])
    wanted = parse_night(night) if night else (nights[-1] if nights else None)
    if wanted is None or wanted not in nights:
        raise VideoError(
            f"the archive has no night {night or 'of ' + cameras[0]}.",
            mend=f"Nights of {cameras[0]}: {', '.join(n.isoformat() for n in nights[-8:]) or '-'}.",
        )
    version = NightFrames.current(settings.storage.root, cameras[0], wanted)
    return NightFrames(settings.storage.root, cameras[0], wanted, version)


class _Bar:
    """A progress bar on the terminal; nothing where there is none."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("encoding"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, done: int, wanted: int) -> None:
        self._progress.update(self._task, completed=done)
