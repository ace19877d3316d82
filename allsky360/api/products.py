"""Products of a night: their records, and the files a record names."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from allsky360.api.addresses import API
from allsky360.api.models_system import ProductInfo
from allsky360.api.problems import NotFound
from allsky360.api.service import Service
from allsky360.api.view import finite

log = logging.getLogger(__name__)

NAME = r"[a-z0-9][a-z0-9-]{0,62}"
_NAME = re.compile(NAME)
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}){0,3}")


def products_of(service: Service, camera: str, night: Any) -> list[ProductInfo]:
    """List the products of a night; one that cannot be read is left out, and said in the log."""
    folder = service.store.products_folder(camera, night)
    try:
        names = sorted(p.stem for p in folder.iterdir() if p.suffix == ".json")
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = []
    for name in filter(_NAME.fullmatch, names):
        try:
            found.append(_read(folder, camera, night, name))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("product %s of %s %s is left out: %s", name, camera, night, error)
    return found


def product_of(service: Service, camera: str, night: Any, name: str) -> ProductInfo:
    """Return one product; refuse what there is not."""
    if _NAME.fullmatch(name):
        try:
            return _read(service.store.products_folder(camera, night), camera, night, name)
        except FileNotFoundError:
            pass
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("product %s of %s %s is damaged: %s", name, camera, night, error)
    raise NotFound(
        f"The night {night} has no product {name!r}.",
        mend=f"GET {API}/nights/{night}/products lists them.",
    )


def product_file(service: Service, product: ProductInfo, path: str) -> tuple[Path, str]:
    """Return a product's file and media type; only what its record names is ever opened."""
    for file in product.files:
        if file.path == path:
            folder = service.store.products_folder(product.camera, product.night).resolve()
            there = (folder / path).resolve()
            if there.is_relative_to(folder) and there.is_file():
                return there, file.media_type
    raise NotFound(
        f"The product {product.name} of {product.night} has no such file.",
        mend="Its record lists them under `files`.",
    )


def _read(folder: Path, camera: str, night: Any, name: str) -> ProductInfo:
    record = json.loads((folder / f"{name}.json").read_bytes())
    query = f"?camera={quote(camera, safe='')}"
    here = f"{API}/nights/{night}/products/{name}"
    files = []
    for file in record["files"]:
        path = str(file["path"])
        if _FILE.fullmatch(path) is None or ".." in path:
            raise ValueError(f"{path!r} cannot name a file of it")
        known = {k: file.get(k) for k in ("width", "height", "duration_s")}
        kept = {k: file[k] for k in ("role", "media_type", "bytes")}
        files.append(kept | known | {"path": path, "href": f"{here}/files/{quote(path)}{query}"})
    given = {k: record[k] for k in ("kind", "title", "version", "created_at", "complete")} | {
        k: finite(dict(record.get(k) or {})) for k in ("frames", "parameters", "provenance")
    }
    links = {"self": here + query}
    for role in ("main", "preview"):
        found = next((f["href"] for f in files if f["role"] == role), None)
        if found is not None:
            links[role] = found
    try:
        return ProductInfo(name=name, camera=camera, night=night, files=files, links=links, **given)
    except ValidationError as error:
        raise ValueError(str(error)) from error
