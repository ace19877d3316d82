"""Any sequence of append, crash, reopen, process, reprocess and read keeps every stored frame."""

from __future__ import annotations

import shutil
import tempfile
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from allsky360.archive import Archive, FrameRef, ProcessedWriter, RawWriter, verify_night
from allsky360.model import Site
from tests.archive.conftest import EVENING, make_bracket

NIGHT = date(2026, 11, 22)
CAMERA = "sim-camera-1"
SITE = Site("s", 28.76, -17.88)


class Night(RuleBasedStateMachine):
    """The archive beside a plain list of what was acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="archive-"))
        self.folder = self.root / CAMERA / NIGHT.isoformat()
        self.writer: RawWriter | None = RawWriter(self.root, "Sim Camera 1", SITE)
        self.reader = Archive(self.root)
        self.stored: list[tuple[int, int, dict[str, float]]] = []
        self.done: dict[int, float] = {}
        self.number = 0

    def teardown(self) -> None:
        if self.writer is not None:
            self.writer.close()
        shutil.rmtree(self.root)

    def bracket(self, number: int, exposures: int) -> object:
        start = EVENING + timedelta(seconds=number)
        return make_bracket(number, exposures=exposures, shape=(8, 9), start=start)

    @precondition(lambda self: self.writer is not None)
    @rule(exposures=st.integers(1, 3), name=st.sampled_from([None, "level", "wind_s"]))
    def append(self, exposures: int, name: str | None) -> None:
        assert self.writer is not None
        scalars = {name: float(self.number)} if name else {}
        ref = self.writer.append(self.bracket(self.number, exposures), scalars)  # type: ignore[arg-type]
        assert ref == FrameRef(CAMERA, NIGHT, len(self.stored))
        self.stored.append((self.number, exposures, scalars))
        self.number += 1

    @precondition(lambda self: self.writer is not None and self.stored)
    @rule(exposures=st.integers(1, 3), closed=st.booleans())
    def crash_before_the_marker(self, exposures: int, closed: bool) -> None:
        """Everything of a frame reached the disk except the file that announces it."""
        assert self.writer is not None
        marker = self.folder / "raw.zarr" / "zarr.json"
        before = marker.read_bytes()
        self.writer.append(self.bracket(self.number, exposures), {"lost_s": 1.0})  # type: ignore[arg-type]
        self.number += 1
        if closed:  # the arrays' own metadata went on, too
            self.writer.close()
        else:
            self.writer._lock.close()  # as the kernel does for a dead process
        marker.write_bytes(before)
        self.writer = None

    @precondition(lambda self: self.writer is None)
    @rule()
    def reopen(self) -> None:
        self.writer = RawWriter(self.root, "Sim Camera 1", SITE)

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), value=st.integers(0, 1000))
    def process(self, data: st.DataObject, value: int) -> None:
        index = data.draw(st.integers(0, len(self.stored) - 1))
        ProcessedWriter(self.root, CAMERA, NIGHT).write(
            FrameRef(CAMERA, NIGHT, index),
            time=EVENING + timedelta(seconds=self.stored[index][0]),
            linear=np.full((4, 5, 3), value, np.float32),
            picture_jpeg=b"\xff\xd8" + str(value).encode() + b"\xff\xd9",
            scalars={"stars": float(value)},
            provenance={},
        )
        self.done[index] = float(value)

    @invariant()
    def every_acknowledged_frame_is_there(self) -> None:
        for archive in (self.reader, Archive(self.root)):
            records = archive.frames(CAMERA, NIGHT)
            assert len(records) == len(self.stored)
            for record, (number, exposures, scalars) in zip(records, self.stored, strict=True):
                assert record.time == EVENING + timedelta(seconds=number)
                assert len(record.exposures_s) == exposures
                for name in ("level", "wind_s", "lost_s"):
                    assert record.scalars.get(name) == scalars.get(name)
                assert record.processed == (record.ref.index in self.done)
                assert record.scalars.get("stars") == self.done.get(record.ref.index)
        missing = [r.index for r in self.reader.unprocessed(CAMERA, NIGHT)]
        assert missing == [i for i in range(len(self.stored)) if i not in self.done]

    @precondition(lambda self: self.stored)
    @rule()
    def read_everything(self) -> None:
        for index, (number, exposures, _) in enumerate(self.stored):
            got = self.reader.bracket(FrameRef(CAMERA, NIGHT, index))
            for a, b in zip(got.exposures, self.bracket(number, exposures).exposures, strict=True):  # type: ignore[attr-defined]
                np.testing.assert_array_equal(a.pixels, b.pixels)
        ds = xr.open_zarr(self.folder / "raw.zarr")
        assert ds.sizes["time"] == len(self.stored)
        bad = [p for p in verify_night(self.folder) if p.severity != "info"]
        assert not bad, bad


Night.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestNight = pytest.mark.slow(Night.TestCase)
