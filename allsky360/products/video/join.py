"""Pieces joined to one file: packets copied, timestamps counted on, nothing encoded anew."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2

from allsky360.archive.durable import stage, sync_file, sync_folder
from allsky360.products.video.piece import Piece
from allsky360.products.video.plan import VideoError


def join(pieces: Sequence[Piece], rate: Fraction, path: Path) -> int:
    """Join pieces to an MP4 file with its index in front; it appears whole, durable on return.

    Parameters
    ----------
    pieces
        In order, encoded by one plan.
    rate
        Frames a second.
    path
        The file.

    Returns
    -------
    int
        Number of frames.

    Raises
    ------
    VideoError
        There is no frame, pieces differ in how they are encoded, or the disk refuses.
    """
    whole = [p for p in pieces if p.frames]
    if not whole:
        raise VideoError("there is no picture to show.", mend="See what was left out, and why.")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        frames = _copy(whole, rate, partial)
        sync_file(partial)
        os.replace(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        raise VideoError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        partial.unlink(missing_ok=True)
    return frames


def _copy(pieces: Sequence[Piece], rate: Fraction, path: Path) -> int:
    done = 0
    head: bytes | None = None
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as out:
        stream: av.VideoStream | None = None
        for piece in pieces:
            with av.open(str(piece.path)) as source:
                given = source.streams.video[0]
                if stream is None:
                    # opaque: as it is; for AV1 the decoder's name is that of no encoder
                    stream = out.add_stream_from_template(given, opaque=True)
                    if given.codec_context.name == "hevc":
                        stream.codec_context.codec_tag = "hvc1"  # Apple's players take no other
                    stream.time_base = 1 / rate
                    head = given.codec_context.extradata
                elif given.codec_context.extradata != head:
                    raise VideoError("pieces are encoded differently.", mend="Make the video anew.")
                for packet in source.demux(given):
                    if packet.dts is None or packet.pts is None:
                        continue  # the end's flush
                    scale = packet.time_base * rate
                    packet.pts = round(packet.pts * scale) + done
                    packet.dts = round(packet.dts * scale) + done
                    packet.duration = 1
                    packet.time_base = 1 / rate
                    packet.stream = stream
                    out.mux(packet)
            done += piece.frames
    return done


def poster(video: Path, path: Path, *, at: float = 0.5, longest: int = 1280) -> tuple[int, int]:
    """Write a frame of a video as JPEG, whole and durable; return its width and height.

    Parameters
    ----------
    video
        The file.
    path
        The JPEG.
    at
        Which frame, 0 first to 1 last; the key frame before it is taken, except at the end.
    longest
        Longest side in pixels.
    """
    with av.open(str(video)) as source:
        stream = source.streams.video[0]
        length = stream.duration or 0
        target = int(length * min(max(at, 0.0), 1.0))
        source.seek(target, stream=stream, backward=True)
        chosen: av.VideoFrame | None = None
        for frame in source.decode(stream):
            chosen = frame
            if at < 1.0 or frame.pts is None:
                break
    if chosen is None:
        raise VideoError(f"{video} has no frame.")
    picture = chosen.to_ndarray(format="bgr24")
    factor = min(1.0, longest / max(picture.shape[:2]))
    if factor < 1.0:
        picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise VideoError(f"{path} cannot be encoded.")
    os.replace(stage(path, bytes(data), sync=True), path)
    return picture.shape[1], picture.shape[0]
