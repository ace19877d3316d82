"""Nights of the simulated sky whose lens is known, and the choice of frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from allsky360.archive import Archive, FrameRecord, FrameRef, RawWriter
from allsky360.lens_calibration import calibrate_night, nights_due, read_history
from allsky360.lens_calibration import night as night_module
from allsky360.lens_calibration.choose import choose, dark_frames
from allsky360.lens_calibration.due import night_over
from allsky360.lens_calibration.night import CalibrationError, NightReport, moved_px
from allsky360.lens_calibration.words import file_lines, history_lines, report_markdown
from allsky360.lens_history import NightEntry, note_night
from allsky360.lens_solutions import content_of, save_lens
from allsky360.lenses import current_lens, lens_folder, lens_paths
from allsky360.model import Bracket, Exposure, Site
from allsky360.sky.lens_drift import LensDrift
from allsky360.sky.solve import LensNotSolved, LensSolution, solve_lens
from tests.lens_nights import CAMERA, LENS, SITE, SLUG, hours, moved, settings_for, store
from tests.sky.lens_cases import error_px, found_stars

EVENING = datetime(2026, 11, 13, 22, tzinfo=UTC)  # the Moon, 20 % lit, sets at 21 h
NIGHT = date(2026, 11, 13)
LATER = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def solved(seed: int = 1, when: datetime = EVENING) -> LensSolution:
    stars = found_stars(LENS, SITE, when, np.random.default_rng(seed))
    return solve_lens(stars, SITE, when, LENS.width, LENS.height, hint=LENS)


def calibrated(root: Path, night: date, *, force: bool = False) -> NightReport:
    return calibrate_night(root, CAMERA, night, settings_for(root), force=force, now=LATER)


# -- nights ---------------------------------------------------------------------------------------


def test_a_lens_is_found_kept_and_followed(tmp_path: Path) -> None:
    store(tmp_path, hours(EVENING, 2))
    first = calibrated(tmp_path, NIGHT)
    assert (first.entry.outcome, first.entry.reason) == ("written", "first")
    assert (first.entry.used, first.entry.over, first.drift) == (2, True, None)
    assert first.lens is not None
    assert error_px(first.lens.lens, LENS).max() < 0.15

    again = calibrated(tmp_path, NIGHT)  # nothing changes, not even what the night says
    assert again.drift is not None
    assert abs(again.drift.dx_px) < 1e-6
    assert len(lens_paths(tmp_path, SLUG)) == 1
    assert replace(again.entry, tried=first.entry.tried) == first.entry

    store(tmp_path, hours(EVENING + DAY, 2), moved(LENS, 0.8, 0.1))
    bumped = calibrated(tmp_path, NIGHT + DAY)
    assert (bumped.entry.outcome, bumped.entry.reason, bumped.entry.serial) == (
        "written", "moved", 2)  # fmt: skip
    drift = bumped.drift
    assert drift is not None
    assert abs(drift.dx_px - 0.8) < max(5 * drift.dx_sigma_px, 0.05)
    assert abs(drift.rotation_deg - 0.1 * LENS.parity) < max(5 * drift.rotation_sigma_deg, 0.005)
    current = current_lens(tmp_path, SLUG, LENS.width, LENS.height)
    assert current is not None
    assert current.serial == 2
    assert error_px(current.lens, moved(LENS, 0.8, 0.1)).max() < 0.15

    history = read_history(tmp_path, SLUG)
    assert [(e.night, e.serial) for e in history] == [(NIGHT, 1), (NIGHT + DAY, 2)]
    text = "\n".join(history_lines(history))
    assert "against lens 1" in text
    assert "+0.8" in text or "+0.7" in text
    assert "| 60 to 90 deg |" in report_markdown(bumped)
    assert file_lines(current)[0].startswith("lens 2 of sim-camera-1, 720 x 560 px")


def test_of_a_camera_moved_within_the_night_its_last_stand_counts(tmp_path: Path) -> None:
    after = moved(LENS, 0.0, 25.0)
    store(tmp_path, hours(EVENING, 1))
    store(tmp_path, hours(EVENING + timedelta(hours=3), 2), after)
    report = calibrated(tmp_path, NIGHT)
    assert report.lens is not None
    assert error_px(report.lens.lens, after).max() < 0.3
    assert report.entry.used == 2


@pytest.mark.parametrize(
    ("start", "reason", "words"),
    [
        (datetime(2026, 11, 13, 14, tzinfo=UTC), "no-dark-frames", "no frame in darkness"),
        (datetime(2026, 11, 13, 23, tzinfo=UTC), "too-few-stars", "of 1 frames tried"),
    ],
)
def test_a_night_without_stars_is_refused_with_the_reason(
    tmp_path: Path, start: datetime, reason: str, words: str
) -> None:
    append(tmp_path, [start])
    report = calibrated(tmp_path, NIGHT)
    assert (report.entry.outcome, report.entry.reason) == ("refused", reason)
    assert words in report.entry.message
    assert (report.lens, report.solution) == (None, None)
    assert words in report_markdown(report)
    assert [e.reason for e in read_history(tmp_path, SLUG)] == [reason]


def test_what_processing_found_saves_reading_cloudy_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path, hours(EVENING, 3), stars_found=11.0)
    monkeypatch.setattr(Archive, "bracket", lambda *_: pytest.fail("nothing worth reading"))
    report = calibrated(tmp_path, NIGHT)
    assert report.entry.reason == "too-few-stars"
    assert "3 dark frames shows more than 11 stars" in report.entry.message


def test_damaged_frames_are_said_and_a_missing_night_is_an_error(tmp_path: Path) -> None:
    append(tmp_path, hours(EVENING, 2))
    for file in (tmp_path / SLUG / NIGHT.isoformat() / "raw.zarr" / "raw").glob("c.*"):
        file.write_bytes(b"damaged")
    report = calibrated(tmp_path, NIGHT)
    assert report.entry.reason == "unreadable"
    assert "damaged" in report.entry.message
    with pytest.raises(CalibrationError, match="no frame of sim-camera-1 in the night 2020-01-01"):
        calibrated(tmp_path, date(2020, 1, 1))


def append(root: Path, starts: Sequence[datetime], **scalars: float) -> None:
    """Store small frames of nothing but noise."""
    rng = np.random.default_rng(1)
    writer = RawWriter(root, CAMERA, SITE)
    for start in starts:
        pixels = rng.normal(600, 10, (200, 260)).astype(np.uint16)
        made = Exposure(pixels, "RGGB", start, 10.0, gain=0.0, camera=CAMERA, egain=1.0)
        writer.append(Bracket((made,)), scalars)
    writer.close()


# -- is a new file needed -------------------------------------------------------------------------


def drift_of(dx_px: float, sigma_px: float = 0.01) -> LensDrift:
    return LensDrift(EVENING, dx_px, 0.0, 0.0, 0.0, sigma_px, sigma_px, 1e-3, 1e-5, 0.0)


@pytest.mark.parametrize(
    ("drift", "old", "new", "reason"),
    [
        (drift_of(1.0), 5, 5, "moved"),
        (drift_of(1.0, sigma_px=0.5), 5, 5, ""),  # not believed
        (drift_of(0.1), 5, 5, ""),  # believed, and nobody sees it
        (drift_of(1.0), 12, 2, ""),  # two frames against twelve
        (drift_of(0.0), 1, 5, "more-frames"),
        (drift_of(0.0), 1, 2, ""),
        (drift_of(1.0), 1, 2, "moved"),
    ],
)
def test_what_makes_a_new_file(drift: LensDrift, old: int, new: int, reason: str) -> None:
    solution = solved()
    current = content_of(replace(solution, whens=(EVENING,) * old), camera="cam", serial=7)
    tonight = replace(solution, whens=(EVENING,) * new)
    found, words = night_module._judged(current, tonight, drift)
    assert found == reason
    assert "against lens 7" in words


def test_the_move_is_that_of_the_picture() -> None:
    assert moved_px(drift_of(0.3), LENS) == pytest.approx(0.3)
    turned = replace(drift_of(0.0), rotation_deg=1.0)
    grid = error_px(LENS, moved(LENS, 0.0, 1.0), 30.0)
    assert moved_px(turned, LENS) == pytest.approx(np.sqrt(np.mean(grid**2)), rel=0.25)


def test_another_set_up_and_a_forced_file(tmp_path: Path) -> None:
    solution = solved()
    mirrored = replace(solution, lens=replace(solution.lens, parity=-solution.lens.parity))
    save_lens(tmp_path, SLUG, mirrored)
    job = night_module._Job(Archive(tmp_path), SLUG, NIGHT, SITE, over=True, frames=3)
    report = night_module._compared(job, solution, force=False)
    assert (report.entry.reason, report.entry.serial) == ("other-set-up", 2)
    assert report.entry.drift is None
    kept = night_module._compared(
        replace(job, night=NIGHT + DAY), solved(2, EVENING + DAY), force=False
    )
    assert (kept.entry.outcome, kept.entry.serial) == ("kept", 2)
    forced = night_module._compared(
        replace(job, night=NIGHT + DAY), solved(2, EVENING + DAY), force=True
    )
    assert (forced.entry.reason, forced.entry.serial) == ("forced", 3)


def test_an_unreadable_lens_file_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_lens(tmp_path, SLUG, solved())
    lens_paths(tmp_path, SLUG)[0].write_text("{")
    job = night_module._Job(Archive(tmp_path), SLUG, NIGHT, SITE, over=True, frames=3)
    report = night_module._compared(job, solved(), force=False)
    assert (report.entry.reason, report.entry.serial) == ("first", 2)
    assert "0001.json" in caplog.text


# -- which frames ---------------------------------------------------------------------------------


def record(k: int, when: datetime, stars: float | None) -> FrameRecord:
    scalars = {} if stars is None else {"stars_found": stars}
    return FrameRecord(FrameRef("cam", NIGHT, k), when, (10.0,), 0.0, scalars)


def minutes(stars: Sequence[float | None], step: float = 10.0) -> list[FrameRecord]:
    start = datetime(2026, 11, 13, 22, tzinfo=UTC)
    return [record(k, start + timedelta(minutes=step * k), s) for k, s in enumerate(stars)]


def test_the_starriest_frame_of_every_part_comes_first() -> None:
    stars = [500.0 + (100.0 if k % 10 == 7 else 0.0) for k in range(30)]
    order = [ref.index for ref in choose(minutes(stars), SITE, 3)]
    assert sorted(order[:3]) == [7, 17, 27]
    assert sorted(order) == list(range(30))


def test_frames_known_to_show_few_stars_are_left_out_and_unknown_ones_tried() -> None:
    order = [r.index for r in choose(minutes([5.0, None, 800.0, 29.0, None, 12.0]), SITE, 2)]
    assert set(order) == {1, 2, 4}
    assert order[0] == 2
    assert choose(minutes([5.0, 3.0]), SITE, 12) == []


def test_of_frames_not_processed_the_night_is_spread() -> None:
    order = [r.index for r in choose(minutes([None] * 30), SITE, 3)[:3]]
    assert [sorted(order)[k] // 10 for k in range(3)] == [0, 1, 2]


def test_moonlight_and_twilight_come_last() -> None:
    start = datetime(2026, 11, 24, 20, tzinfo=UTC)  # full Moon, up all night
    moonlit = record(0, start, 400.0)
    dark = record(1, datetime(2026, 11, 13, 23, tzinfo=UTC), 400.0)
    twilight = record(2, datetime(2026, 11, 13, 19, 5, tzinfo=UTC), 400.0)
    day = record(3, datetime(2026, 11, 13, 13, tzinfo=UTC), 400.0)
    assert [r.ref.index for r in dark_frames([moonlit, dark, twilight, day], SITE)] == [0, 1, 2]
    order = [r.index for r in choose([moonlit, dark, twilight, day], SITE, 1)]
    assert order[0] == 1
    assert set(order) == {0, 1, 2}
    assert choose([], SITE, 12) == dark_frames([], SITE) == []


# -- what is due ----------------------------------------------------------------------------------


def test_a_night_is_over_in_the_morning_or_at_noon() -> None:
    assert not night_over(SITE, NIGHT, datetime(2026, 11, 13, 17, tzinfo=UTC))  # Sun still up
    assert not night_over(SITE, NIGHT, datetime(2026, 11, 14, 5, tzinfo=UTC))
    assert night_over(SITE, NIGHT, datetime(2026, 11, 14, 8, tzinfo=UTC))
    arctic = Site("Longyearbyen", 78.2, 15.6)
    assert not night_over(arctic, date(2026, 12, 20), datetime(2026, 12, 21, 10, tzinfo=UTC))
    assert night_over(arctic, date(2026, 12, 20), datetime(2026, 12, 21, 11, tzinfo=UTC))


def test_a_night_is_due_once_when_over_and_before_only_without_a_lens(tmp_path: Path) -> None:
    append(tmp_path, [EVENING])
    archive, night = Archive(tmp_path), EVENING + timedelta(hours=1)
    assert nights_due(archive, SLUG, night) == [NIGHT]
    note_night(tmp_path, SLUG, entry(over=False, frames=1))
    assert nights_due(archive, SLUG, night) == []  # no frame since
    append(tmp_path, [EVENING + timedelta(minutes=30)])
    assert nights_due(archive, SLUG, night) == [NIGHT]
    save_lens(tmp_path, SLUG, solved())
    assert nights_due(archive, SLUG, night) == []
    assert nights_due(archive, SLUG, EVENING + timedelta(hours=10)) == [NIGHT]
    note_night(tmp_path, SLUG, entry(over=True, frames=2))
    assert nights_due(archive, SLUG, LATER) == []


def test_frames_by_day_are_no_reason_to_try(tmp_path: Path) -> None:
    append(tmp_path, [datetime(2026, 11, 13, 14, tzinfo=UTC)])
    assert nights_due(Archive(tmp_path), SLUG, datetime(2026, 11, 13, 15, tzinfo=UTC)) == []


def test_only_the_newest_nights_are_looked_at(tmp_path: Path) -> None:
    append(tmp_path, [EVENING + k * DAY for k in range(4)])
    assert nights_due(Archive(tmp_path), SLUG, LATER) == [NIGHT + 2 * DAY, NIGHT + 3 * DAY]


def entry(*, over: bool, frames: int, night: date = NIGHT) -> NightEntry:
    return NightEntry(night, "refused", "too-few-stars", "cloud", EVENING, over, frames)


def test_the_history_survives_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = [entry(over=True, frames=3, night=NIGHT + k * DAY) for k in (1, 0, 2)]
    for e in entries:
        note_night(tmp_path, "cam", e)
    assert read_history(tmp_path, "cam") == sorted(entries, key=lambda e: e.night)
    path = lens_folder(tmp_path, "cam") / "nights.json"
    for damage in ("{", '{"nights": [{"night": "x"}]}', "[]"):
        path.write_text(damage)
        assert read_history(tmp_path, "cam") == []
        assert "begun anew" in caplog.text
    note_night(tmp_path, "cam", entries[0])
    assert len(json.loads(path.read_text())["nights"]) == 1


def test_only_the_best_frame_is_asked_why_it_cannot_be_solved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, [EVENING])
    asked: list[bool] = []

    def refuse(*_: object, explain_failure: bool, **__: object) -> LensSolution:
        asked.append(explain_failure)
        raise LensNotSolved("wrong-time" if explain_failure else "no-match", "an hour late.")

    monkeypatch.setattr(night_module, "solve_lens", refuse)
    report = calibrated(tmp_path, NIGHT)
    assert asked == [False, True]
    assert (report.entry.reason, report.entry.message) == ("wrong-time", "an hour late.")
