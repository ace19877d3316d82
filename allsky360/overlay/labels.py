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
_SMALLEST_CELL_PX = 2.0
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
        """Return the filled share of boxes ``(..., 4)`` left, top, right, bottom."""
        rows, columns = self._sum.shape
        low = np.floor(boxes[..., :2] / self._cell).astype(np.intp)
        high = np.ceil(boxes[..., 2:] / self._cell).astype(np.intp)
        last = np.array([columns - 1, rows - 1])
        low, high = np.clip(low, 0, last), np.clip(high, 0, last)
        left, top, right, bottom = low[..., 0], low[..., 1], high[..., 0], high[..., 1]
        s = self._sum
        filled = s[bottom, right] - s[top, right] - s[bottom, left] + s[top, left]
        return np.asarray(filled / np.maximum(1, (right - left) * (bottom - top)))


class Board:
    """The picture while labels are put on it."""

    def __init__(self, width: int, height: int, unit_px: float, size: float) -> None:
        self.width, self.height = width, height
        self.unit_px, self.size = unit_px, size
        self._taken = np.empty((64, 4))
        self._count = 0
        self.texts: list[Text] = []

    def text_px(self, kind: str) -> float:
        """Return the text size of a kind in pixels, in quarters so that masks are reused."""
        wanted = STYLES[kind].size * self.unit_px * self.size
        return max(MIN_TEXT_PX, round(wanted * 4) / 4)

    def reserve(self, boxes: Sequence[Box] | Float) -> None:
        """Keep labels off some boxes."""
        for box in boxes:
            if self._count == len(self._taken):
                self._taken = np.concatenate([self._taken, np.empty_like(self._taken)])
            self._taken[self._count] = box
            self._count += 1

    def free(self, boxes: Float) -> NDArray[np.bool_]:
        """Return which boxes ``(N, 4)`` lie on nothing taken."""
        b, t = boxes[:, None, :], self._taken[: self._count]
        covers = (b[..., :2] < t[:, 2:]) & (b[..., 2:] > t[:, :2])
        return np.asarray(~(covers[..., 0] & covers[..., 1]).any(axis=1))

    def in_frame(self, boxes: Float) -> NDArray[np.bool_]:
        """Return which boxes ``(..., 4)`` lie wholly in the frame."""
        inside = (boxes >= 0) & (boxes <= np.array([self.width - 1, self.height - 1] * 2))
        return np.asarray(inside.all(axis=-1))

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


def place_all(board: Board, requests: Sequence[Request], cover: Cover) -> list[Request]:
    """Place labels in order of rank, equal ranks in order of their text; return what found room."""
    ordered = sorted(requests, key=lambda r: (r.rank, r.text, r.x, r.y))
    choices: dict[int, tuple[Float, Float, Float]] = {}
    for placement, offsets in (("beside", _BESIDE), ("centred", _CENTRED)):
        which = [i for i, r in enumerate(ordered) if r.placement == placement]
        if which:
            found = _choices(board, [ordered[i] for i in which], offsets, cover)
            choices |= {i: row for i, *row in zip(which, *found, strict=True)}  # type: ignore[misc]
    placed = []
    for i, request in enumerate(ordered):
        centres, boxes, cost = choices[i]
        cost = np.where(board.free(boxes), cost, np.inf)
        best = int(np.argmin(cost))
        if np.isfinite(cost[best]):
            board.put(request.kind, request.text, float(centres[best, 0]), float(centres[best, 1]))
            placed.append(request)
    return placed


def _choices(
    board: Board, requests: Sequence[Request], offsets: Float, cover: Cover
) -> tuple[Float, Float, Float]:
    """Return centres ``(R, K, 2)``, boxes ``(R, K, 4)`` and costs ``(R, K)``, inf off the frame."""
    half = np.array([board.half_size(r.kind, r.text) for r in requests])[:, None]
    reach = np.broadcast_to(half, (len(requests), len(offsets), 2))
    if offsets is _BESIDE:
        clear = np.array([r.clear_px for r in requests])[:, None, None]
        # diagonal places touch the mark's ring, not the square around it
        diagonal = (offsets != 0).all(axis=1)[:, None]
        gap = np.where(diagonal, 0.7 * clear + board.unit_px, clear + 2.0 * board.unit_px)
        reach = reach + gap
    centres = np.array([(r.x, r.y) for r in requests])[:, None] + offsets * reach
    boxes = np.concatenate([centres - half, centres + half], axis=-1)
    cost = _COVER_WEIGHT * cover.share(boxes) + _ORDER_WEIGHT * np.arange(len(offsets))
    return centres, boxes, np.where(board.in_frame(boxes), cost, np.inf)


def cover_of(board: Board, lines: Sequence[Float], points_px: Sequence[Float]) -> Cover:
    """Return what labels should rather not cover: lines and loose points ``(N, 2)``, in pixels."""
    cell = max(_SMALLEST_CELL_PX, _CELL_UNITS * board.unit_px)
    points = [np.empty((0, 2)), *points_px]
    if lines:
        a = np.concatenate([line[:-1] for line in lines])
        step = np.concatenate([np.diff(line, axis=0) for line in lines])
        n = np.maximum(1, np.ceil(np.hypot(step[:, 0], step[:, 1]) / cell)).astype(np.intp)
        piece = np.repeat(np.arange(len(n)), n)
        along = (np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)) / n[piece]
        points.append(a[piece] + along[:, None] * step[piece])
    return Cover(board.width, board.height, cell, np.concatenate(points))
