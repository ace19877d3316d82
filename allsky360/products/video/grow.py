"""What growing videos share: pictures wait until they fill a piece, pieces are joined when shown.

A growing video holds no picture and no encoder between frames: only names of pictures that wait.
So a crash costs nothing but the piece that was being encoded, and the result is the same.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from allsky360.archive.layout import picture_path
from allsky360.archive.products import ProductFile
from allsky360.config_video import VideoSettings
from allsky360.products.frame import ProductFrame
from allsky360.products.grower import Draft, NightContext
from allsky360.products.video.join import join, poster
from allsky360.products.video.looks import Look
from allsky360.products.video.piece import Piece, find_piece, make_piece, piece_key
from allsky360.products.video.plan import VideoError, VideoPlan, plan_video
from allsky360.products.video.shot import Shot


class GrowingVideo(ABC):
    """A video that grows; see :class:`allsky360.products.grower.Grower`.

    Parameters
    ----------
    video
        How it is encoded.
    parameters
        What it is made with, beside that.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    poster_at: ClassVar[float] = 0.5
    takes_late = False
    shown_from = 1.25
    ahead: int = 0
    """Pictures after a piece that have to be known before it is encoded."""
    levels: list[float]
    """Brightness of every picture taken, where the video evens it out."""

    def __init__(self, video: VideoSettings, parameters: Mapping[str, Any]) -> None:
        self.video = video
        self.parameters: Mapping[str, Any] = {
            **parameters,
            "video": video.model_dump(mode="json"),
        }

    # -- what a kind of video decides ---------------------------------------------------------

    @abstractmethod
    def why_not(self, frame: ProductFrame) -> str | None:
        """Return why a frame is left out."""

    @abstractmethod
    def size(self, frame: ProductFrame) -> tuple[int, int]:
        """Return width and height of what is shown, before it is reduced to the video's size."""

    @abstractmethod
    def make_look(self, plan: VideoPlan) -> Look:
        """Return the look; called once for a night."""

    def shot(self, frame: ProductFrame, path: Path) -> Shot:
        """Return a frame's shot."""
        return Shot(path, frame.ref.id)

    def ready(self, start: int, shots: Sequence[Shot]) -> list[Shot]:
        """Return shots as they are encoded; ``start`` is the number of the first."""
        return list(shots)

    # -- growing ------------------------------------------------------------------------------

    def open(self, context: NightContext, work: Path, saved: Path | None) -> None:
        """Begin, or go on."""
        self.context, self.work = context, work
        self.shape: tuple[int, int] | None = None
        self.plan: VideoPlan | None = None
        self.look: Look | None = None
        self.pieces: list[tuple[str, Piece]] = []
        self.done = 0
        self.recent: list[Shot] = []
        self.pending: list[Shot] = []
        self.levels: list[float] = []
        self.tail: set[str] = set()
        self.shown = ""
        if saved is not None:
            self._restore(json.loads((saved / "video.json").read_text()), saved)

    def add(self, frame: ProductFrame) -> str | None:
        """Let a frame wait; encode a piece once it is full."""
        reason = self.why_not(frame)
        if reason is not None:
            return reason
        shape = self.size(frame)
        if self.shape is None:
            self._begin(shape)
        if shape != self.shape:
            return "its picture has another size"
        path = picture_path(
            self.context.root / self.context.camera / self.context.night.isoformat(),
            self.context.version,
            frame.ref.index,
        )
        del self.levels[self.done + len(self.pending) :]  # of a frame that failed
        self.pending.append(self.shot(frame, path))
        assert self.plan is not None
        if len(self.pending) >= self.plan.piece_frames + self.ahead:
            try:
                self._encode_piece()
            except Exception:
                self.pending.pop()  # as before; the next frame tries again
                raise
        return None

    def save(self, folder: Path) -> None:
        """Write which pieces are there and which pictures wait."""
        state = {
            "plan": self.plan.key if self.plan is not None else "",
            "shape": self.shape,
            "done": self.done,
            "pieces": [[key, piece.frames] for key, piece in self.pieces],
            "recent": [s.to_json() for s in self.recent],
            "pending": [s.to_json() for s in self.pending],
            "levels": self.levels,
        }
        (folder / "video.json").write_text(json.dumps(state))
        if self.look is not None:
            self.look.save(folder)

    def finish(self, *, complete: bool) -> Sequence[Draft]:
        """Join what there is, the pictures that wait among it, and take a poster."""
        if self.plan is None:
            return ()
        pieces = [*self.pieces, *self._encode_tail()]
        path = self.context.folder / f"{self.name}.mp4"
        image = self.context.folder / f"{self.name}-preview.jpg"
        frames = sum(piece.frames for _, piece in pieces)
        if not frames:
            return ()
        keys = "+".join(key for key, _ in pieces)
        if keys != self.shown or not path.is_file():
            join([piece for _, piece in pieces], self.plan.rate, path)
            self.shown = keys
        width, height = poster(path, image, at=self.poster_at)
        unseen = [list(one) for _, piece in pieces for one in piece.left_out]
        return (
            Draft(
                kind=self.name,
                name=self.name,
                title=self.title,
                files=(
                    ProductFile(
                        path.name,
                        "main",
                        "video/mp4",
                        width=self.plan.width,
                        height=self.plan.height,
                        duration_s=float(frames / self.plan.rate),
                    ),
                    ProductFile(image.name, "preview", "image/jpeg", width=width, height=height),
                ),
                parameters={
                    **self.parameters,
                    "encoded": self.plan.describe() | {"frames": frames},
                    **({"could_not_be_shown": unseen} if unseen else {}),
                },
            ),
        )

    # -- inside -------------------------------------------------------------------------------

    def _begin(self, shape: tuple[int, int]) -> None:
        self.plan = plan_video(self.video, *shape)
        self.look = self.make_look(self.plan)
        self.shape = shape

    def _restore(self, state: Mapping[str, Any], saved: Path) -> None:
        if state["shape"] is None:
            return
        self._begin((int(state["shape"][0]), int(state["shape"][1])))
        assert self.plan is not None
        assert self.look is not None
        if self.plan.key != state["plan"]:
            raise VideoError("another encoder is here than when the video began.")
        for key, frames in state["pieces"]:
            piece = find_piece(self.work, key)
            if piece is None or piece.frames != frames:
                raise VideoError(f"piece {key} of the video is gone.")
            self.pieces.append((key, piece))
        site, options = self.context.site, self.context.settings.overlay
        self.done = int(state["done"])
        self.recent = [Shot.from_json(s, site, options) for s in state["recent"]]
        self.pending = [Shot.from_json(s, site, options) for s in state["pending"]]
        self.levels = [float(v) for v in state["levels"]]
        self.look.load(saved)

    def _encode_piece(self) -> None:
        assert self.plan is not None
        assert self.look is not None
        shots = self.ready(self.done, self.pending[: self.plan.piece_frames])
        key, piece = self._piece(shots)
        self.look.keep()
        self.pieces.append((key, piece))
        keep = self.look.earlier
        self.recent = [*self.recent, *shots][-keep:] if keep else []
        self.done += len(shots)
        del self.pending[: len(shots)]

    def _encode_tail(self) -> list[tuple[str, Piece]]:
        """Encode the pictures that wait, for now; what was encoded so before is removed."""
        assert self.plan is not None
        found = [
            self._tail_piece(at, self.pending[at : at + self.plan.piece_frames])
            for at in range(0, len(self.pending), self.plan.piece_frames)
        ]
        keys = {key for key, _ in found}
        for old in self.tail - keys - {key for key, _ in self.pieces}:
            for suffix in (".json", ".mp4"):
                (self.work / f"{old}{suffix}").unlink(missing_ok=True)
        self.tail = keys
        return found

    def _tail_piece(self, at: int, part: Sequence[Shot]) -> tuple[str, Piece]:
        before = self.ready(self.done, self.pending[:at])
        recent, self.recent = self.recent, [*self.recent, *before]
        try:
            return self._piece(self.ready(self.done + at, part))
        finally:
            self.recent = recent

    def _piece(self, shots: Sequence[Shot]) -> tuple[str, Piece]:
        assert self.plan is not None
        assert self.look is not None
        keep = self.look.earlier
        earlier = self.recent[-keep:] if keep else []
        key = piece_key(self.plan, self.look, earlier, shots)
        found = None if self.look.carries else find_piece(self.work, key)
        return key, found or make_piece(self.work, key, self.plan, self.look, earlier, shots)
