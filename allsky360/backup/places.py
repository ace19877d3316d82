"""What a backup holds, by name in it, and where each of it lies on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from allsky360.archive import Archive
from allsky360.archive.layout import is_slug
from allsky360.config import Settings
from allsky360.config_text import walk_fields
from allsky360.lenses import lens_folder, lens_paths
from allsky360.masters import master_folder

SETTINGS = "settings.toml"
DATABASE = "prefect/prefect.db"
MANIFEST = "manifest.json"
_PREFECT = ("failed-frames.json",)
_CAMERA = ("exposure-control.json",)
_LENS = re.compile(r"\d{4,}\.json", re.ASCII)
_PART = re.compile(r"[^/\\\x00-\x1f]{1,200}")


def database(settings: Settings) -> Path:
    """Return Prefect's SQLite file of this installation, whether it is there or not."""
    return settings.storage.root / "prefect" / "prefect.db"


def named_files(settings: Settings) -> dict[str, Path]:
    """Return the files that settings name, by key, such as ``prefect.auth_file``."""
    found = {}
    for key, _ in walk_fields(Settings):
        if not key[-1].endswith("_file"):
            continue
        value: object = settings
        for part in key:
            value = getattr(value, part)
        if isinstance(value, Path):
            found[".".join(key)] = value
    return found


def plain_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield name and path of everything to keep but settings and database, where it is there."""
    root = settings.storage.root
    for key, path in named_files(settings).items():
        yield f"named/{key}", path
    for name in _PREFECT:
        yield f"prefect/{name}", root / "prefect" / name
    archive = Archive(root)
    for camera in archive.cameras():
        for name in _CAMERA:
            yield f"cameras/{camera}/{name}", root / camera / name
        for path in lens_paths(root, camera):
            yield f"cameras/{camera}/lens/{path.name}", path
    masters = master_folder(settings)
    for path in sorted(masters.rglob("*.fit*")):
        if path.is_file() and not path.is_symlink():
            yield f"masters/{path.relative_to(masters).as_posix()}", path


def place_of(name: str, settings: Settings, settings_file: Path) -> Path | None:
    """Return where a member of a backup belongs; None for a name no backup of ours has.

    Nothing outside the places that the settings name can come out, whatever the member is called.
    """
    parts = PurePosixPath(name).parts
    if not name or name != "/".join(parts) or not all(map(_is_plain, parts)):
        return None
    root = settings.storage.root
    match parts:
        case ("settings.toml",):
            return settings_file
        case ("named", key):
            return named_files(settings).get(key)
        case ("prefect", file) if file == "prefect.db" or file in _PREFECT:
            return root / "prefect" / file
        case ("cameras", camera, file) if is_slug(camera) and file in _CAMERA:
            return root / camera / file
        case ("cameras", camera, "lens", file) if is_slug(camera) and _LENS.fullmatch(file):
            return lens_folder(root, camera) / file
        case ("masters", *rest) if rest:
            return master_folder(settings).joinpath(*rest)
        case _:
            return None


def _is_plain(part: str) -> bool:
    return part not in (".", "..") and _PART.fullmatch(part) is not None
