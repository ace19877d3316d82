"""A small night for fuzzing: one file of it is replaced, then everything that reads it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from allsky360.alarms import ledger
from allsky360.api.paging import decode
from allsky360.archive import Archive, FrameRef, ProcessedWriter, verify_night
from allsky360.archive.columns import open_night
from allsky360.archive.journal import faults_between, journal_path
from allsky360.archive.products import ProductRecord, product_file, read_products
from allsky360.archive.removed import removed
from allsky360.archive.rows import Axis, Row
from allsky360.archive.versions import VersionRecord, read_record, versions, write_record
from allsky360.errors import AllskyError
from allsky360.lens_history import read_history
from allsky360.model import Site
from allsky360.objects.push import _load_state
from allsky360.overlay.files import read_lens
from allsky360.owner.remember import load
from allsky360.products.account import Account

NIGHT = date(2026, 11, 22)
DUSK = datetime(2026, 11, 22, 20, tzinfo=UTC)
SITE = Site("La Palma", 28.7606, -17.8816, 2396.0)


class Night:
    """A night written by the real writers."""

    def __init__(self, folder: Path) -> None:
        from tests.api.conftest import House
        from tests.api.sky_house import add_product

        self.root = folder / "archive"
        house = House(self.root, SITE)
        stars = Axis("star", {"star": (np.arange(5, dtype=np.int32), {"units": ""})})
        for k in range(2):
            ref = house.capture(DUSK + timedelta(minutes=k), size=(8, 12))
            ProcessedWriter(self.root, ref.camera, ref.night).write(
                ref,
                time=house.brackets[ref].start,
                linear=np.zeros((4, 6, 3), np.float32),
                picture_jpeg=b"\xff\xd8\xff\xd9",
                scalars={"cloud_fraction": 0.1},
                provenance={"software": "test"},
                rows={"star_flux": Row(stars, np.ones(5, np.float32), {"units": "s-1"})},
            )
        add_product(house, ref, b"video")
        house.close()
        self.camera = ref.camera
        self.folder = self.root / ref.camera / NIGHT.isoformat()
        record = VersionRecord("v0001", DUSK, "abc", {"a": 1}, {"software": "x"}, None, DUSK, 2)
        write_record(self.folder, record)
        (self.folder / "current.json").write_text('{"version": "v0001"}')
        (self.folder / "removed.json").write_text(f'{{"pictures": "{DUSK.isoformat()}"}}')
        self.files = sorted(
            str(p.relative_to(self.folder))
            for p in self.folder.rglob("*")
            if p.is_file() and p.suffix != ".jpg" and not p.name.startswith(".")
        )
        self._good = {name: (self.folder / name).read_bytes() for name in self.files}

    def seeds(self) -> list[bytes]:
        """Each file under its name; of many alike only some."""
        return [n.encode() + b"\n" + self._good[n] for n in self.files]

    def run(self, data: bytes) -> None:
        """Replace one file, read everything, put it back."""
        name, _, content = data.partition(b"\n")
        text = name.decode("latin-1")
        text = text if text in self._good else self.files[sum(name) % len(self.files)]
        path = self.folder / text
        path.write_bytes(content)
        try:
            for read in self._readers(content):
                try:
                    read()
                except AllskyError:
                    continue
        finally:
            path.write_bytes(self._good[text])

    def _readers(self, content: bytes) -> list[Callable[[], object]]:
        archive, camera = Archive(self.root), self.camera
        ref = FrameRef(camera, NIGHT, 1)

        def view() -> None:
            found = open_night(self.root, camera, NIGHT)
            if found is not None:
                for name in sorted(found.names):
                    found.attributes(name)
                    found.measured(name)

        def products() -> None:
            for record in read_products(self.root, camera, NIGHT, "v0001"):
                for file in record.files:
                    product_file(self.root, record, file.path)

        pixels: list[Callable[[], object]] = [
            lambda: archive.bracket(ref),
            lambda: archive.longest_exposure(ref),
            lambda: archive.linear(ref),
            lambda: verify_night(self.folder, deep=True),
        ]
        return [
            *(pixels if len(content) % 4 == 0 else ()),  # they take most of the time
            lambda: archive.frames(camera, NIGHT),
            archive.latest,
            lambda: archive.unprocessed(camera, NIGHT),
            lambda: archive.record(ref),
            lambda: archive.site(camera, NIGHT),
            lambda: archive.row(ref, "star_flux"),
            lambda: archive.stored_row(ref, "star_flux"),
            lambda: archive.course(camera, NIGHT, "star_flux", 2),
            lambda: archive.elements(camera, NIGHT, "star_flux"),
            lambda: archive.commits(camera, NIGHT),
            lambda: verify_night(self.folder, deep=False),
            lambda: removed(self.folder),
            lambda: versions(self.folder),
            lambda: read_record(self.folder, "v0001"),
            view,
            products,
        ]


@dataclass(frozen=True)
class Keeper:
    """A small file that a part keeps, and how it reads it; what is no error there is none here."""

    name: str
    seed: bytes
    read: Callable[[bytes], object]


def keepers(folder: Path) -> list[Keeper]:
    """List the small files of the parts."""
    from tests.api.conftest import House
    from tests.api.sky_house import add_product

    house = House(folder / "keepers", SITE)
    ref = house.capture(DUSK, size=(16, 24))
    product = add_product(house, ref, b"video").parent / "timelapse.json"
    house.close()
    known = ledger.Known(ledger.Trouble("backlog", "9 frames wait"), DUSK, DUSK, None)
    begun = VersionRecord("v0001", DUSK, "abc", {"a": 1}, {"software": "x"}, None, DUSK, 2)
    memory = {
        "when": DUSK.isoformat(), "camera": "c", "sky": 1.5, "settled": True, "total": 2.0,
        "sun_altitude_deg": -20.0, "black": 0.01, "black_sigma": 0.001, "circle": [9, 9, 8],
    }  # fmt: skip
    fault = {"time": DUSK.isoformat(), "camera": "c", "name": "timeout", "message": "late"}
    night = {"night": "2026-11-22", "solved": False}
    history = folder / "cam" / "lens" / "history.json"
    overlay = {"lens": {"projection": "equidistant", "width": 144, "height": 96}}
    state = {"url": "s3://b/f", "files": {"cam/2026-11-22/a": [5, 6]}}

    def through(path: Path, read: Callable[[], object]) -> Callable[[bytes], object]:
        path.parent.mkdir(parents=True, exist_ok=True)

        def put(data: bytes) -> object:
            path.write_bytes(data)
            return read()

        return put

    def told(read: Callable[[object], object]) -> Callable[[bytes], object]:
        def parsed(data: bytes) -> object:
            try:
                return read(json.loads(data))
            except (ValueError, KeyError, TypeError, AttributeError):  # as those who read them do
                return None

        return parsed

    day = timedelta(days=1)
    return [
        Keeper("ledger", json.dumps(ledger.to_json({"backlog": known})).encode(),
               told(ledger.from_json)),
        Keeper("product", product.read_bytes(), told(ProductRecord.from_json)),
        Keeper("version", json.dumps(begun.to_json()).encode(), told(VersionRecord.from_json)),
        Keeper("exposure", json.dumps(memory).encode(),
               through(folder / "exposure-control.json",
                       lambda: load(folder / "exposure-control.json", "c", DUSK, False))),
        Keeper("faults", json.dumps(fault).encode() + b"\n",
               through(journal_path(folder),
                       lambda: faults_between(folder, DUSK - day, DUSK + day))),
        Keeper("history", json.dumps({"nights": [night]}).encode(),
               through(history, lambda: read_history(folder, "cam"))),
        Keeper("overlay", json.dumps(overlay).encode(),
               through(folder / "o.json", lambda: read_lens(folder / "o.json"))),
        Keeper("pushed", json.dumps(state).encode(),
               through(folder / ".pushed.json", lambda: _load_state(folder, "s3://b/f"))),
        Keeper("account", json.dumps(Account().to_json()).encode(), told(Account.from_json)),
        Keeper("cursor", b"WyJjIiwgIjIwMjYtMTEtMjIiLCAwLCAidGltZSJd",
               lambda data: decode(data.decode("latin-1"))),
    ]  # fmt: skip
