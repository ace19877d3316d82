"""The examples of docs/archive.md run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from allsky360.archive import Axis, ProcessedWriter, RawWriter, Row
from allsky360.model import Site
from tests.archive.conftest import EVENING, make_bracket

PAGE = Path(__file__).parents[2] / "docs" / "archive.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_example_runs_without_our_code(tmp_path: Path, site: Site, number: int) -> None:
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    brackets = [make_bracket(k) for k in range(3)]
    magnitude = np.array([-1.44, -0.62], np.float32)
    hip = np.array([32349, 30438], np.int32)
    stars = Axis("star", {"star": (hip, {}), "star_v_mag": (magnitude, {"units": "mag"})})
    cells = Axis("cell", {"cell": (np.arange(3, dtype=np.int32), {})})
    refs = [writer.append(b, {}) for b in brackets]  # the night stays open
    for ref in (refs[0], refs[2]):  # the middle frame is not processed yet
        ProcessedWriter(tmp_path, ref.camera, ref.night).write(
            ref,
            time=EVENING + timedelta(seconds=20 * ref.index),
            linear=np.full((4, 5, 3), ref.index + 0.5, np.float32),
            picture_jpeg=b"\xff\xd8\xff\xd9",
            scalars={},
            provenance={},
            rows={
                "star_flux": Row(
                    stars, np.array([ref.index + 0.25, 0], np.float32), {"units": "adu s-1"}
                ),
                "cloud_chance": Row(cells, np.array([0, 0, 0.125], np.float32), {"units": "1"}),
            },
        )
    assert "allsky360" not in EXAMPLES[number]
    result = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", EXAMPLES[number]],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path / "sim-camera-1" / "2026-11-22",
    )
    writer.close()
    assert result.returncode == 0, result.stderr
    if number == 0:
        assert "2026-11-22T21:00:40" in result.stdout
        assert f"{int(brackets[2].exposures[0].pixels.max())} RGGB" in result.stdout
    elif number == 2:
        assert "[0.25  nan 2.25] adu s-1 -1.44" in result.stdout
        assert "0.125" in result.stdout
    else:
        assert "[2.5 2.5 2.5]" in result.stdout
