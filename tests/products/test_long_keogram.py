"""Keograms of many nights: from stored columns, with nights missing and damaged."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from allsky360.archive import Archive
from allsky360.config import Settings
from allsky360.products.grow import grow_night
from allsky360.products.long_keogram import (
    BINS,
    NightColumn,
    NoKeograms,
    collect,
    draw_long_keogram,
    night_column,
    write_long_keogram,
)
from allsky360.products.registry import NoSuchProduct, growers_for
from tests.products.nights import CAMERA, EVENING, NIGHT, SITE, Night


def test_a_nights_column_stands_at_its_hours() -> None:
    begins = SITE.noon_utc(NIGHT)
    times = [begins + timedelta(hours=6, seconds=30 * k) for k in range(480)]  # 18 to 22 h local
    columns = np.zeros((480, 10, 3), np.uint8)
    columns[:, 3:7] = 80  # within 45 degrees of the zenith
    columns[:, 3:7, 2] = np.linspace(0, 250, 480).astype(np.uint8)[:, None]
    data = {
        "columns": columns,
        "time": np.array([t.replace(tzinfo=None) for t in times], "datetime64[us]"),
        "exposure_s": np.full(480, 20.0),
        "altitude_deg": np.array([9, 27, 44, 63, 81, 81, 63, 44, 27, 9.0]),
    }
    column = night_column(data, begins)
    hours = (np.arange(BINS) + 0.5) * 24 / BINS
    inside = (hours > 6.03) & (hours < 9.97)
    assert not column.gap[inside].any()
    assert column.gap[(hours < 5.95) | (hours > 10.05)].all()
    assert (column.colours[inside, 0] == 80).all()
    expected = np.interp(hours[inside], [6, 10], [0, 250])
    assert np.abs(column.colours[inside, 2] - expected).max() < 3


def test_it_is_drawn_of_the_nights_that_are_there(tmp_path: Path) -> None:
    night = Night(tmp_path, lambda index, start: np.full((60, 80, 3), 100, np.uint8))
    night.take(5)
    night.process(*range(5))
    settings = Settings()
    growers = growers_for(settings.products, ["keogram"])
    grow_night(tmp_path, CAMERA, NIGHT, settings, growers=growers, closed=True)
    archive = Archive(tmp_path)
    columns = collect(archive, CAMERA, date.min, date.max)
    assert list(columns) == [NIGHT]
    with pytest.raises(NoKeograms, match="products make"):
        collect(archive, CAMERA, date(2000, 1, 1), date(2000, 1, 2))
    picture = draw_long_keogram(columns, title="x", site=SITE)
    assert picture.shape[0] > BINS
    (tmp_path / CAMERA / NIGHT.isoformat() / "v0001/products/keogram.npz").write_bytes(b"no")
    with pytest.raises(NoKeograms):
        collect(archive, CAMERA, date.min, date.max)


def test_missing_nights_are_gaps(tmp_path: Path) -> None:
    bright = NightColumn(np.full((BINS, 3), 200, np.uint8), np.zeros(BINS, bool))
    columns = {date(2026, 1, 1): bright, date(2026, 1, 4): bright}
    picture = draw_long_keogram(columns, title="x", site=None)
    row = picture[52 + 300, 64 : 64 + 160].max(axis=1)
    assert (row[2:38] == 200).all()
    assert (row[42:118] < 100).all()
    assert (row[122:158] == 200).all()
    write_long_keogram(tmp_path / "long.png", picture)
    assert Image.open(tmp_path / "long.png").size == picture.shape[1::-1]


def test_products_have_names() -> None:
    settings = Settings(products={"stack": {"enabled": False}})  # type: ignore[arg-type]
    assert "stack" not in [g.name for g in growers_for(settings.products)]
    with pytest.raises(NoSuchProduct, match=r"products\.stack\.enabled"):
        growers_for(settings.products, ["stack"])
    with pytest.raises(NoSuchProduct, match="keogram"):
        growers_for(settings.products, ["nonsense"])
    assert datetime(2026, 1, 1, tzinfo=EVENING.tzinfo) < EVENING
