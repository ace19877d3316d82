"""Two versions of a night side by side: one page with pictures and numbers, nothing but files."""

from __future__ import annotations

import html
import os
from datetime import date
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.archive import Archive, FrameRef
from allsky360.archive.durable import write_atomic
from allsky360.archive.layout import night_folder
from allsky360.archive.versions import read_record, versions
from allsky360.errors import AllskyError

SHOWN_PX = 640
"""Height of a picture on the page."""

NUMBERS = (
    ("stars_found", "stars found", "{:.0f}"),
    ("zero_point_mag", "zero point, mag", "{:.3f}"),
    ("sky_brightness_mag_arcsec2", "zenith, mag/arcsec²", "{:.2f}"),
    ("cloud_fraction", "cloudy share", "{:.2f}"),
    ("fwhm_px", "FWHM, px", "{:.2f}"),
    ("picture_mean", "mean of the picture", "{:.1f}"),
)

STYLE = """
body{background:#0b0e14;color:#cdd3de;font:15px/1.5 system-ui,sans-serif;margin:2rem}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:2rem}a{color:#8ab4f8}
.pair{max-width:56rem}.both{position:relative}.pair img{display:block;width:100%}
.pair .over{position:absolute;inset:0;clip-path:inset(0 0 0 var(--at,50%))}
.pair input{width:100%;margin:.5rem 0 0}.names{display:flex;justify-content:space-between}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.15rem .9rem .15rem 0;text-align:left}
td+td,th+th{text-align:right}.how td{text-align:left}.sub{color:#8b93a3}
"""

SCRIPT = """
for (const input of document.querySelectorAll('.pair input'))
  input.addEventListener('input', () =>
    input.closest('.pair').style.setProperty('--at', input.value + '%'));
"""


def write_comparison(
    root: Path, camera: str, night: date, old: str, new: str, out: Path, frames: int = 6
) -> Path:
    """Write ``index.html`` with evenly spread frames of both versions into a folder.

    Parameters
    ----------
    root, camera, night
        Which night.
    old, new
        The versions.
    out
        Folder of the page; created when missing.
    frames
        How many frames are shown.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    AllskyError
        A version is not there, or they have no frame in common.
    """
    folder = night_folder(root, camera, night)
    for version in (old, new):
        if version not in versions(folder):
            raise AllskyError(
                f"{camera} {night} has no version {version!r}.",
                mend=f"There is: {', '.join(versions(folder)) or 'none'}.",
            )
    archives = (Archive(root, old), Archive(root, new))
    lacking = [{r.index for r in a.unprocessed(camera, night)} for a in archives]
    common = [
        i for i in range(archives[0].count(camera, night)) if not any(i in s for s in lacking)
    ]
    if not common:
        raise AllskyError(f"{old} and {new} of {camera} {night} have no frame in common.")
    spread = np.linspace(0, len(common) - 1, min(frames, len(common)))
    chosen = [common[i] for i in sorted({round(float(k)) for k in spread})]
    parts = [_head(folder, camera, night, old, new)]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for index in chosen:
            parts.append(_frame(archives, FrameRef(camera, night, index), (old, new), out))
        page = out / "index.html"
        write_atomic(page, _page(f"{camera} {night}", parts).encode(), sync=False)
    except OSError as error:
        raise AllskyError(
            f"the page cannot be written into {out}: {error.strerror}.", mend="Choose another."
        ) from error
    return page


def _page(title: str, parts: list[str]) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<body>{''.join(parts)}<script>{SCRIPT}</script></body></html>"
    )


def _head(folder: Path, camera: str, night: date, old: str, new: str) -> str:
    rows = []
    for version in (old, new):
        record = read_record(folder, version)
        changes = "made live"
        if record is not None:
            changes = ", ".join(f"{k} = {v}" for k, v in record.overrides.items())
            changes = changes or "the settings of the day it was made"
            changes += f"; lens file {record.provenance.get('lens_serial', '?')}"
        rows.append(f"<tr><td>{version}</td><td>{html.escape(changes)}</td></tr>")
    return f"<h1>{html.escape(camera)}, {night}: {old} and {new}</h1><table>{''.join(rows)}</table>"


def _frame(
    archives: tuple[Archive, Archive], ref: FrameRef, names: tuple[str, str], out: Path
) -> str:
    """Return one frame's pictures and numbers; the pictures are written into ``out``."""
    sources = []
    for archive, version in zip(archives, names, strict=True):
        path = archive.picture(ref)
        pixels = None if path is None else cv2.imread(os.fspath(path))
        name = f"{ref.index:06d}-{version}.jpg"
        if pixels is not None:
            _write(out / name, np.asarray(pixels, np.uint8))
        sources.append(name)
    records = [a.frame(ref) for a in archives]
    rows = []
    for key, label, form in NUMBERS:
        values = [r.scalars.get(key) for r in records]
        if any(v is not None for v in values):
            cells = "".join(f"<td>{form.format(v) if v is not None else '–'}</td>" for v in values)
            rows.append(f"<tr><td>{label}</td>{cells}</tr>")
    return (
        f'<h2>Frame {ref.index} <span class="sub">{records[0].time:%H:%M:%S} UTC</span></h2>'
        f'<div class="pair"><div class="both"><img src="{sources[0]}" alt="{names[0]}">'
        f'<img class="over" src="{sources[1]}" alt="{names[1]}"></div>'
        f'<input type="range" min="0" max="100" value="50" aria-label="where the two meet">'
        f'<div class="names"><span>{names[0]}</span><span>{names[1]}</span></div></div>'
        f"<table><tr><th></th><th>{names[0]}</th><th>{names[1]}</th></tr>{''.join(rows)}</table>"
    )


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a picture at the size the page shows, twice as fine for sharp screens."""
    height, width = pixels.shape[:2]
    scale = min(1.0, 2.0 * SHOWN_PX / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not done:
        raise AllskyError(f"{path} cannot be encoded.")
    write_atomic(path, data.tobytes(), sync=False)
