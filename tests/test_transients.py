"""Transients through the archive: painted on simulated frames, processed in any order."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from allsky360.archive import Archive, FrameRef, RawWriter
from allsky360.cli import app
from allsky360.config import Settings
from allsky360.lenses import lens_folder
from allsky360.model import Bracket
from allsky360.processing import process_archived_frame
from allsky360.simulator.points import draw_points
from allsky360.sky.catalogue import altaz_of, horizon_vectors
from allsky360.sky.lens_file import LensFile, write_lens
from tests.lens_nights import CAMERA, LENS, SITE, SLUG, exposure, settings_for

START = datetime(2026, 11, 13, 20, 0, tzinfo=UTC)
CADENCE_S = 12.0
ADU = 1500.0
METEOR = ((62.0, 100.0), (50.0, 112.0))


def satellite(second: float) -> tuple[float, float]:
    """Where a steady satellite stands after some seconds: 0.7 degrees a second."""
    a, b = horizon_vectors(np.array([35.0, 75.0]), np.array([310.0, 20.0]))
    side = b - a * float(a @ b)
    side /= np.linalg.norm(side)
    angle = np.radians(0.7 * second)
    alt, az = altaz_of(np.cos(angle) * a + np.sin(angle) * side)
    return float(alt), float(az)


def painted(index: int, *, bright: float = 1.0, meteor_in: int = 2) -> Bracket:
    """Frame ``index`` with a satellite in all frames and a meteor in one."""
    shot = exposure(START + timedelta(seconds=CADENCE_S * index), LENS)
    begin = CADENCE_S * index
    paths = [(satellite(begin), satellite(begin + shot.exposure_s), 1.0)]
    if index == meteor_in:
        paths.append((*METEOR, 1.5))
    light = np.zeros(shot.pixels.shape, np.float32)
    cfa = np.zeros((2, 2), np.int64)
    for (alt1, az1), (alt2, az2), strength in paths:
        a, b = horizon_vectors(np.array([alt1, alt2]), np.array([az1, az2]))
        share = np.linspace(0, 1, 600)[:, None]
        x, y, _ = LENS.project(*altaz_of((1 - share) * a + share * b))
        electrons = np.full(
            (600, 1), bright * strength * ADU * np.hypot(x[-1] - x[0], y[-1] - y[0])
        )
        draw_points(light, x, y, electrons / 600, cfa, fwhm_px=2.3)
    pixels = np.clip(shot.pixels + light, 0, 65535).astype(np.uint16)
    return Bracket((replace(shot, pixels=pixels),))


def stored(root: Path, brackets: list[Bracket], *, lens: bool = True) -> list[FrameRef]:
    writer = RawWriter(root, CAMERA, SITE)
    try:
        refs = [writer.append(bracket, {}) for bracket in brackets]
    finally:
        writer.close()
    if lens:
        folder = lens_folder(root, SLUG)
        folder.mkdir(parents=True)
        content = LensFile(LENS, SLUG, 1, START, SITE, (START,))
        write_lens(folder / "0001.json", content)
    return refs


def records(root: Path, refs: list[FrameRef]) -> list[dict[str, Any]]:
    archive = Archive(root)
    return [archive.record(ref) for ref in refs]


def told(root: Path, refs: list[FrameRef]) -> list[list[tuple[str, str, bool, bool]]]:
    return [
        [
            (t["id"], t["kind"], t["previous"] is not None, t["next"] is not None)
            for t in record["transients"]
        ]
        for record in records(root, refs)
    ]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[FrameRef]]:
    """Five frames processed out of order: 3, 1, 0, 4, 2."""
    root = tmp_path_factory.mktemp("night")
    refs = stored(root, [painted(k) for k in range(5)])
    for k in (3, 1, 0, 4, 2):
        process_archived_frame(root, refs[k], settings_for(root))
    return root, refs


def test_streaks_are_found_linked_and_told_apart_in_any_order(
    night: tuple[Path, list[FrameRef]],
) -> None:
    root, refs = night
    found = told(root, refs)
    assert found[0] == []
    for k in (1, 2, 3, 4):
        assert ("satellite", k > 1, k < 4) in [one[1:] for one in found[k]]
    kinds = [[one[1] for one in frame] for frame in found]
    assert [sorted(frame) for frame in kinds] == [
        [],
        ["satellite"],
        ["meteor", "satellite"],
        ["satellite"],
        ["satellite"],
    ]
    counts = [f.scalars.get("transients") for f in Archive(root).frames(SLUG, refs[0].night)]
    assert counts == [None, 1.0, 2.0, 1.0, 1.0]


def test_a_record_says_where_when_and_how_bright(night: tuple[Path, list[FrameRef]]) -> None:
    root, refs = night
    record = records(root, refs)[2]
    assert record["transient_search"] == {"searched": True, "disturbed": False, "against": 1}
    (meteor,) = (t for t in record["transients"] if t["kind"] == "meteor")
    ends = {(meteor[e]["alt_deg"], meteor[e]["az_deg"]) for e in ("start", "end")}
    for truth in METEOR:
        a = horizon_vectors(*map(np.array, truth))
        assert min(np.degrees(np.arccos(a @ horizon_vectors(*map(np.array, e)))) for e in ends) < 2
    assert meteor["start"]["time"] == (START + timedelta(seconds=2 * CADENCE_S)).isoformat()
    assert meteor["duration_s"] == 10.0
    assert meteor["duration_is"] == "at most"
    assert meteor["magnitude_over_s"] == 1.0
    (pass_,) = (t for t in record["transients"] if t["kind"] == "satellite")
    assert pass_["duration_is"] == "whole exposure"
    first = satellite(2 * CADENCE_S)
    assert pass_["start"]["alt_deg"] == pytest.approx(first[0], abs=1.5)
    assert pass_["length_deg"] == pytest.approx(7.0, abs=1.5)
    # 10 s of one ADU sum a pixel of length, against the zero point: simulator truth
    light = ADU * pass_["length_px"]
    zero = 12_000.0 * 10.0 / exposure(START, LENS).egain
    assert pass_["magnitude"] == pytest.approx(-2.5 * np.log10(light / zero), abs=0.6)
    assert 0 < pass_["magnitude_sigma"] < 0.5


def test_the_first_frame_says_why_it_was_not_searched(night: tuple[Path, list[FrameRef]]) -> None:
    root, refs = night
    about = records(root, refs)[0]["transient_search"]
    assert about["searched"] is False
    assert "first of its night" in about["reason"]


def test_processing_again_changes_nothing(night: tuple[Path, list[FrameRef]]) -> None:
    root, refs = night
    before = told(root, refs)
    process_archived_frame(root, refs[2], settings_for(root))
    assert told(root, refs) == before


def test_the_list_of_a_night(
    night: tuple[Path, list[FrameRef]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, refs = night
    monkeypatch.setenv("ALLSKY360_STORAGE__ROOT", str(root))
    run = CliRunner().invoke(app, ["sky", "transients"])
    assert run.exit_code == 0, run.output
    assert "2 objects in 4 frames searched; 1 could not be searched" in run.output
    lines = run.output.splitlines()
    assert sum(" satellite " in line for line in lines) == 1
    assert sum(" meteor " in line for line in lines) == 1
    run = CliRunner().invoke(app, ["sky", "transients", SLUG, str(refs[0].night), "--json"])
    objects = [json.loads(line) for line in run.output.splitlines()]
    assert sorted((o["kind"], len(o["streaks"])) for o in objects) == [
        ("meteor", 1),
        ("satellite", 4),
    ]
    run = CliRunner().invoke(app, ["sky", "transients", SLUG, "soon"])
    assert run.exit_code != 0


def test_without_a_lens_streaks_are_found_and_linked_by_pixels(tmp_path: Path) -> None:
    refs = stored(tmp_path, [painted(k) for k in range(3)], lens=False)
    for ref in refs:
        process_archived_frame(tmp_path, ref, settings_for(tmp_path))
    found = records(tmp_path, refs)
    assert found[1]["transients"][0]["next"] in [t["id"] for t in found[2]["transients"]]
    assert found[1]["transients"][0]["start"]["alt_deg"] is None
    assert found[1]["transients"][0]["magnitude"] is None


def test_a_frame_before_that_is_damaged_costs_the_search_only(tmp_path: Path) -> None:
    refs = stored(tmp_path, [painted(k) for k in range(2)])
    store = tmp_path / SLUG / str(refs[0].night) / "raw.zarr" / "raw"
    (store / "c.0.0.0.0").write_bytes(b"damaged")
    process_archived_frame(tmp_path, refs[1], settings_for(tmp_path))
    (record,) = records(tmp_path, refs[1:])
    assert record["transients"] == []
    assert record["transient_search"]["searched"] is False
    assert "cannot be read" in record["transient_search"]["reason"]
    assert "transients" not in record["scalars"]
    assert record["scalars"]["stars_found"] > 0


def test_elements_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    refs = stored(tmp_path, [painted(k) for k in range(2)])
    plain = settings_for(tmp_path)
    named = plain.model_copy(
        update={"transients": plain.transients.model_copy(update={"tle_file": tmp_path / "no.txt"})}
    )
    assert isinstance(named, Settings)
    outcome = process_archived_frame(tmp_path, refs[1], named)
    assert any("Satellites are not named" in w for w in outcome["warnings"])
    assert outcome["statistics"]["transients"] == 1.0


def test_switched_off(tmp_path: Path) -> None:
    refs = stored(tmp_path, [painted(k) for k in range(2)])
    plain = settings_for(tmp_path)
    off = plain.model_copy(
        update={"transients": plain.transients.model_copy(update={"enabled": False})}
    )
    process_archived_frame(tmp_path, refs[1], off)
    (record,) = records(tmp_path, refs[1:])
    assert record["transient_search"]["reason"] == "transients.enabled is false"
