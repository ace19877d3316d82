"""Growing a night: order, gaps, late frames, bad frames, failing growers, kills."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from allsky360.archive.durable import TryLock
from allsky360.archive.layout import picture_path
from allsky360.archive.products import (
    ProductFile,
    ProductRecord,
    read_product,
    state_folder,
)
from allsky360.config import Settings
from allsky360.products.frame import ProductFrame
from allsky360.products.grow import GrowReport, ProductsBusy, grow_night
from allsky360.products.grower import Draft, Grower, NightContext
from tests.products.nights import CAMERA, NIGHT, Night

VERSION = "v0001"


class Lister:
    """Notes which frames it saw, in order, and a running hash of their pixels."""

    def __init__(
        self,
        name: str = "lister",
        *,
        takes_late: bool = False,
        refuses: Sequence[int] = (),
        raises: Sequence[int] = (),
        dies: Sequence[int] = (),
        salt: int = 0,
    ) -> None:
        self.name, self.takes_late = name, takes_late
        self.parameters: dict[str, Any] = {"salt": salt}
        self.refuses, self.raises, self.dies = set(refuses), set(raises), set(dies)
        self.seen: list[int] = []
        self.hash = 0

    def open(self, context: NightContext, work: Path, saved: Path | None) -> None:
        self.context = context
        self.seen, self.hash = [], 0
        if saved is not None:
            self.seen, self.hash = json.loads((saved / "seen.json").read_text())

    def add(self, frame: ProductFrame) -> str | None:
        index = frame.ref.index
        if index in self.dies:
            os.kill(os.getpid(), 9)
        if index in self.raises:
            raise RuntimeError(f"cannot bear {index}")
        if index in self.refuses:
            return "not wanted"
        self.seen.append(index)
        mark = int(frame.picture.sum(dtype=np.int64))
        # the order counts, unless frames may come late
        self.hash = self.hash + mark if self.takes_late else (self.hash * 31 + mark) % (1 << 61)
        return None

    def save(self, folder: Path) -> None:
        (folder / "seen.json").write_text(json.dumps([self.seen, self.hash]))

    def finish(self, *, complete: bool) -> list[Draft]:
        file = f"{self.name}.txt"
        (self.context.folder / file).write_text(str(self.hash))
        return [
            Draft("list", self.name, "List", (ProductFile(file, "main", "text/plain"),), {"a": 1})
        ]


def paint(index: int, start: datetime) -> NDArray[np.uint8]:
    rng = np.random.default_rng(index)
    return rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(tmp_path, paint)


def grow(night: Night, *growers: Grower, **options: Any) -> GrowReport:
    settings = Settings(products={"wait_frames": 3})  # type: ignore[arg-type]
    options = {"closed": False} | options
    return grow_night(night.root, CAMERA, NIGHT, settings, growers=growers, **options)


def record(night: Night, name: str = "lister") -> ProductRecord:
    found = read_product(night.root, CAMERA, NIGHT, VERSION, name)
    assert found is not None
    return found


def test_frames_go_in_by_number_whatever_order_they_were_processed_in(night: Night) -> None:
    night.take(6)
    night.process(5, 2, 0, 4)
    one = Lister()
    report = grow(night, one)
    assert one.seen == [0]  # 1 is waited for
    assert not report.complete
    assert report.waiting == 2
    assert record(night).frames.used == 1
    night.process(1, 3)
    grow(night, two := Lister())
    assert two.seen == [0, 1, 2, 3, 4, 5]
    assert record(night).frames.used == 6
    assert not record(night).complete  # the night goes on
    assert grow(night, Lister(), closed=True).complete
    assert record(night).complete


def test_a_missing_frame_is_passed_over_and_comes_late_where_that_is_possible(night: Night) -> None:
    night.take(6)
    night.process(0, 2, 3, 4, 5)
    strict, lax = Lister("strict"), Lister("lax", takes_late=True)
    grow(night, strict, lax)
    assert strict.seen == lax.seen == [0, 2, 3, 4, 5]
    assert [x.index for x in record(night, "lax").frames.left_out] == [1]
    night.process(1)
    report = grow(night, strict := Lister("strict"), lax := Lister("lax", takes_late=True))
    assert lax.seen == [0, 2, 3, 4, 5, 1]
    assert record(night, "lax").frames.left_out == ()
    assert strict.seen == [0, 2, 3, 4, 5]
    assert "too late" in record(night, "strict").frames.left_out[0].reason
    assert report.offered == 1


def test_late_and_in_time_give_the_same(night: Night, tmp_path: Path) -> None:
    night.take(6)
    night.process(0, 2, 3, 4, 5)
    grow(night, Lister(takes_late=True))
    night.process(1)
    grow(night, late := Lister(takes_late=True))
    grow(night, fresh := Lister(takes_late=True), anew=True)
    assert fresh.hash == late.hash
    assert fresh.seen == list(range(6))


def test_a_frame_never_processed_costs_itself_at_the_nights_end(night: Night) -> None:
    night.take(4)
    night.process(0, 1, 3)
    report = grow(night, one := Lister(), closed=True)
    assert one.seen == [0, 1, 3]
    assert not report.complete
    assert report.waiting == 1
    assert not record(night).complete


def test_a_damaged_picture_costs_one_frame(night: Night) -> None:
    night.take(5)
    night.process(*range(5))
    folder = night.root / CAMERA / NIGHT.isoformat()
    cut = picture_path(folder, VERSION, 1)
    cut.write_bytes(cut.read_bytes()[:-100])
    picture_path(folder, VERSION, 2).write_bytes(b"")
    picture_path(folder, VERSION, 3).unlink()
    report = grow(night, one := Lister(), closed=True)
    assert one.seen == [0, 4]
    assert set(report.unusable) == {1, 2, 3}
    assert "cut short" in report.unusable[1]
    assert {x.index for x in record(night).frames.left_out} == {1, 2, 3}


def test_a_grower_that_raises_costs_its_own_frame(night: Night) -> None:
    night.take(4)
    night.process(*range(4))
    bad, good = Lister("bad", raises=[2], refuses=[0]), Lister("good")
    report = grow(night, bad, good)
    assert bad.seen == [1, 3]
    assert good.seen == [0, 1, 2, 3]
    assert report.failed == {}
    reasons = {x.index: x.reason for x in record(night, "bad").frames.left_out}
    assert reasons[0] == "not wanted"
    assert "cannot bear 2" in reasons[2]


def test_a_grower_that_keeps_raising_is_given_up_and_the_others_go_on(night: Night) -> None:
    night.take(8)
    night.process(*range(8))
    report = grow(night, Lister("bad", raises=range(8)), good := Lister("good"))
    assert good.seen == list(range(8))
    assert "cannot bear" in report.failed["bad"]
    assert read_product(night.root, CAMERA, NIGHT, VERSION, "bad") is None


class CannotOpen(Lister):
    def open(self, context: NightContext, work: Path, saved: Path | None) -> None:
        raise OSError("no way in")


class CannotSave(Lister):
    def save(self, folder: Path) -> None:
        raise OSError("no room")


class CannotFinish(Lister):
    def finish(self, *, complete: bool) -> list[Draft]:
        raise ValueError("no end")


@pytest.mark.parametrize(
    ("kind", "words"), [(CannotOpen, "in"), (CannotSave, "room"), (CannotFinish, "end")]
)
def test_what_fails_outside_frames_is_isolated(
    night: Night, kind: type[Lister], words: str
) -> None:
    night.take(3)
    night.process(0, 1, 2)
    report = grow(night, kind("bad"), good := Lister("good"), closed=True)
    assert words in report.failed["bad"]
    assert good.seen == [0, 1, 2]
    assert record(night, "good").complete


def test_a_whole_night_is_not_done_twice(night: Night) -> None:
    night.take(3)
    night.process(0, 1, 2)
    grow(night, Lister(), closed=True)
    before = record(night)
    again = grow(night, Lister(), closed=True)
    assert again.offered == 0
    assert again.products == [before]
    assert again.complete
    kept = state_folder(night.root, CAMERA, NIGHT, VERSION) / "lister"
    assert [p.name for p in kept.iterdir()] == ["saved.json"]
    assert grow(night, Lister(salt=1), closed=True).offered == 3  # other parameters
    (night.root / CAMERA / NIGHT.isoformat() / VERSION / "products" / "lister.json").unlink()
    assert grow(night, Lister(salt=1), closed=True).offered == 3  # its record was lost


def test_one_process_a_night(night: Night) -> None:
    night.take(1)
    night.process(0)
    folder = state_folder(night.root, CAMERA, NIGHT, VERSION)
    folder.mkdir(parents=True)
    lock = TryLock(folder / "lock")
    with pytest.raises(ProductsBusy, match="another process"):
        grow(night, Lister())
    lock.close()
    assert grow(night, Lister()).offered == 1


@pytest.mark.parametrize("damage", ["marker", "content", "folder"])
def test_a_damaged_state_begins_anew(night: Night, damage: str) -> None:
    night.take(3)
    night.process(0, 1, 2)
    grow(night, Lister())
    folder = state_folder(night.root, CAMERA, NIGHT, VERSION) / "lister"
    (saved,) = folder.glob("saved-*")
    if damage == "marker":
        (folder / "saved.json").write_text("{")
    elif damage == "content":
        (saved / "seen.json").write_text("[")
    else:
        (saved / "seen.json").unlink()
        saved.rmdir()
    night.take()
    night.process(3)
    grow(night, one := Lister())
    assert one.seen == [0, 1, 2, 3]
    assert record(night).frames.used == 4


def _grow_until_killed(root: Path, dies: list[int]) -> None:
    settings = Settings(products={"checkpoint_s": 0})  # type: ignore[arg-type]
    growers: list[Grower] = [Lister("a"), Lister("b", dies=dies), Lister("c")]
    grow_night(root, CAMERA, NIGHT, settings, growers=growers, closed=True)


def test_killed_at_any_moment_the_result_is_the_same(night: Night) -> None:
    night.take(9)
    night.process(*range(9))
    for dies in ([3], [4], [8], []):
        process = multiprocessing.get_context("fork").Process(
            target=_grow_until_killed, args=(night.root, dies)
        )
        process.start()
        process.join(60)
        assert process.exitcode == (-9 if dies else 0)
    results = {n: record(night, n) for n in "abc"}
    grow(night, *(fresh := [Lister(n) for n in "abc"]), closed=True, anew=True)
    for lister in fresh:
        before = results[lister.name]
        assert before.complete
        assert before.frames == record(night, lister.name).frames
        assert lister.seen == list(range(9))
    assert len({lister.hash for lister in fresh}) == 1


def test_lens_of_the_picture_follows_its_crop_and_mirroring(night: Night) -> None:
    from allsky360.products.source import picture_geometry

    steps = [["flip", {"horizontal": True}], ["crop", {"left": 10, "top": 4, "width": 20}]]
    about = {
        "exposures": [{"shape": [60, 80]}],
        "parameters": {"profiles": {"clear": steps, "day": []}},
        "steps": [{"name": "tone", "parameters": {"profiles": {"clear": 1.0}}}],
    }
    geometry = picture_geometry(about)
    assert geometry.picture_shape == (56, 20)
    x, y = geometry.affine @ (69.0, 4.0, 1.0)
    assert (x, y) == (0.0, 0.0)  # column 69 of 80, mirrored: 10, cut: 0
