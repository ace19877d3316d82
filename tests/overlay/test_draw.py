from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image

from allsky360.model import Site
from allsky360.overlay import (
    OverlayError,
    OverlayOptions,
    OverlayScene,
    burn_in,
    layout,
    to_png,
    to_png_layer,
    to_svg,
)
from allsky360.overlay.draw import dashes
from allsky360.overlay.files import read_lens, write_overlay
from allsky360.overlay.scene import Mark, Polyline, Text
from allsky360.overlay.style import STYLES
from allsky360.overlay.text import mask, width_px
from allsky360.sky.constellations import constellations
from allsky360.sky.lens import fisheye
from allsky360.sky.names import star_names

SITE = Site("Gipfel <&>", 28.7606, -17.8816, 2326.0)
WHEN = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
LENS = fisheye(700, 600, rotation_deg=20.0)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def scene() -> OverlayScene:
    return layout(LENS, SITE, WHEN, OverlayOptions(ecliptic=True, altaz_grid=True))


def bare(**parts: object) -> OverlayScene:
    fields = {"lines": (), "marks": (), "texts": ()} | parts
    return OverlayScene(100, 80, 1.0, **fields)  # type: ignore[arg-type]


def test_an_empty_scene_is_all_transparent_and_burns_nothing() -> None:
    assert not to_png_layer(bare()).any()
    picture = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    assert (burn_in(picture, bare()) == picture).all()


def test_a_line_lies_where_its_points_say_in_its_colour() -> None:
    line = Polyline("meridian", np.array([[10.0, 20.25], [90.0, 20.25]]))
    layer = to_png_layer(bare(lines=(line,)))
    rows = layer[:, 30:70, 3].astype(float).sum(axis=1)
    assert (rows * np.arange(80)).sum() / rows.sum() == pytest.approx(20.25, abs=0.1)
    solid = layer[20, 30:70]
    assert np.abs(solid[:, :3].astype(int) - STYLES["meridian"].colour).max() <= 3
    assert not layer[:, :8].any()
    assert not layer[:18].any()


def test_a_ring_is_centred_on_its_point_and_open() -> None:
    layer = to_png_layer(bare(marks=(Mark("star", 50.3, 40.7, 10.0, "x"),)))[..., 3].astype(float)
    y, x = np.mgrid[:80, :100]
    assert (layer * x).sum() / layer.sum() == pytest.approx(50.3, abs=0.1)
    assert (layer * y).sum() / layer.sum() == pytest.approx(40.7, abs=0.1)
    radius = np.hypot(x - 50.3, y - 40.7)
    assert layer[radius < 7].max() == 0
    assert (layer * radius).sum() / layer.sum() == pytest.approx(10.0, abs=0.3)


def test_text_fills_its_box_and_not_more() -> None:
    width = width_px("Sirius", 20.0, False)
    text = Text("star", "Sirius", 20.0, 50.0, 20.0, width, (18.0, 33.0, 22.0 + width, 56.0))
    alpha = to_png_layer(bare(texts=(text,)))[..., 3]
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    assert rows.min() >= 33
    assert rows.max() <= 56
    assert 17 <= columns.min() <= 23
    assert abs(columns.max() - (20 + width)) < 4


def test_text_and_marks_over_the_edge_are_cut() -> None:
    width = width_px("Sirius", 20.0, False)
    for x, y in ((-20.0, 10.0), (80.0, 95.0), (200.0, 200.0), (-200.0, 40.0)):
        text = Text("star", "Sirius", x, y, 20.0, width, (0.0, 0.0, 1.0, 1.0))
        assert to_png_layer(bare(texts=(text,), marks=(Mark("sun", x, y, 5.0),))).shape == (
            80,
            100,
            4,
        )


def test_burning_in_equals_laying_the_layer_over_the_picture(scene: OverlayScene) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    before = picture.copy()
    out = burn_in(picture, scene)
    assert (picture == before).all()
    layer = Image.fromarray(to_png_layer(scene), "RGBA")
    base = Image.fromarray(picture).convert("RGBA")
    want = np.asarray(Image.alpha_composite(base, layer))[..., :3]
    off = np.abs(out.astype(int) - want)
    assert off.max() <= 3
    assert (off > 1).mean() < 1e-3
    untouched = to_png_layer(scene)[..., 3] == 0
    assert 0.7 < untouched.mean() < 0.99
    assert (out[untouched] == picture[untouched]).all()


def test_burning_in_works_on_views_and_refuses_other_sizes(scene: OverlayScene) -> None:
    picture = np.zeros((600, 1400, 3), np.uint8)[:, ::2]
    assert burn_in(picture, scene).any()
    for wrong in (np.zeros((600, 701, 3), np.uint8), np.zeros((600, 700, 3), np.uint16)):
        with pytest.raises(OverlayError, match="700 x 600"):
            burn_in(wrong, scene)  # type: ignore[arg-type]


def test_png_holds_the_layer(scene: OverlayScene) -> None:
    decoded = np.asarray(Image.open(io.BytesIO(to_png(scene))))
    assert (decoded == to_png_layer(scene)).all()


def test_svg_holds_every_item_at_its_place(scene: OverlayScene) -> None:
    root = ElementTree.fromstring(to_svg(scene))
    assert (root.get("width"), root.get("height")) == ("700", "600")
    texts = [
        (t.text, float(t.get("x", "")), float(t.get("y", ""))) for t in root.iter(f"{SVG}text")
    ]
    want = [(t.text, round(t.x, 2), round(t.y, 2)) for t in scene.texts]
    assert sorted(texts) == sorted(want)
    assert "Gipfel <&>" in {t[0] for t in texts}
    circles = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in root.iter(f"{SVG}circle")]
    assert sorted(circles) == sorted((round(m.x, 2), round(m.y, 2)) for m in scene.marks)
    titles = {t.text for t in root.iter(f"{SVG}title")}
    assert titles == {m.name for m in scene.marks}
    assert len(list(root.iter(f"{SVG}polyline"))) == len(scene.lines)
    groups = {g.get("class", "") for g in root.iter(f"{SVG}g")}
    assert {"line constellation", "mark star", "text star", "text cardinal"} <= groups


def test_every_name_has_glyphs_in_both_fonts() -> None:
    letters = {c for s in star_names().values() for c in s.label + s.designation}
    letters |= {c for f in constellations() for c in f.name + f.name.upper()}
    letters |= set("0123456789+−°′″%:. h") - {" "}
    letters.discard(" ")
    for bold in (False, True):
        missing, _ = mask("\U0010fffd", 40.0, bold, 0)
        blank = [
            c
            for c in sorted(letters)
            if (m := mask(c, 40.0, bold, 0)[0]).size == 0
            or (m.shape == missing.shape and (m == missing).all())
        ]
        assert blank == []


def test_dashes_cover_their_share_of_the_line() -> None:
    line = np.array([[0.0, 0.0], [30.0, 0.0], [30.0, 40.0]])
    pieces = dashes(line, 8.0, 6.0)
    lengths = [np.hypot(*np.diff(p, axis=0).T).sum() for p in pieces]
    assert len(pieces) == 5
    assert lengths == pytest.approx([8.0] * 5)
    assert any(len(p) == 3 for p in pieces)  # one goes round the corner


def test_files(tmp_path: Path, scene: OverlayScene) -> None:
    picture = np.full((600, 700, 3), 40, np.uint8)
    for name, base in (("a.svg", None), ("a.png", None), ("b.png", picture), ("b.JPG", picture)):
        write_overlay(tmp_path / name, scene, base)
    write_overlay(tmp_path / "grey.png", scene, picture[..., 0])
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag == f"{SVG}svg"
    assert cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED).shape == (600, 700, 4)
    burnt = np.asarray(Image.open(tmp_path / "b.png"))
    assert (burnt == burn_in(picture, scene)).all()
    assert Image.open(tmp_path / "b.JPG").size == (700, 600)
    assert (np.asarray(Image.open(tmp_path / "grey.png")) == burnt).all()
    for name, base, reason in (
        ("a.gif", picture, "a.gif"),
        ("a.jpg", None, "without the picture"),
        ("c.png", picture.astype(np.uint16), "8-bit"),
        ("no/c.svg", None, "no/c.svg"),
    ):
        with pytest.raises(OverlayError, match=reason):
            write_overlay(tmp_path / name, scene, base)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a.png",
        "a.svg",
        "b.JPG",
        "b.png",
        "grey.png",
    ]


def test_lens_files(tmp_path: Path) -> None:
    flat, nested, bad = tmp_path / "flat.json", tmp_path / "nested.json", tmp_path / "bad.json"
    flat.write_text(json.dumps(LENS.as_dict()))
    nested.write_text(json.dumps({"format": 1, "lens": LENS.as_dict()}))
    assert read_lens(flat) == read_lens(nested) == LENS
    for content in ("{", "[]", '{"width": 3}', '{"lens": 4}'):
        bad.write_text(content)
        with pytest.raises(OverlayError, match=r"bad\.json"):
            read_lens(bad)
    with pytest.raises(OverlayError, match="none"):
        read_lens(tmp_path / "none.json")


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from allsky360.cli import app

    monkeypatch.setenv("ALLSKY360_SITE__LATITUDE_DEG", "-32.4")
    monkeypatch.setenv("ALLSKY360_SITE__LONGITUDE_DEG", "20.8")
    monkeypatch.setenv("ALLSKY360_OVERLAY__TEXT", "{exposure_s} {time:%H:%M}")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((300, 350, 3), np.uint8)).save("sky.png")
    Path("lens.json").write_text(json.dumps(LENS.as_dict()))
    run = CliRunner()
    base = ["sky", "overlay", "sky.png", "--lens", "lens.json", "--at", "2026-11-22T21:00", "-o"]
    done = run.invoke(app, [*base, "out.svg"])
    assert done.exit_code == 0, done.output
    assert re.search(r">– 21:00<|>21:00<|>[\d.]+ 21:00<", Path("out.svg").read_text())
    assert run.invoke(app, [*base, "layer.png", "--layer"]).exit_code == 0
    assert Image.open("layer.png").mode == "RGBA"
    report = run.invoke(app, ["sky", "now", "--at", "2026-06-21T20:00:00+02:00"])
    assert report.exit_code == 0, report.output
    for words in ("32.4000° S", "2026-06-21 18:00:00 UTC", "Saturn", "astronomical", "dark"):
        assert words in report.output
    wrong = run.invoke(app, ["sky", "now", "--at", "yesterday"])
    assert wrong.exit_code == 2
    assert "ISO 8601" in wrong.output
