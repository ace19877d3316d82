"""``allsky360 panorama``: a picture unwrapped, as a little planet, or through a window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from allsky360.products.panorama_map import View
    from allsky360.sky.lens import LensModel


def panorama(
    picture: Annotated[
        str, typer.Argument(help="Picture file, or a frame of the archive: 2026-11-22/000123.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="JPEG to write.")],
    lens: Annotated[
        Path | None, typer.Option(help="Lens file; a frame of the archive has its own.")
    ] = None,
    camera: Annotated[str, typer.Option(help="Camera of the frame.")] = "",
    view: Annotated[
        Literal["equirectangular", "cylindrical", "little-planet", "window"],
        typer.Option(help="Which projection."),
    ] = "equirectangular",
    width: Annotated[int, typer.Option(min=0, max=16384, help="0: what the lens resolves.")] = 0,
    height: Annotated[int, typer.Option(min=0, max=16384, help="0: follows from the view.")] = 0,
    azimuth: Annotated[
        float, typer.Option(help="In the middle; of a little planet: at the top.")
    ] = 180.0,
    altitude: Annotated[float, typer.Option(help="In the middle of a window.")] = 30.0,
    top: Annotated[float, typer.Option(help="Altitude at the upper edge of a strip.")] = 90.0,
    bottom: Annotated[float, typer.Option(help="Altitude at the lower edge of a strip.")] = -5.0,
    field: Annotated[
        float, typer.Option(help="Degrees across a window (90) or a little planet (280).")
    ] = 0.0,
    roll: Annotated[float, typer.Option(help="Turn of a window, clockwise.")] = 0.0,
    ticks: Annotated[bool, typer.Option(help="Draw azimuths at the horizon.")] = True,
    quality: Annotated[int, typer.Option(min=10, max=100, help="JPEG quality.")] = 92,
) -> None:
    """Show an all-sky picture as a 360 degree panorama, a little planet, or a window."""
    from allsky360.archive.durable import write_atomic
    from allsky360.products.panorama import jpeg_of_view
    from allsky360.products.panorama_map import View, panorama_size

    pixels, model, when = _picture(picture, lens, camera)
    if view in ("equirectangular", "cylindrical"):
        upper = min(top, 80.0) if view == "cylindrical" else top
        w, h = panorama_size(model, top_deg=upper, bottom_deg=bottom)
        h = round(h * (width or w) / w)
        shown = View(view, width or w, height or h, azimuth, top_deg=upper, bottom_deg=bottom)
    else:
        side = width or 1600
        tall = height or (side if view == "little-planet" else round(side * 2 / 3))
        across = field or (280.0 if view == "little-planet" else 90.0)
        shown = View(view, side, tall, azimuth, altitude, field_deg=across, roll_deg=roll)
    write_atomic(
        out,
        jpeg_of_view(pixels, model, shown, ticks=ticks, quality=quality, when=when),
        sync=False,
    )
    typer.echo(f"{out}  {_words(shown)}")


def _words(view: View) -> str:
    return f"{view.projection}, {view.width} x {view.height} pixels"


def _picture(
    name: str, lens: Path | None, camera: str
) -> tuple[NDArray[np.uint8], LensModel, datetime | None]:
    from allsky360.archive import FrameRef
    from allsky360.cli.products import chosen_night
    from allsky360.config import load_settings
    from allsky360.errors import AllskyError
    from allsky360.overlay.fit import fitted
    from allsky360.products.source import NightFrames
    from allsky360.sky.lens_file import read_lens

    path = Path(name)
    if path.is_file():
        if lens is None:
            raise AllskyError("a picture's lens is not known.", mend="Give its file with --lens.")
        from allsky360.camera.files import read_exposures
        from allsky360.products.pictures import eight_bit

        exposure = next(iter(read_exposures(path)), None)
        if exposure is None:
            raise AllskyError(f"{path} holds no image.", mend="Give a JPEG, PNG or TIFF picture.")
        pixels = eight_bit(exposure)
        return pixels, fitted(read_lens(lens).lens, *pixels.shape[1::-1]), exposure.start
    root = load_settings().storage.root
    archive, slug, _ = chosen_night(root, camera, "")
    try:
        ref = FrameRef.parse(slug, name)
    except ValueError as error:
        raise AllskyError(
            f"{name} is no file, and no frame of the archive.", mend="Write 2026-11-22/000123."
        ) from error
    record = archive.frame(ref)
    if not record.processed:
        raise AllskyError(
            f"frame {ref.id} of {slug} is not processed.", mend="Wait for it, or take another."
        )
    frame = NightFrames(root, slug, ref.night, record.version).load(record)
    model = frame.lens
    if lens is not None:
        model = fitted(read_lens(lens).lens, *frame.picture.shape[1::-1])
    if model is None:
        raise AllskyError(
            f"there is no lens for frame {ref.id} of {slug}.",
            mend="Solve it with 'allsky360 sky calibrate', or give --lens.",
        )
    return frame.picture, model, frame.middle
