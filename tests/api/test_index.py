"""The index: thinning, searching and keeping, against brute force over plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from allsky360.api.index.cache import ArrayCache
from allsky360.api.index.night import BLOCK, NightIndex, plain
from allsky360.api.index.nights import Index
from allsky360.api.index.search import Condition, matching_rows, read_conditions
from allsky360.api.index.thin import Part, parts_between, thinned
from allsky360.archive.columns import NightView
from tests.api.conftest import DUSK, SLUG, House

FIRST = date(2026, 1, 1)
START_US = 1_767_268_800_000_000  # 2026-01-01T12:00Z


@dataclass(frozen=True)
class Numbers:
    """A night's numbers as plain arrays, in place of files."""

    night: date
    columns: Mapping[str, NDArray[np.float64]]
    camera: str = "cam"
    version: str = "v0001"

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.columns)

    def attributes(self, name: str) -> Mapping[str, Any]:
        return {}

    def times(self) -> NDArray[np.int64]:
        day = (self.night - FIRST).days * 86_400_000_000
        return START_US + day + np.arange(self.rows) * 60_000_000

    def processed(self) -> NDArray[np.int64]:
        return self.times() + 5_000_000

    def exposures(self) -> NDArray[np.float64]:
        return np.full((self.rows, 5), np.nan)

    def measured(self, name: str) -> NDArray[np.float64]:
        return self.columns[name]


def nights_of(lengths: list[int], names: list[str], seed: int) -> list[NightIndex]:
    rng = np.random.default_rng(seed)
    cache = ArrayCache(10**8)
    made = []
    for k, rows in enumerate(lengths):
        columns = {}
        for name in names:
            values = np.round(rng.normal(size=rows), 2)  # rounded: equal extremes occur
            values[rng.random(rows) < 0.2] = np.nan
            columns[name] = values
        view = cast(NightView, Numbers(FIRST + timedelta(days=k), columns))
        made.append(NightIndex(view, (), cache))
    return made


lengths = st.lists(st.integers(1, 400), min_size=1, max_size=8)


@given(
    lengths=lengths,
    variables=st.integers(1, 4),
    points=st.integers(20, 300),
    seed=st.integers(0, 9),
)
@settings(deadline=None)
def test_thinning_keeps_every_extreme_of_every_variable(
    lengths: list[int], variables: int, points: int, seed: int
) -> None:
    names = [f"v{i}" for i in range(variables)]
    nights = nights_of(lengths, names, seed)
    table = thinned([Part(n, None) for n in nights], names, points)
    assert table.total == sum(lengths)
    assert table.time.size <= max(points, 2 * variables + 2)
    assert (np.diff(table.time) > 0).all()
    for name in names:
        whole = np.concatenate([n.column(name) for n in nights])
        if np.isfinite(whole).any():
            assert np.nanmin(table.columns[name]) == np.nanmin(whole)
            assert np.nanmax(table.columns[name]) == np.nanmax(whole)
    # what is shown of a row is that row's
    for k in range(0, table.time.size, 7):
        night = nights[table.night[k]]
        for name in names:
            np.testing.assert_equal(table.columns[name][k], night.column(name)[table.row[k]])


def test_a_long_course_is_thinned_from_block_extremes_bucket_by_bucket() -> None:
    nights = nights_of([7 * BLOCK] * 30, ["v"], 3)
    table = thinned([Part(n, None) for n in nights], ["v"], 62)  # 30 buckets of a night each
    for k, night in enumerate(nights):
        mine = table.columns["v"][table.night == k]
        assert np.nanmin(mine) == np.nanmin(night.column("v"))
        assert np.nanmax(mine) == np.nanmax(night.column("v"))
    assert table.time.size <= 62


@given(
    lengths=lengths,
    seed=st.integers(0, 9),
    hours=st.tuples(st.integers(0, 200), st.integers(1, 90)),
)
@settings(deadline=None)
def test_a_range_takes_just_the_rows_in_it(
    lengths: list[int], seed: int, hours: tuple[int, int]
) -> None:
    nights = nights_of(lengths, ["v"], seed)
    start = datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(hours=hours[0])
    end = start + timedelta(hours=hours[1])
    table = thinned(parts_between(nights, start, end), ["v"], 100_000)
    times = np.concatenate([n.times() for n in nights])
    low, high = (int(t.timestamp() * 1e6) for t in (start, end))
    np.testing.assert_array_equal(table.time, times[(times >= low) & (times < high)])


@given(seed=st.integers(0, 30), low=st.floats(-2, 2), high=st.floats(-2, 2))
@settings(deadline=None)
def test_a_search_finds_what_brute_force_finds(seed: int, low: float, high: float) -> None:
    (night,) = nights_of([300], ["a", "b"], seed)
    found = matching_rows(night, [Condition("a", low=low), Condition("b", high=high)])
    a, b = night.column("a"), night.column("b")
    np.testing.assert_array_equal(found, np.flatnonzero((a >= low) & (b <= high)))
    assert not matching_rows(night, [Condition("c", low=-1e9)]).size


def test_conditions_are_read_and_nonsense_is_refused() -> None:
    a, b = read_conditions("limiting_mag>=5.5, gain<200")
    assert (a.name, a.low, a.open_low) == ("limiting_mag", 5.5, False)
    assert (b.name, b.high, b.open_high) == ("gain", 200.0, True)
    assert b.met(np.array([199.9, 200.0, np.nan])).tolist() == [True, False, False]
    for text in ("a", "a>", "a>b", "A>1", "a>1e999", "a>nan", "a==1", "__class__>1", "a>1;b"):
        with pytest.raises(ValueError, match=r"condition|number"):
            read_conditions(text)
    with pytest.raises(ValueError, match="12 are the most"):
        read_conditions(",".join("a>1" for _ in range(13)))


def test_the_cache_stays_within_its_bytes_and_forgets_a_night() -> None:
    cache = ArrayCache(10_000)
    for k in range(50):
        cache.get(("cam", k), lambda: (np.zeros(100),))
    assert 0 < cache.bytes <= 10_000
    cache.get(("cam", "kept"), lambda: (np.zeros(10),))
    cache.forget(("cam",))
    assert cache.bytes == 0


def test_numbers_are_shown_as_short_as_they_are_meant() -> None:
    assert plain(np.float32(0.05)) == 0.05
    assert plain(np.float64(0.1)) == 0.1


def test_the_index_sees_new_frames_new_nights_and_what_is_processed_again(house: House) -> None:
    index = Index(house.root)
    assert index.cameras() == []
    ref = house.capture(DUSK)
    night = index.night(SLUG, ref.night)
    assert night is not None
    assert (night.rows, night.stamps().tolist()) == (1, [-1])
    assert "background_green" not in night.names
    house.process(ref)
    again = index.night(SLUG, ref.night)
    assert again is not None
    assert again.column("background_green").tolist() == pytest.approx([0.05])
    assert again.column("level").tolist() == [0.12]
    assert night.stamps().tolist() == [-1]  # a snapshot stays what it was
    later = house.capture(DUSK + timedelta(days=3))
    assert index.nights(SLUG) == [ref.night, later.night]
    assert index.night(SLUG, later.night + timedelta(days=1)) is None
    assert index.nights("../../etc") == []


def test_the_index_agrees_with_the_archives_own_records(house: House) -> None:
    from allsky360.archive import Archive

    for k in range(5):
        ref = house.capture(DUSK + timedelta(minutes=k), (10.0, 2.5), bias_adu=float(k))
        if k % 2:
            house.process(ref, sky_x=k / 7)
    night = Index(house.root).night(SLUG, ref.night)
    assert night is not None
    records = Archive(house.root).frames(SLUG, ref.night)
    for info, record in zip(night.infos(range(night.rows)), records, strict=True):
        assert (info.ref, info.time, info.exposures_s) == (
            record.ref,
            record.time,
            record.exposures_s,
        )
        assert info.scalars == pytest.approx(dict(record.scalars), rel=1e-6)
        assert info.processed == record.processed
        if record.processed_at is not None:
            assert info.version == record.version
