"""The archive's copy on an object store: whole nights only, brought back the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from allsky360.archive import Archive, FrameRef
from allsky360.archive.layout import night_folder
from allsky360.config import Settings
from allsky360.config_objects import ObjectsSettings
from allsky360.model import Site
from allsky360.objects import frame as frame_module
from allsky360.objects import push
from allsky360.objects.frame import fetch_frame, forget_frame
from allsky360.objects.place import ObjectsError, open_place
from allsky360.objects.push import PUSHED, nights_there, pull_night, push_night, rank
from tests.report.conftest import CAMERA, NIGHT, make_night


@pytest.fixture
def place(tmp_path: Path) -> ObjectsSettings:
    return ObjectsSettings(url=(tmp_path / "objects").as_uri())


@pytest.fixture
def archive(tmp_path: Path, site: Site) -> Archive:
    made = make_night(tmp_path / "archive", site, 3)
    products = night_folder(made.root, CAMERA, NIGHT) / "v0001" / "products"
    (products / ".state").mkdir(parents=True)
    (products / ".state" / "inner").write_text("x")
    (products / "keogram.json").write_text("{}")
    (made.root / CAMERA / "lens").mkdir()
    (made.root / CAMERA / "lens" / "0001.json").write_text("{}")
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_a_night_is_copied_once_and_changes_only_again(
    archive: Archive, place: ObjectsSettings, tmp_path: Path, site: Site
) -> None:
    first = push_night(archive.root, CAMERA, NIGHT, place)
    assert (first.there, first.files > 10) == (0, True)
    there = contents(tmp_path / "objects")
    assert f"{CAMERA}/lens/0001.json" in there
    assert not any("/." in k or k.endswith(".lock") for k in there)
    for key, data in there.items():
        assert (archive.root / key).read_bytes() == data
    again = push_night(archive.root, CAMERA, NIGHT, place)
    assert (again.files, again.there) == (0, first.files)
    assert nights_there(place) == [(CAMERA, "2026-11-13", "v0001")]
    (night_folder(archive.root, CAMERA, NIGHT) / "v0001" / "products" / "keogram.json").write_text(
        "[]"
    )
    assert push_night(archive.root, CAMERA, NIGHT, place).files == 1


def test_a_file_that_is_replaced_while_the_night_is_copied_stops_nothing(
    archive: Archive, place: ObjectsSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = night_folder(archive.root, CAMERA, NIGHT) / "v0001" / "pictures" / "000001.jpg"
    listed = push.files_below

    def then_gone(folder: Path) -> list[Path]:
        found = list(listed(folder))
        gone.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(push, "files_below", then_gone)
    assert push_night(archive.root, CAMERA, NIGHT, place).files > 10
    assert gone.relative_to(archive.root).as_posix() not in contents(tmp_path / "objects")


def test_a_night_comes_back_the_same(
    archive: Archive, place: ObjectsSettings, tmp_path: Path
) -> None:
    push_night(archive.root, CAMERA, NIGHT, place)
    back = tmp_path / "back"
    pull_night(back, CAMERA, NIGHT, place)
    other, ref = Archive(back), FrameRef(CAMERA, NIGHT, 1)
    assert other.frames(CAMERA, NIGHT) == archive.frames(CAMERA, NIGHT)
    assert np.array_equal(
        other.bracket(ref).exposures[0].pixels, archive.bracket(ref).exposures[0].pixels
    )
    assert pull_night(back, CAMERA, NIGHT, place).files == 0
    with pytest.raises(ObjectsError, match="has no night"):
        pull_night(back, "other", NIGHT, place)


def test_what_announces_goes_last(archive: Archive, place: ObjectsSettings) -> None:
    """A copy that ends early shows no store and no product whose files are not there."""

    class Store:
        def __init__(self, inner: object, stop_at: int) -> None:
            self.inner, self.left = inner, stop_at

        def put(self, key: str, data: bytes) -> None:
            if rank(Path(key)) >= self.left:
                raise OSError("the line went dead")
            self.inner.put(key, data)  # type: ignore[attr-defined]

    inner = open_place(place)
    for stop_at in (1, 2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("allsky360.objects.push.open_place", lambda _, s=stop_at: Store(inner, s))
            with pytest.raises(ObjectsError, match="the line went dead"):
                push_night(archive.root, CAMERA, NIGHT, place)
        keys = [str(i["path"]) for chunk in inner.list() for i in chunk]
        assert max(rank(Path(k)) for k in keys) == stop_at - 1
    push_night(archive.root, CAMERA, NIGHT, place)  # goes on
    state = json.loads((night_folder(archive.root, CAMERA, NIGHT) / PUSHED).read_text())
    assert state["url"] == place.url


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(frame_module.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def test_a_worker_fetches_one_frame_and_forgets_its_pixels(
    archive: Archive, place: ObjectsSettings, cache: Path, site: Site
) -> None:
    push_night(archive.root, CAMERA, NIGHT, place)
    for index in (2, 0):
        ref = FrameRef(CAMERA, NIGHT, index)
        root = fetch_frame(place, ref)
        found, true = Archive(root).bracket(ref), archive.bracket(ref)
        assert found.start == true.start
        assert np.array_equal(found.exposures[0].pixels, true.exposures[0].pixels)
        assert len(list(root.rglob("raw/c.*"))) == 1
        forget_frame(place, ref)
        assert not list(root.rglob("raw/c.*"))
    with pytest.raises(Exception, match="no frame"):
        Archive(fetch_frame(place, FrameRef(CAMERA, NIGHT, 9))).bracket(FrameRef(CAMERA, NIGHT, 9))


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://x/y"])
def test_a_wrong_url_is_one_clear_error(url: str) -> None:
    with pytest.raises(ObjectsError, match=r"objects\.url"):
        open_place(ObjectsSettings(url=url))


def test_settings_have_the_table() -> None:
    assert Settings().objects.url == ""
