"""The guides say what the code does: profiles, filters, keywords, defaults and pictures."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from allsky360.config import ProcessingSettings
from allsky360.config_filters import FilterSettings
from allsky360.imaging.filters.registry import FILTERS

DOCS = Path(__file__).parents[3] / "docs"
GUIDES = ("POSTPROCESSING.md", "HDR-FUSION.md", "performance.md")
PAGE = (DOCS / "POSTPROCESSING.md").read_text()


def test_the_profiles_are_the_defaults() -> None:
    block = next(b for b in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "day = [" in b)
    told = tomllib.loads(block)["processing"]["profiles"]
    profiles = ProcessingSettings().profiles
    for name in type(profiles).model_fields:
        assert tuple(told[name]) == getattr(profiles, name), name


def test_the_examples_are_valid_settings() -> None:
    for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        ProcessingSettings.model_validate(tomllib.loads(block)["processing"])


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_every_filter_is_told_with_its_keywords(name: str) -> None:
    heading = re.search(rf"^### [a-z_, ]*\b{name}\b.*?(?=^##)", PAGE + "\n## ", re.M | re.S)
    assert heading is not None
    if name == "fuse":  # in the other guide
        return
    told = heading.group()
    for keyword in type(getattr(FilterSettings(), name)).model_fields:
        assert f"`{keyword}`" in told, keyword


def test_defaults_in_brackets_are_the_defaults() -> None:
    for name in FILTERS:
        heading = re.search(rf"^### {name}\b.*?(?=^##)", PAGE + "\n## ", re.M | re.S)
        table = getattr(FilterSettings(), name)
        for keyword, value in re.findall(
            r"`(\w+)` \(([\d.]+)\)", heading.group() if heading else ""
        ):
            assert float(getattr(table, keyword)) == float(value), (name, keyword)


def test_pictures_are_there_and_small() -> None:
    shown = {
        p for g in DOCS.glob("*.md") for p in re.findall(r"\]\((pictures/[^)]+)\)", g.read_text())
    }
    kept = {f"pictures/{p.name}" for p in (DOCS / "pictures").iterdir()}
    assert shown == kept
    assert sum(p.stat().st_size for p in (DOCS / "pictures").iterdir()) < 1_500_000
