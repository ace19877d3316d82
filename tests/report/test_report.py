"""The night report: what it says is what the records say."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from allsky360.archive import Archive
from allsky360.archive.journal import FaultLine, faults_between, journal_path, note_fault
from allsky360.archive.layout import night_folder, record_path
from allsky360.archive.products import product_file, read_product
from allsky360.config import Settings, StorageSettings
from allsky360.errors import AllskyError
from allsky360.model import Site
from allsky360.report.gather import find_gaps, gather
from allsky360.report.make import make_report
from allsky360.report.page import spans
from allsky360.report.statistics import clear_share, statistics
from allsky360.sky.night import night_times
from tests.report.conftest import CAMERA, DUSK, NIGHT, STEP, make_night

LATER = datetime(2026, 11, 15, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(storage=StorageSettings(root=tmp_path))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A night with two gaps, three frames without a picture, a fault and a meteor."""
    root = tmp_path_factory.mktemp("night")
    site = Site("La Palma", 28.7606, -17.8816, 2326.0)
    make_night(root, site, without=(20, 21, 22, 23, 33, 34, 35, 36), unprocessed=(7, 8, 9))
    note_fault(root, FaultLine(DUSK + 21 * STEP, "Report Cam", "timeout", "No answer in 75 s."))
    failed = {"process-report-cam-2026-11-13-000008": {"error": "ArchiveError: image 8 is damaged"}}
    (root / "prefect").mkdir()
    (root / "prefect" / "failed-frames.json").write_text(json.dumps(failed))
    path = record_path(night_folder(root, CAMERA, NIGHT), "v0001", 12)
    record = json.loads(path.read_text())
    record["transients"] = [
        {"id": "a", "kind": "satellite", "start": {}, "peak_snr": 90.0, "label": "ISS"},
        {
            "id": "b",
            "kind": "meteor",
            "start": {"time": (DUSK + 12 * STEP).isoformat(), "alt_deg": 43.0, "az_deg": 120.0},
            "duration_s": 0.8,
            "peak_snr": 12.0,
            "magnitude": -1.2,
        },
        "nonsense",
    ]
    path.write_text(json.dumps(record))
    return root


def test_gaps_are_found_with_their_causes(told: Path, settings: Settings) -> None:
    facts = gather(Archive(told), CAMERA, NIGHT, settings, LATER)
    first, second = [g for g in facts.gaps if g.begins > DUSK + STEP][:2]
    assert (first.begins, first.ends) == (DUSK + 19 * STEP, DUSK + 24 * STEP)
    assert first.cause == "timeout (once): No answer in 75 s."
    assert (second.begins, second.ends) == (DUSK + 32 * STEP, DUSK + 37 * STEP)
    assert second.cause.startswith("no fault was noted")
    assert facts.unprocessed == {
        7: "not processed yet",
        8: "ArchiveError: image 8 is damaged",
        9: "not processed yet",
    }
    assert (facts.raw, facts.processed) == (48, 45)


def test_a_period_without_capture_is_a_cause(site: Site, settings: Settings) -> None:
    off = settings.exposure.twilight.model_copy(update={"enabled": False})
    changed = settings.model_copy(
        update={"exposure": settings.exposure.model_copy(update={"twilight": off})}
    )
    times = night_times(site, NIGHT)
    assert times.astronomical.begins is not None
    starts = [times.astronomical.begins + timedelta(minutes=k) for k in range(5)]
    now = starts[-1] + timedelta(minutes=1)
    (gap,) = find_gaps(starts, times, site, changed, (), now)
    assert gap.cause == "no capture in twilight"
    assert gap.ends == starts[0]
    assert (
        find_gaps(starts, times, site, changed, (), now + timedelta(hours=3))[1].begins
        == starts[-1]
    )


def test_the_numbers_are_those_of_the_records(told: Path, settings: Settings) -> None:
    archive = Archive(told)
    facts = gather(archive, CAMERA, NIGHT, settings, LATER)
    dark = [
        r
        for r in archive.frames(CAMERA, NIGHT)
        if r.processed and r.scalars["sun_altitude_deg"] < -18
    ]
    clear = sum(r.scalars["cloud_fraction"] < 0.2 for r in dark) / len(dark)
    assert clear_share(facts) == pytest.approx(clear)
    numbers = statistics(facts)
    assert numbers["frames"] == "48"
    assert numbers["meteors"] == numbers["satellites"] == "1"
    assert float(numbers["faintest star"].split()[0]) == pytest.approx(
        max(r.scalars["limiting_mag"] for r in dark), abs=0.05
    )


def test_the_best_frames_are_the_deepest_and_half_an_hour_apart(
    told: Path, settings: Settings
) -> None:
    facts = gather(Archive(told), CAMERA, NIGHT, settings, LATER)
    cloud = facts.column("cloud_fraction")
    assert len(facts.best) == 3
    assert all(cloud[i] == 0 for i in facts.best)
    times = sorted(facts.time[list(facts.best)].astype(datetime))
    assert all(b - a >= timedelta(minutes=30) for a, b in itertools.pairwise(times))


def test_meteors_come_first_and_nonsense_is_passed_over(told: Path, settings: Settings) -> None:
    archive = Archive(told)
    # the count along time is what makes a frame be looked at
    folder = night_folder(told, CAMERA, NIGHT)
    assert record_path(folder, "v0001", 12).exists()
    facts = gather(archive, CAMERA, NIGHT, settings, LATER)
    assert [s.kind for s in facts.sightings] == ["meteor", "satellite"]
    assert facts.sightings[0].altitude_deg == 43.0
    assert facts.sightings[1].time == archive.frame(facts.sightings[1].ref).time


class Page(HTMLParser):
    """Text and everything a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.loads: list[str] = []

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [v for k, v in attrs if k == "src" and v]


def test_the_page_holds_everything_itself(told: Path, settings: Settings) -> None:
    made = make_report(
        Archive(told), CAMERA, NIGHT, settings, now=LATER, failed={"keogram": "<no> room"}
    )
    record = read_product(told, CAMERA, NIGHT, "v0001", "report")
    assert record is not None
    assert replace(record, created_at=made.record.created_at) == made.record
    assert not record.complete  # frames are not processed, and a product failed
    assert record.parameters["counts"] == {"raw": 48, "processed": 45}
    page = Page()
    path = product_file(told, record, "report.html")
    assert path is not None
    page.feed(path.read_text())
    assert len(page.loads) == 4  # three best frames and the plot
    assert all(src.startswith("data:image/") for src in page.loads)
    text = " ".join(page.text)
    for words in ("No answer in 75 s.", "meteor", "43°, 120°", "<no> room", "image 8 is damaged"):
        assert words in text
    assert "**keogram failed**" in made.markdown


def test_a_night_of_bare_frames_has_a_report_too(
    tmp_path: Path, site: Site, settings: Settings
) -> None:
    archive = make_night(tmp_path, site, 3, unprocessed=(0, 1, 2))
    made = make_report(archive, CAMERA, NIGHT, settings, now=DUSK + 3 * STEP)
    assert made.record.frames.used == 0
    with pytest.raises(AllskyError, match="no frame"):
        make_report(archive, CAMERA, NIGHT + timedelta(days=1), settings, now=LATER)


def test_the_journal_survives_half_lines_and_grows_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("allsky360.archive.journal.MOST_BYTES", 2000)
    for n in range(60):
        note_fault(tmp_path, FaultLine(DUSK + n * STEP, "c", f"f{n}", "x" * 50))
    with journal_path(tmp_path).open("a") as file:
        file.write('{"time": "2026-')
    found = faults_between(tmp_path, DUSK, DUSK + 100 * STEP)
    assert [f.name for f in found] == [f"f{n}" for n in range(60 - len(found), 60)]
    assert len(found) >= 10
    total = sum(p.stat().st_size for p in journal_path(tmp_path).parent.iterdir())
    assert total < 5000


@pytest.mark.parametrize(
    ("frames", "words"),
    [([3], "3"), ([5, 3, 4, 9], "3-5, 9"), (list(range(0, 40, 2)), "0, 2, 4, 6, 8, 10 …")],
)
def test_spans(frames: list[int], words: Any) -> None:
    assert spans(frames) == words
