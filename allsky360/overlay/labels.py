"""Placing labels so that none covers another: greedy, in order of importance, repeatable.

Each label tries the places around its point. A place is refused when it leaves the frame or
covers a label or mark already there; among the others the one that covers least line and star, and
comes first in the order of preference, wins. A label with no place left is not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.overlay.scene import Box, Text
from allsky360.overlay.style import MIN_TEXT_PX, STYLES
from allsky360.overlay.text import ASCENT, DESCENT, width_px

Float = NDArray[np.float64]
Placement = Literal["beside", "centred"]

_CELL_UNITS = 4.0
_COVER_WEIGHT = 3.0
_ORDER_WEIGHT = 0.12
_PAD = 0.15  # free space around a label, parts of its size

# Box centre relative to the point, in (half width + gap, half height + gap).
_BESIDE = np.array(
    [(1, 0), (-1, 0), (0.9, -0.9), (-0.9, -0.9), (0.9, 0.9), (-0.9, 0.9), (0, -1), (0, 1)], float
)
_NEAR = [(0, 0), (0, 1), (0, -1), (0.6, 0), (-0.6, 0), (0.6, 1), (-0.6, 1), (0.6, -1), (-0.6, -1)]
_CENTRED = np.array([*_NEAR, (1.2, 0), (-1.2, 0), (0, 2), (0, -2)], float)


@dataclass(frozen=True)
class Request:
    """A label that wants a place at a point.

    ``clear_px`` is the free distance from the point (the radius of its mark); ``rank`` orders the
    requests, lowest first.
    """

    kind: str
    text: str
    x: float
    y: float
    rank: float
    clear_px: float = 0.0
    placement: Placement = "beside"


class Cover:
    """How much of a box lines and stars cover, from an integral image of coarse cells."""

    def __init__(self, width: int, height: int, cell_px: float, points: Float) -> None:
        self._cell = cell_px
        columns, rows = int(width / cell_px) + 1, int(height / cell_px) + 1
        filled = np.zeros((rows, columns))
        if len(points):
            i = np.clip((points[:, 1] / cell_px).astype(np.intp), 0, rows - 1)
            j = np.clip((points[:, 0] / cell_px).astype(np.intp), 0, columns - 1)
            filled[i, j] = 1.0
        self._sum = np.zeros((rows + 1, columns + 1))
        self._sum[1:, 1:] = filled.cumsum(axis=0).cumsum(axis=1)

    def share(self, boxes: Float) -> Float:
        """Return the filled share of boxes ``(N, 4)`` left, top, right, bottom."""
        rows, columns = self._sum.shape
        edges = boxes / self._cell
        left = np.clip(np.floor(edges[:, 0]).astype(np.intp), 0, columns - 1)
        right = np.clip(np.ceil(edges[:, 2]).astype(np.intp), 0, columns - 1)
        top = np.clip(np.floor(edges[:, 1]).astype(np.intp), 0, rows - 1)
        bottom = np.clip(np.ceil(edges[:, 3]).astype(np.intp), 0, rows - 1)
        s = self._sum
        filled = s[bottom, right] - s[top, right] - s[bottom, left] + s[top, left]
        return np.asarray(filled / np.maximum(1, (right - left) * (bottom - top)))


class Board:
    """The picture while labels are put on it."""

    def __init__(self, width: int, height: int, unit_px: float, size: float) -> None:
        self.width, self.height = width, height
        self.unit_px, self.size = unit_px, size
        self._taken = np.empty((0, 4))
        self.texts: list[Text] = []

    def text_px(self, kind: str) -> float:
        """Return the text size of a kind in pixels, in quarters so that masks are reused."""
        wanted = STYLES[kind].size * self.unit_px * self.size
        return max(MIN_TEXT_PX, round(wanted * 4) / 4)

    def reserve(self, boxes: Sequence[Box] | Float) -> None:
        """Keep labels off some boxes."""
        if len(boxes):
            self._taken = np.concatenate([self._taken, np.asarray(boxes, dtype=np.float64)])

    def free(self, boxes: Float) -> NDArray[np.bool_]:
        """Return which boxes ``(N, 4)`` lie in the frame and on nothing taken."""
        b, t = boxes[:, None, :], self._taken[None]
        apart = (
            (b[..., 0] >= t[..., 2])
            | (b[..., 2] <= t[..., 0])
            | (b[..., 1] >= t[..., 3])
            | (b[..., 3] <= t[..., 1])
        )
        return np.asarray(apart.all(axis=1) & self.in_frame(boxes))

    def in_frame(self, boxes: Float) -> NDArray[np.bool_]:
        """Return which boxes lie wholly in the frame."""
        return np.asarray(
            (boxes[:, 0] >= 0)
            & (boxes[:, 1] >= 0)
            & (boxes[:, 2] <= self.width - 1)
            & (boxes[:, 3] <= self.height - 1)
        )

    def put(self, kind: str, text: str, centre_x: float, centre_y: float) -> Text:
        """Write a text with its box centred on a point, and keep others off it."""
        size = self.text_px(kind)
        width = width_px(text, size, STYLES[kind].bold)
        box = self.boxes(kind, text, np.array([[centre_x, centre_y]]))[0]
        left = centre_x - width / 2
        baseline = centre_y + (ASCENT - DESCENT) / 2 * size
        placed = Text(
            kind,
            text,
            float(left),
            float(baseline),
            size,
            width,
            (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        )
        self.texts.append(placed)
        self.reserve(box[None])
        return placed

    def half_size(self, kind: str, text: str) -> tuple[float, float]:
        """Return half the width and height of a label's box in pixels."""
        size = self.text_px(kind)
        width = width_px(text, size, STYLES[kind].bold)
        return width / 2 + _PAD * size, (ASCENT + DESCENT) * size / 2 + 0.3 * _PAD * size

    def boxes(self, kind: str, text: str, centres: Float) -> Float:
        """Return the boxes ``(N, 4)`` of a label at centres ``(N, 2)``."""
        half = np.array(self.half_size(kind, text))
        return np.concatenate([centres - half, centres + half], axis=1)

    def place(self, request: Request, cover: Cover) -> Text | None:
        """Put a label at the best place around its point, or nowhere."""
        half = np.array(self.half_size(request.kind, request.text))
        offsets = _BESIDE if request.placement == "beside" else _CENTRED
        reach = half + (request.clear_px + 2.0 * self.unit_px if offsets is _BESIDE else 0.0)
        if offsets is _BESIDE:  # diagonal places touch the mark's ring, not its square
            diagonal = (offsets != 0).all(axis=1)[:, None]
            reach = np.where(diagonal, half + 0.7 * request.clear_px + self.unit_px, reach)
        centres = np.array([request.x, request.y]) + offsets * reach
        boxes = self.boxes(request.kind, request.text, centres)
        free = self.free(boxes)
        if not free.any():
            return None
        cost = _COVER_WEIGHT * cover.share(boxes) + _ORDER_WEIGHT * np.arange(len(boxes))
        best = int(np.argmin(np.where(free, cost, np.inf)))
        return self.put(
            request.kind, request.text, float(centres[best, 0]), float(centres[best, 1])
        )


def place_all(board: Board, requests: Sequence[Request], cover: Cover) -> list[Request]:
    """Place labels in order of rank, equal ranks in order of their text; return what found room."""
    ordered = sorted(requests, key=lambda r: (r.rank, r.text, r.x, r.y))
    return [request for request in ordered if board.place(request, cover) is not None]


def cover_of(board: Board, lines: Sequence[Float], points_px: Sequence[Float]) -> Cover:
    """Return what labels should rather not cover: lines and loose points ``(N, 2)``, in pixels."""
    cell = _CELL_UNITS * board.unit_px
    points = [np.empty((0, 2)), *points_px]
    for line in lines:
        if len(line) < 2:
            continue
        length = np.r_[0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T))]
        at = np.arange(0.0, length[-1], cell)
        points.append(
            np.stack([np.interp(at, length, line[:, 0]), np.interp(at, length, line[:, 1])], axis=1)
        )
    return Cover(board.width, board.height, cell, np.concatenate(points))
