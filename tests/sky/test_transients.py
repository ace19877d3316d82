"""Streaks of consecutive frames: joined across frames in any order, and told apart honestly."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from allsky360.sky.catalogue import horizon_vectors
from allsky360.sky.lens import fisheye
from allsky360.sky.transients import End, Searched, Transient, relink, tracks

LENS = fisheye(1000, 1000)
START = datetime(2026, 11, 14, 0, 0, tzinfo=UTC)
EXPOSURE_S, CADENCE_S = 10.0, 12.0


def directions(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return horizon_vectors(*LENS.unproject(x, y))


def transient(
    frame: int,
    number: int,
    begin: np.ndarray,
    end: np.ndarray,
    *,
    snr: float = 30.0,
    flashes: int = 0,
    label: str | None = None,
    dark: bool = False,
) -> Transient:
    """A streak from one direction to another, ends in random order."""
    ends = [begin, end] if (frame + number) % 2 else [end, begin]
    points = []
    for v in ends:
        alt, az = np.degrees(np.arcsin(v[2])), np.degrees(np.arctan2(v[1], v[0]))
        x, y, _ = LENS.project(alt, az)
        points.append((float(x), float(y)))
    first = START + timedelta(seconds=CADENCE_S * frame)
    times = [first.isoformat(), (first + timedelta(seconds=EXPOSURE_S)).isoformat()]
    return Transient(
        f"{frame:06d}-{number}", "unknown", "",
        End(times[0], *points[0]), End(times[1], *points[1]),
        EXPOSURE_S, "at most", False, None, 50.0, 2.5, 9.0, snr, 2.0, 0.1, 1.0, label, None,
        flashes, dark, None, None, tuple(points),
    )  # fmt: skip


def pass_over(speed_deg_s: float, height_deg: float, turn_deg: float) -> list[np.ndarray]:
    """Begin and end directions of a great circle in five frames, ``(2, 3)`` each."""
    pole = horizon_vectors(np.array(90.0 - height_deg), np.array(turn_deg))
    a = np.cross(pole, [0.0, 0.0, 1.0])
    a /= np.linalg.norm(a)
    b = np.cross(pole, a)
    out = []
    for k in range(5):
        seconds = np.array([CADENCE_S * k, CADENCE_S * k + EXPOSURE_S]) - 30.0
        angle = np.radians(90.0 + speed_deg_s * seconds)[:, None]
        ends = np.cos(angle) * a + np.sin(angle) * b
        out.append(np.where(ends[:1, 2:] > 0, ends, -ends))
    return out


def written(
    frames: dict[int, tuple[Transient, ...]], order: tuple[int, ...]
) -> dict[int, Searched]:
    """What the records say after the frames were written in this order."""
    state: dict[int, Searched] = {}
    for k in order:
        state[k] = Searched(True, frames[k])
        state |= relink({i: state[i] for i in range(k - 2, k + 3) if i in state}, k, directions)
    return state


@pytest.mark.parametrize("speed", [0.1, 0.6, 1.2])
@pytest.mark.parametrize(("height", "turn"), [(80.0, 10.0), (45.0, 130.0), (25.0, 300.0)])
def test_a_pass_is_one_track_in_any_order(speed: float, height: float, turn: float) -> None:
    path = pass_over(speed, height, turn)
    meteor = horizon_vectors(np.array([50.0, 58.0]), np.array([200.0, 207.0]))
    frames = {k: (transient(k, 1, *path[k]),) for k in range(5)}
    frames[2] += (transient(2, 2, *meteor),)
    results = []
    for order in list(itertools.permutations(range(5)))[::17]:
        state = written(frames, order)
        results.append([state[k] for k in range(5)])
        assert results[-1] == results[0]
    found = tracks(results[0])
    assert sorted((len(t.parts), t.kind) for t in found) == [(1, "meteor"), (5, "satellite")]
    long = max(found, key=lambda t: len(t.parts))
    assert long.duration_s == 4 * CADENCE_S + EXPOSURE_S
    for k, part in enumerate(long.parts):
        assert part.direction_known
        begin = directions(np.array([part.start.x]), np.array([part.start.y]))[0]
        assert np.degrees(np.arccos(np.clip(begin @ path[k][0], -1, 1))) < 0.1
        assert part.duration_is == ("whole exposure" if 0 < k < 4 else "at most")
        assert part.magnitude_over_s == EXPOSURE_S
        assert part.magnitude == pytest.approx(2.0 + 2.5)  # ten times as long: 2.5 mag fainter
    (flash,) = (t for t in found if t.kind == "meteor")
    assert flash.magnitude == 2.0
    assert not flash.parts[0].direction_known


def test_nothing_is_a_meteor_before_both_neighbours_are_searched() -> None:
    meteor = transient(1, 1, *horizon_vectors(np.array([50.0, 58.0]), np.array([200.0, 207.0])))
    frames: dict[int, tuple[Transient, ...]] = {0: (), 1: (meteor,), 2: ()}
    for order, kinds in (
        ((1,), ["unknown"]),
        ((0, 1), ["unknown"]),
        ((2, 1), ["unknown"]),
        ((0, 1, 2), ["meteor"]),
        ((2, 0, 1), ["meteor"]),
    ):
        assert [t.kind for t in written(frames, order)[1].transients] == kinds
    for unsearched in (0, 2):
        state = {k: Searched(k != unsearched, frames[k]) for k in frames}
        (told,) = relink(state, 1, directions)[1].transients
        assert told.kind == "unknown"
        assert ("before" if unsearched == 0 else "after") in told.kind_reason


def test_kinds() -> None:
    ends = horizon_vectors(np.array([50.0, 58.0]), np.array([200.0, 207.0]))

    def alone(**how: object) -> str:
        state = written({0: (), 1: (transient(1, 1, *ends, **how),), 2: ()}, (0, 1, 2))  # type: ignore[arg-type]
        return state[1].transients[0].kind

    assert alone() == "meteor"
    assert alone(snr=8.0) == "unknown"
    assert alone(flashes=4) == "aircraft"
    assert alone(label="STATION") == "satellite"
    path = pass_over(0.6, 60.0, 40.0)
    dark = {k: (transient(k, 1, *path[k], dark=True),) for k in range(3)}
    assert {t.kind for f in written(dark, (0, 1, 2)).values() for t in f.transients} == {"aircraft"}
    flashing = {k: (transient(k, 1, *path[k], flashes=5 * (k == 1)),) for k in range(3)}
    assert {t.kind for f in written(flashing, (0, 2, 1)).values() for t in f.transients} == {
        "aircraft"
    }


def test_what_lies_elsewhere_or_turns_is_not_joined() -> None:
    path = pass_over(0.6, 60.0, 40.0)
    beside = pass_over(0.6, 40.0, 40.0)
    across = pass_over(0.6, 60.0, 100.0)
    for other in (beside, across):
        frames = {0: (transient(0, 1, *path[1]),), 1: (transient(1, 1, *other[2]),)}
        state = written(frames, (0, 1))
        assert state[0].transients[0].next is None
        assert state[1].transients[0].previous is None


def test_a_frame_written_again_loses_its_old_links() -> None:
    path = pass_over(0.6, 60.0, 40.0)
    frames = {k: (transient(k, 1, *path[k]),) for k in range(3)}
    state = written(frames, (0, 1, 2))
    state[1] = Searched(True)
    state |= relink(state, 1, directions)
    assert state[0].transients[0].next is None
    assert state[2].transients[0].previous is None
    assert len(tracks([state[k] for k in range(3)])) == 2


def test_a_record_comes_back() -> None:
    path = pass_over(0.6, 60.0, 40.0)
    one = transient(3, 1, *path[1], label="STATION", flashes=3)
    assert Transient.from_json(json.loads(json.dumps(one.to_json()))) == one
    with pytest.raises((KeyError, TypeError, ValueError)):
        Transient.from_json({"id": "1"})
