from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allsky360.camera.black import BlackLevel
from allsky360.camera.circle import Circle
from allsky360.camera.control import Memory
from allsky360.clock import REAL_CLOCK
from allsky360.model import Exposure
from allsky360.owner.metering import AGREEING, SEEK_EVERY, Metering
from allsky360.owner.remember import Remembered, load, save
from tests.owner.fakes import SITE, Abilities, make_settings

NOW = datetime(2026, 1, 12, 1, tzinfo=UTC)
RNG = np.random.default_rng(5)


def fisheye(radius: float, level: float = 8000.0) -> Exposure:
    y, x = np.indices((200, 300))
    inside = np.hypot(x - 150, y - 100) < radius
    px = RNG.normal(np.where(inside, level, 480.0), 10.0).astype(np.uint16)
    return Exposure(px, "RGGB", NOW, 1.0, gain=0.0, camera="Fake")


def metering(root: Path, **more: Any) -> Metering:
    found = Metering(make_settings(root, **more), SITE, REAL_CLOCK)
    found.meet("Fake", Abilities())
    return found


def test_the_dark_border_does_not_count(tmp_path: Path) -> None:
    m = metering(tmp_path, camera={"black_level_adu": 480.0})
    plan, _ = m.plan()
    scalars = m.learn([fisheye(60.0)], plan)  # the circle covers a fifth of the frame
    assert scalars["level"] == pytest.approx((8000 - 480) / (65535 - 480), rel=0.01)


def test_pedestal_is_learned_from_the_border(tmp_path: Path) -> None:
    m = metering(tmp_path)
    plan, _ = m.plan()
    assert m.learn([fisheye(80.0)], plan)["level"] == pytest.approx(7520 / 65535, rel=0.02)


def test_a_sensor_of_other_proportions_has_another_circle(tmp_path: Path) -> None:
    m = metering(tmp_path)
    plan, _ = m.plan()
    m.learn([fisheye(80.0)], plan)
    other = fisheye(80.0)
    m.learn([replace(other, pixels=other.pixels[:, 50:250].copy())], plan)
    assert m._circle is not None
    assert m._circle.x == pytest.approx(0.5, abs=0.02)


def test_a_remembered_circle_is_checked_at_once(tmp_path: Path) -> None:
    m = metering(tmp_path)
    plan, _ = m.plan()
    m.learn([fisheye(80.0)], plan)
    m.remember()
    again = metering(tmp_path)
    for _ in range(AGREEING):
        again.learn([fisheye(50.0)], plan)
    assert again._circle is not None
    assert again._circle.radius * 200 == pytest.approx(50, abs=4)


def test_a_circle_is_not_given_up_for_one_odd_frame(tmp_path: Path) -> None:
    m = metering(tmp_path)
    plan, _ = m.plan()
    m.learn([fisheye(80.0)], plan)
    for _ in range(SEEK_EVERY - 1):
        m.learn([fisheye(80.0)], plan)
    m.learn([fisheye(50.0)], plan)  # looked at, differs, not believed
    m.learn([fisheye(80.0)], plan)
    assert m._circle is not None
    assert m._circle.radius * 200 == pytest.approx(80, abs=4)
    for _ in range(SEEK_EVERY + AGREEING):  # another lens
        m.learn([fisheye(50.0)], plan)
    assert m._circle.radius * 200 == pytest.approx(50, abs=4)


def test_camera_limits_reach_the_plan(tmp_path: Path) -> None:
    m = metering(tmp_path)
    m.meet("Other", Abilities((0.0, 0.25), None))
    plan, times = m.plan()
    assert plan.exposure_s == 0.25
    assert times == (0.25,)
    assert plan.gain == 0.0


def remembered(**more: Any) -> Remembered:
    memory = Memory(
        sky=-3.5,
        settled=True,
        sun_altitude_deg=-20.0,
        total=1.5,
        black=BlackLevel(0.0073, 1e-4),
    )
    return Remembered(**{"when": NOW, "camera": "Fake", "memory": memory, "circle": None, **more})


def test_memory_survives_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "camera" / "memory.json"
    save(path, remembered(circle=Circle(0.75, 0.5, 0.4)))
    back = load(path, "Fake", NOW + timedelta(minutes=1), black_known=False)
    assert back is not None
    assert back.memory.sky == -3.5
    assert back.memory.settled
    assert back.memory.black.value == 0.0073
    assert back.circle == Circle(0.75, 0.5, 0.4)
    assert not path.with_name("memory.json.new").exists()


def test_old_memory_is_a_hint_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    save(path, remembered())
    for when in (NOW + timedelta(hours=9), NOW - timedelta(hours=9)):  # or a clock set back
        back = load(path, "Fake", when, black_known=True)
        assert back is not None
        assert not back.memory.settled
        assert back.memory.black == BlackLevel.start(True)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", '{"camera": "Fake"}', '{"camera": "Fake", "when": 5}', "\x00"],
)
def test_unusable_memory_is_ignored(tmp_path: Path, text: str) -> None:
    path = tmp_path / "memory.json"
    path.write_text(text)
    assert load(path, "Fake", NOW, black_known=False) is None


def test_memory_of_another_camera_or_of_no_numbers_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    save(path, remembered())
    assert load(path, "Other", NOW, black_known=False) is None
    path.write_text(path.read_text().replace("-3.5", "NaN"))
    assert load(path, "Fake", NOW, black_known=False) is None
