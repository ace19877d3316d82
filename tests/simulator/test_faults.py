"""The table of knobs, and how they are turned."""

from __future__ import annotations

import pytest

from allsky360.simulator.faults import FAULTS, FaultBoard, FaultError, parse_option


def test_every_knob_is_documented() -> None:
    for name, spec in FAULTS.items():
        assert name == name.lower()
        assert len(spec.description) > 10
        assert "\n" not in spec.description
        if spec.value != 0.0:
            assert spec.meaning


def test_a_count_strikes_that_often() -> None:
    board = FaultBoard()
    board.arm({"alert": 2})
    assert [board.take("alert") for _ in range(3)] == ["Exposure failed"] * 2 + [None]
    board.arm({"alert": -1})
    assert all(board.take("alert") for _ in range(10))
    board.arm({"alert": 0})
    assert board.take("alert") is None


def test_a_switch_stays_on() -> None:
    board = FaultBoard()
    board.arm({"partial-items": True})
    assert board.is_on("partial-items")
    board.take("partial-items")
    assert board.is_on("partial-items")
    board.arm({"partial-items": False})
    assert not board.is_on("partial-items")


def test_actions_are_handed_back_and_not_kept() -> None:
    board = FaultBoard()
    assert board.arm({"crash": 1.5, "late-image": {"count": 2, "value": 9}}) == [("crash", 1.5)]
    assert board.number("late-image") == 9.0
    assert not board.is_on("crash")
    rows = {row["name"]: row for row in board.listing()}
    assert rows["crash"]["struck"] == 1
    assert rows["late-image"]["count"] == 1
    board.arm({"clear": True})
    assert board.value("late-image") is None


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"alrt": 1}, "Did you mean 'alert'"),
        ({"zzz": 1}, "no fault 'zzz'"),
        ({"alert": 3.5}, "3.5 is not its value"),
        ({"alert": -2}, "below -1"),
        ({"alert": {"count": "x"}}, "no whole number"),
        ({"alert": {"count": True}}, "no whole number"),
        ({"alert": {"often": 1}}, "often"),
        ({"late-image": {"value": "soon"}}, "seconds"),
        ({"late-image": {"value": 1e15}}, "seconds"),
        ({"crash": "now"}, "'now' is not its value"),
        ({"crash": [1]}, "is not its value"),
    ],
)
def test_wrong_settings_are_named_and_turn_nothing(wanted: dict[str, object], words: str) -> None:
    board = FaultBoard()
    with pytest.raises(FaultError, match=words):
        board.arm({"stall": 1, **wanted})
    assert board.value("stall") is None


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("alert", True),
        ("alert=3", 3),
        ("alert=3:USB gone", {"count": 3, "value": "USB gone"}),
        ("alert=USB: gone", "USB: gone"),
        ("late-image=2:7.5", {"count": 2, "value": 7.5}),
        ("partial-items=off", False),
        ("partial-items=true", True),
        ("crash=4", 4.0),
        ("wrong-length=-1", -1),
    ],
)
def test_command_line_options(option: str, setting: object) -> None:
    (parsed,) = parse_option(option).values()
    assert parsed == setting
    FaultBoard().arm(parse_option(option))


@pytest.mark.parametrize("option", ["nope", "crash=soon", "late-image=2:soon", "alert=-7"])
def test_wrong_command_line_options(option: str) -> None:
    with pytest.raises(FaultError):
        parse_option(option)
