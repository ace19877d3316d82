"""``--frames`` of ``allsky360 process``."""

from __future__ import annotations

import pytest
import typer

from allsky360.cli.process import _slice


@pytest.mark.parametrize(
    ("text", "wanted"), [("2:5", [2, 3, 4]), ("7", [7]), (":2", [0, 1]), ("8:", [8, 9])]
)
def test_frames(text: str, wanted: list[int]) -> None:
    assert list(range(10))[_slice(text)] == wanted


@pytest.mark.parametrize("text", ["x", "1:2:3", "-1", "3:1", "2:2", ":0", "1.5"])
def test_frames_that_name_none_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"is not A:B|names no frame"):
        _slice(text)
