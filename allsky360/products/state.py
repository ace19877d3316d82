"""What a growing product leaves on disk, so that a crash at any moment costs little.

``.state/NAME/saved.json`` is replaced atomically and names the folder beside it that counts; a
folder it does not name is what a crash left of a save. It also says what the product is made with:
another setting, or another code that counts its state differently, begins anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from allsky360.archive.durable import make_folder, sync_file, sync_folder, write_atomic
from allsky360.archive.layout import parse_night
from allsky360.archive.products import STATE_FOLDER
from allsky360.products.account import Account

log = logging.getLogger(__name__)

FORMAT = 1
KEEP_NIGHTS = 3
"""States of nights further back than this are removed when a new night begins to grow."""


def fingerprint(name: str, parameters: Mapping[str, Any]) -> str:
    """Short hash of what a product is made with."""
    text = json.dumps([FORMAT, name, dict(parameters)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class GrowerState:
    """The folder of one grower.

    Parameters
    ----------
    folder
        ``.state/NAME``.
    key
        From :func:`fingerprint`.
    """

    folder: Path
    key: str

    def __post_init__(self) -> None:
        self.work = self.folder / "work"
        self._marker = self.folder / "saved.json"
        make_folder(self.folder)
        content = self._load()
        self.account = content[0]
        self.saved: Path | None = content[1]
        self.products: tuple[str, ...] = content[2]
        """Names announced when the night was complete; empty while it grows."""
        if self.saved is None:
            shutil.rmtree(self.work, ignore_errors=True)
        if not self.products:
            make_folder(self.work)
        for left in self.folder.glob("saved-*"):
            if left != self.saved:
                shutil.rmtree(left, ignore_errors=True)

    def _load(self) -> tuple[Account, Path | None, tuple[str, ...]]:
        nothing = (Account(), None, ())
        try:
            content = json.loads(self._marker.read_bytes())
            if content["key"] != self.key:
                return nothing
            account = Account.from_json(content["account"])
            products = tuple(str(p) for p in content["products"])
            saved = self.folder / str(content["folder"]) if content["folder"] else None
        except FileNotFoundError:
            return nothing
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read, the product begins anew: %r", self._marker, error)
            return nothing
        if products:
            return account, None, products
        return (account, saved, ()) if saved is not None and saved.is_dir() else nothing

    def forget(self) -> None:
        """Begin anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.__post_init__()

    def save(self, write: Callable[[Path], None]) -> None:
        """Let ``write`` fill a new folder, then make it the one that counts."""
        number = 1 if self.saved is None else int(self.saved.name.split("-")[1]) + 1
        new = self.folder / f"saved-{number:06d}"
        shutil.rmtree(new, ignore_errors=True)
        make_folder(new)
        write(new)
        for file in (p for p in new.rglob("*") if p.is_file()):
            sync_file(file)
        sync_folder(new)
        self._mark(new.name, ())
        if self.saved is not None:
            shutil.rmtree(self.saved, ignore_errors=True)
        self.saved = new

    def close(self, products: tuple[str, ...]) -> None:
        """Note that the night is whole, and drop what is needed only to grow on."""
        self._mark("", products)
        self.products = products
        if self.saved is not None:
            shutil.rmtree(self.saved, ignore_errors=True)
            self.saved = None
        shutil.rmtree(self.work, ignore_errors=True)

    def _mark(self, folder: str, products: tuple[str, ...]) -> None:
        content = {
            "key": self.key,
            "folder": folder,
            "products": list(products),
            "account": self.account.to_json(),
        }
        write_atomic(self._marker, json.dumps(content).encode(), sync=True)
        sync_folder(self.folder)


def drop_old_states(camera_folder: Path, night: date) -> list[Path]:
    """Remove what products of nights long before kept for growing on; return what was removed."""
    limit = night - timedelta(days=KEEP_NIGHTS)
    old = [
        path
        for path in camera_folder.glob(f"*/*/products/{STATE_FOLDER}/*/saved-*")
        if (found := parse_night(path.relative_to(camera_folder).parts[0])) and found < limit
    ]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return old
