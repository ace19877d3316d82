"""Which nights a text means, and which settings an override changes."""

from __future__ import annotations

import contextlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from allsky360.archive import Archive
from allsky360.config import Settings
from allsky360.config_overrides import parse_overrides, with_overrides
from allsky360.errors import AllskyError, SettingsError
from allsky360.model import Site
from allsky360.reprocess.nights import nights_of
from tests.reprocess.conftest import append_frames

PLAIN = Settings()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    root = tmp_path_factory.mktemp("nights")
    for days in (0, 1, 3):
        append_frames(root, Site("x", 28.8, -17.9), 0, 1, days=days)
    return Archive(root)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2026-11-13", [13]),
        ("2026-11-13..2026-11-14", [13, 14]),
        ("2026-11-14..", [14, 16]),
        ("..2026-11-14", [13, 14]),
        ("latest", [16]),
        ("all", [13, 14, 16]),
        ("2026-11-16, 2026-11-13", [13, 16]),
        ("2026-11-01..2026-12-31", [13, 14, 16]),
    ],
)
def test_texts_name_nights(archive: Archive, text: str, days: list[int]) -> None:
    assert nights_of(archive, text, "Test Cam") == [("test-cam", date(2026, 11, d)) for d in days]


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11", "2026-11-13..x", "2026-13-01..", ","])
def test_anything_else_is_one_clear_error(archive: Archive, text: str) -> None:
    with pytest.raises(AllskyError, match="no night"):
        nights_of(archive, text)


@pytest.mark.parametrize("text", ["2026-11-15", "2025-01-01..2025-02-01"])
def test_nights_the_archive_lacks_are_one_clear_error(archive: Archive, text: str) -> None:
    with pytest.raises(AllskyError, match="holds no night"):
        nights_of(archive, text)


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    found = with_overrides(
        PLAIN,
        parse_overrides(
            [
                "processing.profile=day",
                "processing.filters.clarity.amount=0.1",
                "overlay.burn_in=true",
            ]
        ),
    )
    assert found.processing.profile == "day"
    assert found.processing.filters.clarity.amount == 0.1
    assert found.overlay.burn_in
    back = with_overrides(
        found,
        {
            "processing.profile": PLAIN.processing.profile,
            "processing.filters.clarity.amount": PLAIN.processing.filters.clarity.amount,
            "overlay.burn_in": PLAIN.overlay.burn_in,
        },
    )
    assert back == PLAIN


@pytest.mark.parametrize(
    "text",
    [
        "processing.profil=day",
        "processing.profile=never",
        "processing.jpeg_quality=1000",
        "processing=1",
        "storage.root=/",
        "processing.profile.x=1",
        "nothing",
        "=1",
    ],
)
def test_wrong_overrides_are_one_clear_error(text: str) -> None:
    with pytest.raises(SettingsError):
        with_overrides(PLAIN, parse_overrides([text]))


@settings_of_hypothesis(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=3))
def test_no_text_breaks_the_overrides(texts: list[str]) -> None:
    with contextlib.suppress(SettingsError):
        with_overrides(PLAIN, parse_overrides(texts))
