"""From pictures to a video file: pieces side by side, then joined; a killed run goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from allsky360.archive.durable import make_folder
from allsky360.products.video.join import join
from allsky360.products.video.looks import Look
from allsky360.products.video.piece import Piece, find_piece, make_piece, piece_key
from allsky360.products.video.plan import VideoPlan
from allsky360.products.video.shot import Shot

Progress = Callable[[int, int], None]
"""Called with the number of pictures done and wanted, from several threads in turn."""


@dataclass(frozen=True)
class Made:
    """A video that was made.

    Attributes
    ----------
    path
        The file.
    frames, duration_s
        Its length.
    left_out
        Pictures that could not be shown: name and reason.
    reused
        Frames of pieces that were there already.
    seconds
        Wall time.
    """

    path: Path
    frames: int
    duration_s: float
    left_out: tuple[tuple[str, str], ...]
    reused: int
    seconds: float


def make_video(
    shots: Sequence[Shot],
    plan: VideoPlan,
    look: Callable[[], Look],
    path: Path,
    *,
    workers: int = 1,
    progress: Progress = lambda done, wanted: None,
) -> Made:
    """Encode pictures to an MP4 file.

    Pieces lie in ``.NAME.pieces`` beside the file until it is whole; what a killed run finished is
    taken up by the next.

    Parameters
    ----------
    shots
        In order.
    plan, look
        How they are encoded, and what is shown; one look a piece.
    path
        The file; replaced when the new one is whole.
    workers
        Pieces encoded at once. Each takes memory for about 60 frames of the video.
    progress
        Told after every piece.

    Raises
    ------
    VideoError
        There is nothing to show, or the encoder or the disk refuses.
    """
    begin = time.monotonic()
    work = path.with_name(f".{path.name}.pieces")
    make_folder(work)
    jobs = []
    for start in range(0, len(shots), plan.piece_frames):
        ahead = look().earlier
        jobs.append(
            (shots[max(0, start - ahead) : start], shots[start : start + plan.piece_frames])
        )
    done = reused = 0
    pieces: list[Piece] = []
    with ThreadPoolExecutor(max(1, workers), "video") as pool:
        futures: list[Future[tuple[Piece, bool]]] = [
            pool.submit(_piece, work, plan, look(), earlier, own) for earlier, own in jobs
        ]
        lengths = dict(zip(futures, (len(own) for _, own in jobs), strict=True))
        try:
            waiting = set(futures)
            while waiting:
                ready, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
                for future in [f for f in futures if f in ready]:
                    future.result()
                ended = sum(lengths[f] for f in futures if f.done())
                if ended != done:
                    done = ended
                    progress(done, len(shots))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        for future in futures:
            piece, was_there = future.result()
            pieces.append(piece)
            reused += piece.frames if was_there else 0
    frames = join(pieces, plan.rate, path)
    shutil.rmtree(work, ignore_errors=True)
    return Made(
        path=path,
        frames=frames,
        duration_s=float(frames / plan.rate),
        left_out=tuple(one for piece in pieces for one in piece.left_out),
        reused=reused,
        seconds=time.monotonic() - begin,
    )


def _piece(
    work: Path, plan: VideoPlan, look: Look, earlier: Sequence[Shot], own: Sequence[Shot]
) -> tuple[Piece, bool]:
    key = piece_key(plan, look, earlier, own)
    found = find_piece(work, key)
    if found is not None:
        return found, True
    return make_piece(work, key, plan, look, earlier, own), False
