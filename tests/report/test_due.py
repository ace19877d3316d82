"""Which nights wait for their products, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from allsky360.archive import Archive
from allsky360.config import Settings, StorageSettings
from allsky360.model import Site
from allsky360.products.due import due_nights, why_due
from allsky360.report.make import make_report
from tests.report.conftest import CAMERA, NIGHT, make_night

BEFORE_DAWN = datetime(2026, 11, 14, 5, 0, tzinfo=UTC)
MORNING = datetime(2026, 11, 14, 8, 0, tzinfo=UTC)
AFTERNOON = datetime(2026, 11, 14, 14, 0, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(storage=StorageSettings(root=tmp_path))


def test_a_night_is_due_after_dawn_and_once_more_when_it_is_over(
    tmp_path: Path, site: Site, settings: Settings
) -> None:
    archive = make_night(tmp_path, site, 4)

    def why(now: datetime) -> str:
        return why_due(archive, CAMERA, NIGHT, now)

    assert why(BEFORE_DAWN) == ""
    assert why(MORNING) == "dawn has come"
    make_report(archive, CAMERA, NIGHT, settings, now=MORNING)
    assert why(MORNING + timedelta(hours=1)) == ""
    assert why(AFTERNOON) == "the night is over"
    made = make_report(archive, CAMERA, NIGHT, settings, now=AFTERNOON)
    assert made.record.complete
    assert why(AFTERNOON + timedelta(days=30)) == ""


def test_a_missed_dawn_is_caught_up_and_late_frames_count(
    tmp_path: Path, site: Site, settings: Settings
) -> None:
    archive = make_night(tmp_path, site, 4, unprocessed=(2,))
    later = AFTERNOON + timedelta(days=3)
    (due,) = due_nights(archive, later)
    assert (due.camera, due.night, due.why) == (CAMERA, NIGHT, "the night is over")
    make_report(archive, CAMERA, NIGHT, settings, now=later)
    assert due_nights(archive, later + timedelta(days=1)) == []  # nothing new: no try is spent
    make_night_of_one(tmp_path, site)
    (due,) = due_nights(Archive(tmp_path), later + timedelta(hours=1))
    assert due.why == "frames came after the report"


def make_night_of_one(root: Path, site: Site) -> None:
    """Process the frame that was left."""
    import numpy as np

    from allsky360.archive import FrameRef, ProcessedWriter
    from tests.report.conftest import DUSK, STEP, jpeg

    ProcessedWriter(root, CAMERA, NIGHT).write(
        FrameRef(CAMERA, NIGHT, 2),
        time=DUSK + 2 * STEP,
        linear=np.zeros((4, 4, 3), np.float32),
        picture_jpeg=jpeg(9),
        scalars={},
        provenance={},
        site=site,
    )


def test_what_failed_is_tried_again_after_a_pause(
    tmp_path: Path, site: Site, settings: Settings
) -> None:
    archive = make_night(tmp_path, site, 3)
    make_report(archive, CAMERA, NIGHT, settings, now=AFTERNOON, failed={"keogram": "no room"})
    assert due_nights(archive, AFTERNOON + timedelta(hours=1)) == []
    (due,) = due_nights(archive, AFTERNOON + timedelta(hours=7))
    assert due.why == "keogram failed before"


def test_a_night_without_a_picture_is_not_due(tmp_path: Path, site: Site) -> None:
    archive = make_night(tmp_path, site, 2, unprocessed=(0, 1))
    assert due_nights(archive, AFTERNOON) == []
    assert due_nights(Archive(tmp_path / "nothing"), AFTERNOON) == []
