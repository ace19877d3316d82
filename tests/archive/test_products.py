"""Records of products: written last, read back whole, closed to names that lead elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from allsky360.archive import ArchiveError
from allsky360.archive.products import (
    FramesUsed,
    LeftOut,
    ProductFile,
    ProductRecord,
    product_file,
    products_folder,
    read_product,
    read_products,
    state_folder,
    write_product,
)

NIGHT = date(2026, 11, 22)
RECORD = ProductRecord(
    kind="keogram",
    name="keogram",
    title="Keogram",
    camera="cam",
    night=NIGHT,
    version="v0001",
    created_at=datetime(2026, 11, 23, 6, 0, tzinfo=UTC),
    complete=True,
    files=(
        ProductFile("keogram.png", "main", "image/png", width=10, height=20),
        ProductFile("keogram.zarr.zip", "data", "application/zip"),
    ),
    frames=FramesUsed(3, 0, 3, (LeftOut(1, "the picture is damaged"),)),
    parameters={"azimuth_deg": 0.0},
    provenance={"code": "0.1.0"},
)


def _files(root: Path) -> Path:
    folder = products_folder(root, "cam", NIGHT, "v0001")
    folder.mkdir(parents=True)
    (folder / "keogram.png").write_bytes(b"picture")
    (folder / "keogram.zarr.zip").write_bytes(b"data!")
    return folder


def test_a_product_reads_back_as_written_with_the_sizes_of_its_files(tmp_path: Path) -> None:
    _files(tmp_path)
    written = write_product(tmp_path, RECORD)
    assert [f.bytes for f in written.files] == [7, 5]
    assert read_product(tmp_path, "cam", NIGHT, "v0001", "keogram") == written
    assert read_products(tmp_path, "cam", NIGHT, "v0001") == [written]
    main = written.main()
    assert main is not None
    assert product_file(tmp_path, written, main.path) is not None


def test_a_missing_file_is_not_announced(tmp_path: Path) -> None:
    (_files(tmp_path) / "keogram.png").unlink()
    with pytest.raises(ArchiveError, match="keogram"):
        write_product(tmp_path, RECORD)
    assert read_products(tmp_path, "cam", NIGHT, "v0001") == []


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".state", "Ä", "x" * 64])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    _files(tmp_path)
    with pytest.raises(ArchiveError):
        write_product(tmp_path, replace(RECORD, name=name))
    bad = replace(RECORD, files=(ProductFile(f"{name}/..", "main", "image/png"),))
    with pytest.raises(ArchiveError):
        write_product(tmp_path, bad)
    assert read_product(tmp_path, "cam", NIGHT, "v0001", name) is None


def test_a_file_is_found_only_under_a_name_of_the_record(tmp_path: Path) -> None:
    folder = _files(tmp_path)
    written = write_product(tmp_path, RECORD)
    (folder / "secret.txt").write_text("no")
    assert product_file(tmp_path, written, "secret.txt") is None
    assert product_file(tmp_path, written, "../../current.json") is None
    (folder / "keogram.png").unlink()
    (folder / "keogram.png").symlink_to("/etc/passwd")
    assert product_file(tmp_path, written, "keogram.png") is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"kind": "keogram"}'])
def test_a_damaged_record_hides_one_product_and_no_other(tmp_path: Path, damage: bytes) -> None:
    folder = _files(tmp_path)
    written = write_product(tmp_path, RECORD)
    (folder / "other.json").write_bytes(damage)
    assert read_products(tmp_path, "cam", NIGHT, "v0001") == [written]


def test_a_record_with_files_of_another_shape_is_damaged(tmp_path: Path) -> None:
    content = RECORD.to_json()
    content["files"] = [{"path": "x", "colour": "red"}]
    with pytest.raises(ValueError, match="not a product record"):
        ProductRecord.from_json(json.loads(json.dumps(content)))


def test_a_version_cannot_lead_elsewhere(tmp_path: Path) -> None:
    assert state_folder(tmp_path, "cam", NIGHT, "v0002").parts[-3:] == (
        "v0002",
        "products",
        ".state",
    )
    with pytest.raises(ValueError, match="version"):
        products_folder(tmp_path, "cam", NIGHT, "../v0001")
