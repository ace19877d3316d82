from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allsky360.overlay.labels import Board, Request, cover_of, place_all
from allsky360.overlay.text import width_px


def board(width: int = 600, height: int = 500) -> Board:
    return Board(width, height, 1.0, 1.0)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def crowd(seed: int, n: int) -> list[Request]:
    rng = np.random.default_rng(seed)
    kinds = rng.choice(["star", "designation", "planet", "constellation"], n)
    return [
        Request(
            str(kind),
            f"Name {i}",
            float(rng.uniform(-20, 620)),
            float(rng.uniform(-20, 520)),
            float(rng.integers(0, 4)),
            float(rng.uniform(0, 8)),
            "centred" if kind == "constellation" else "beside",
        )
        for i, kind in enumerate(kinds)
    ]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 150))
def test_no_label_covers_another_or_leaves_the_frame(seed: int, n: int) -> None:
    b = board()
    requests = crowd(seed, n)
    placed = place_all(b, requests, cover_of(b, [], []))
    assert len(placed) == len(b.texts)
    for i, text in enumerate(b.texts):
        left, top, right, bottom = text.box
        assert left >= 0
        assert top >= 0
        assert right <= 599
        assert bottom <= 499
        assert left <= text.x <= text.x + text.width_px <= right
        assert top < text.y < bottom
        assert not any(overlap(text.box, other.box) for other in b.texts[:i])


def test_the_same_requests_give_the_same_labels_in_any_order() -> None:
    requests = crowd(7, 120)
    one, two = board(), board()
    place_all(one, requests, cover_of(one, [], []))
    place_all(two, requests[::-1], cover_of(two, [], []))
    assert one.texts == two.texts


def test_most_labels_find_room_where_there_is_room() -> None:
    b = board(2000, 2000)
    rng = np.random.default_rng(2)
    requests = [
        Request("star", "Betelgeuse", *map(float, rng.uniform(100, 1900, 2)), 0.0, 5.0)
        for _ in range(60)
    ]
    assert len(place_all(b, requests, cover_of(b, [], []))) >= 58


def test_the_first_choice_is_to_the_right_clear_of_the_mark() -> None:
    b = board()
    [request] = place_all(b, [Request("star", "Vega", 300.0, 250.0, 0.0, 6.0)], cover_of(b, [], []))
    [text] = b.texts
    assert request.text == text.text == "Vega"
    assert 306.0 < text.x < 320.0
    assert text.y - text.size_px < 250.0 < text.y + 1


def test_a_line_or_an_edge_turns_a_label_to_another_side() -> None:
    b = board()
    line = np.array([[304.0, 250.0], [420.0, 250.0]])
    place_all(b, [Request("star", "Vega", 300.0, 250.0, 0.0, 4.0)], cover_of(b, [line], []))
    _, top, right, bottom = b.texts[0].box
    assert right <= 300 or bottom < 250 or top > 250
    near_edge = board()
    place_all(near_edge, [Request("star", "Vega", 590.0, 250.0, 0.0)], cover_of(near_edge, [], []))
    assert near_edge.texts[0].box[2] < 590


def test_the_more_important_label_wins_and_a_reserved_box_stays_free() -> None:
    b = board()
    b.reserve([(0.0, 0.0, 600.0, 200.0), (0.0, 230.0, 600.0, 500.0)])
    b.reserve([(0.0, 200.0, 200.0, 230.0), (300.0, 200.0, 600.0, 230.0)])
    requests = [
        Request("star", "Second", 250.0, 215.0, 2.0, placement="centred"),
        Request("star", "First", 250.0, 215.0, 1.0, placement="centred"),
    ]
    assert [r.text for r in place_all(b, requests, cover_of(b, [], []))] == ["First"]


def test_widths_scale_and_text_is_never_unreadably_small() -> None:
    assert width_px("Sirius", 24.0, False) == pytest.approx(2 * width_px("Sirius", 12.0, False))
    assert width_px("Sirius", 24.0, True) > width_px("Sirius", 24.0, False)
    assert Board(200, 200, 0.1, 1.0).text_px("star") == 8.0
