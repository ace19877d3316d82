"""Products of a night as the service shows them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from pathlib import Path
from urllib.parse import quote

from allsky360.api.addresses import API
from allsky360.api.models_system import ProductFileInfo, ProductInfo
from allsky360.api.problems import NotFound
from allsky360.api.service import Service
from allsky360.api.view import finite
from allsky360.archive.products import (
    ProductRecord,
    product_file,
    products_folder,
    read_product,
    read_products,
)

NAME = r"[a-z0-9][a-z0-9-]{0,62}"


def products_of(service: Service, camera: str, night: date) -> list[ProductInfo]:
    """List the products of the version of a night that readers are shown."""
    version = service.store.version(camera, night)
    records = read_products(service.store.root, camera, night, version)
    return [product_info(record) for record in records]


def product_names(service: Service, camera: str, night: date) -> list[str]:
    """Names of the products of a night, without opening their records."""
    folder = products_folder(
        service.store.root, camera, night, service.store.version(camera, night)
    )
    return sorted(p.stem for p in folder.glob("*.json"))


def need_product(service: Service, camera: str, night: date, name: str) -> ProductRecord:
    """Return one product; refuse what there is not."""
    version = service.store.version(camera, night)
    record = read_product(service.store.root, camera, night, version, name)
    if record is None:
        raise NotFound(
            f"The night {night} has no product {name!r}.",
            mend=f"GET {API}/nights/{night}/products lists them.",
        )
    return record


def need_file(service: Service, record: ProductRecord, name: str) -> tuple[Path, str]:
    """Return a product's file and media type; only what its record names is ever opened."""
    there = product_file(service.store.root, record, name)
    if there is None:
        raise NotFound(
            f"The product {record.name} of {record.night} has no such file.",
            mend="Its record lists them under `files`.",
        )
    return there, next(f.media_type for f in record.files if f.path == name)


def product_info(record: ProductRecord) -> ProductInfo:
    """One product's record with the addresses of its files."""
    query = f"?camera={quote(record.camera, safe='')}"
    here = f"{API}/nights/{record.night}/products/{record.name}"
    files = [
        ProductFileInfo(**asdict(f), href=f"{here}/files/{quote(f.path, safe='')}{query}")
        for f in record.files
    ]
    links = {"self": here + query}
    for file in reversed(files):
        if file.role != "data":
            links[file.role] = file.href
    return ProductInfo(
        kind=record.kind,
        name=record.name,
        title=record.title,
        camera=record.camera,
        night=record.night,
        version=record.version,
        created_at=record.created_at,
        complete=record.complete,
        files=files,
        frames=asdict(record.frames),
        parameters=finite(record.parameters),
        provenance=finite(record.provenance),
        links=links,
    )
