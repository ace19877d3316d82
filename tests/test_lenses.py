"""The lens files of an archive, and the solution read back from one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from allsky360.errors import AllskyError
from allsky360.lens_solutions import content_of, save_lens, solution_of
from allsky360.lenses import LensStoreError, current_lens, lens_folder, lens_paths, newest_lens
from allsky360.sky.lens_drift import lens_drift
from allsky360.sky.lens_file import LensFileError, read_lens, write_lens
from allsky360.sky.solve import LensSolution, solve_lens
from tests.lens_nights import LENS, SITE
from tests.sky.lens_cases import found_stars

WHEN = datetime(2026, 11, 14, tzinfo=UTC)


def solved(seed: int = 1, when: datetime = WHEN) -> LensSolution:
    stars = found_stars(LENS, SITE, when, np.random.default_rng(seed))
    return solve_lens(stars, SITE, when, LENS.width, LENS.height, hint=LENS)


@pytest.fixture(scope="module")
def solution() -> LensSolution:
    return solved()


def test_nothing_is_overwritten_and_the_newest_of_a_size_counts(
    tmp_path: Path, solution: LensSolution
) -> None:
    assert newest_lens(tmp_path, "cam") is None
    first = save_lens(tmp_path, "cam", solution)
    small = replace(solution, lens=solution.lens.binned(2))
    save_lens(tmp_path, "cam", small)
    third = save_lens(tmp_path, "cam", solution)
    assert [p.name for p in lens_paths(tmp_path, "cam")] == ["0001.json", "0002.json", "0003.json"]
    assert (first.serial, third.serial) == (1, 3)
    found = current_lens(tmp_path, "cam", LENS.width, LENS.height)
    assert found is not None
    assert (found.serial, found.lens) == (3, solution.lens)
    binned = current_lens(tmp_path, "cam", LENS.width // 2, LENS.height // 2)
    assert binned is not None
    assert binned.serial == 2
    assert current_lens(tmp_path, "cam", 8, 8) is None
    newest = newest_lens(tmp_path, "cam")
    assert newest is not None
    assert newest.serial == 3


def test_a_solution_comes_back_whole(tmp_path: Path, solution: LensSolution) -> None:
    back = solution_of(read_lens(write_lens(tmp_path / "l.json", content_of(
        solution, camera="cam", serial=1))))  # fmt: skip
    assert back.lens == solution.lens
    assert back.whens == solution.whens
    assert back.free == solution.free
    assert back.evidence == solution.evidence
    assert (back.stars, back.fitted, back.rms_px) == (
        solution.stars, solution.fitted, solution.rms_px)  # fmt: skip
    np.testing.assert_allclose(back.covariance, solution.covariance, rtol=1e-5)
    later = solved(2, WHEN + timedelta(days=1))
    (whole,), (read,) = lens_drift([solution, later]), lens_drift([back, later])
    assert read.dx_sigma_px == pytest.approx(whole.dx_sigma_px, rel=1e-3)
    assert read.significance == pytest.approx(whole.significance, rel=1e-3)


def test_without_covariance_the_sigma_is_only_too_large(solution: LensSolution) -> None:
    content = content_of(solution, camera="cam", serial=1)
    poor = replace(content, quality={k: v for k, v in content.quality.items() if k != "covariance"})
    later = solved(2, WHEN + timedelta(days=1))
    (good,) = lens_drift([solution_of(content), later])
    (rough,) = lens_drift([solution_of(poor), later])
    assert rough.dx_sigma_px > good.dx_sigma_px
    bare = solution_of(replace(content, quality={}, sigma={}))
    assert np.isnan(bare.evidence.rms_px)
    assert not bare.covariance.any()


def test_a_damaged_file_is_named(tmp_path: Path, solution: LensSolution) -> None:
    save_lens(tmp_path, "cam", solution)
    path = lens_paths(tmp_path, "cam")[0]
    path.write_text(json.dumps({"kind": "other"}))
    with pytest.raises(LensFileError, match=r"0001\.json"):
        newest_lens(tmp_path, "cam")


@pytest.mark.parametrize("name", ["../x", "A", "", ".hidden"])
def test_what_is_no_camera_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LensStoreError, match="not a camera name"):
        lens_folder(tmp_path, name)


def test_a_folder_that_cannot_be_made_is_one_clear_error(
    tmp_path: Path, solution: LensSolution
) -> None:
    (tmp_path / "cam").write_text("in the way")
    with pytest.raises(AllskyError, match="cannot write into"):
        save_lens(tmp_path, "cam", solution)
