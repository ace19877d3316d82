"""Pieces: a fixed number of pictures encoded each for itself, so that videos grow and go on.

A piece depends on nothing but its pictures, their look and the plan; its name is a hash of these.
So a piece that is there need not be made again, whoever made it, and a killed run that goes on ends
with the same bytes. ``KEY.json`` is written after ``KEY.mp4`` and makes it count.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import av
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from allsky360.archive.durable import sync_file, sync_folder, write_atomic
from allsky360.products.video.looks import Look
from allsky360.products.video.plan import VideoError, VideoPlan, quiet_encoders
from allsky360.products.video.reader import BadPicture, PictureReader
from allsky360.products.video.scheduling import as_scheduled
from allsky360.products.video.shot import Shot


@dataclass(frozen=True)
class Piece:
    """A piece on disk.

    Attributes
    ----------
    path
        The file; absent where ``frames`` is 0.
    frames
        How many it holds.
    left_out
        Pictures that could not be shown: name and reason.
    """

    path: Path
    frames: int
    left_out: tuple[tuple[str, str], ...] = field(default=())


def piece_key(plan: VideoPlan, look: Look, earlier: Sequence[Shot], shots: Sequence[Shot]) -> str:
    """Hash of everything a piece is made of."""
    text = json.dumps(
        [plan.key, look.key, [s.key for s in earlier], [s.key for s in shots]], default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def find_piece(folder: Path, key: str) -> Piece | None:
    """Return a piece made before; None where there is none that counts."""
    try:
        content = json.loads((folder / f"{key}.json").read_bytes())
        piece = Piece(
            folder / f"{key}.mp4",
            int(content["frames"]),
            tuple((str(n), str(r)) for n, r in content["left_out"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return piece if piece.frames == 0 or piece.path.is_file() else None


def make_piece(
    folder: Path,
    key: str,
    plan: VideoPlan,
    look: Look,
    earlier: Sequence[Shot],
    shots: Sequence[Shot],
) -> Piece:
    """Encode a piece, durable on return.

    Parameters
    ----------
    folder, key
        Where it goes.
    plan, look
        How it is encoded, and what is shown.
    earlier
        Pictures before it that the look has to have seen.
    shots
        Its pictures; one that cannot be read is left out.

    Raises
    ------
    VideoError
        The encoder or the disk refuses.
    """
    reader = PictureReader(
        plan.width, plan.height, full_chroma=not plan.pixel_format.startswith("yuv420p")
    )
    left_out: list[tuple[str, str]] = []
    look.begin(reader, earlier)

    def frames() -> Iterator[av.VideoFrame]:
        for shot in shots:
            try:
                yield look.show(reader, shot)
            except BadPicture as error:
                left_out.append((shot.name, error.message))

    path = folder / f"{key}.mp4"
    partial = path.with_name(f"{key}.{os.getpid()}.partial")
    try:
        count = encode(frames(), plan, partial)
        if count:
            sync_file(partial)
            os.replace(partial, path)
        piece = Piece(path, count, tuple(left_out))
        content = {k: v for k, v in asdict(piece).items() if k != "path"}
        write_atomic(folder / f"{key}.json", json.dumps(content).encode(), sync=True)
        sync_folder(folder)
    except OSError as error:  # FFmpeg's errors are among them
        raise VideoError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        partial.unlink(missing_ok=True)
    return piece


def encode(frames: Iterable[av.VideoFrame], plan: VideoPlan, path: Path) -> int:
    """Encode frames of the plan's size into an MP4 file; return how many there were.

    Frames are counted, not timed: number ``n`` is shown at ``n / rate``.
    """
    quiet_encoders()
    count = 0
    with av.open(str(path), "w", format="mp4") as out:
        stream = cast(av.VideoStream, out.add_stream(plan.encoder, rate=plan.rate))
        stream.options = dict(plan.options)
        stream.width, stream.height = plan.width, plan.height
        stream.pix_fmt = plan.pixel_format
        context = stream.codec_context
        context.time_base = 1 / plan.rate
        context.thread_count = plan.threads
        context.colorspace = Colorspace.ITU709
        context.color_range = ColorRange.MPEG
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.IEC61966_2_1
        with as_scheduled():
            context.open()
        for frame in frames:
            frame.pts, frame.time_base = count, 1 / plan.rate
            out.mux(stream.encode(frame))
            count += 1
        if count:
            out.mux(stream.encode(None))
    if not count:
        path.unlink(missing_ok=True)
    return count
