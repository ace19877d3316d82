"""Settings, registry and functions of the filters say the same."""

from __future__ import annotations

import inspect

import pytest

from allsky360.config_filters import FilterSettings
from allsky360.config_section import DisplayFilter, LinearFilter
from allsky360.imaging.filters.registry import FILTERS

GIVEN = {"mask", "noise", "conditions"}


def test_every_filter_has_its_table_and_no_table_lacks_its_filter() -> None:
    assert set(FilterSettings.model_fields) == set(FILTERS)


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_settings_are_the_keywords(name: str) -> None:
    chosen, table = FILTERS[name], getattr(FilterSettings(), name)
    keywords = inspect.signature(chosen.run).parameters
    settings = {
        k: p.default
        for k, p in keywords.items()
        if p.kind is p.KEYWORD_ONLY and k not in GIVEN | {"state"}
    }
    assert table.model_dump() == settings
    assert chosen.run.__name__ == name == chosen.name
    assert chosen.run.__module__.endswith(f".{name}")
    assert chosen.needs <= GIVEN & set(keywords)
    assert isinstance(table, LinearFilter if chosen.domain == "linear" else DisplayFilter)
    assert ("state" in keywords) == (chosen.measure is not None)
    if chosen.measure is not None:
        measured = set(inspect.signature(chosen.measure).parameters) - {"image"}
        assert measured == chosen.needs | chosen.settings_of_measure
    for field in type(table).model_fields.values():
        assert field.description
