"""The support bundle: findings, settings without secrets, the ends of the logs."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from allsky360.config import Settings
from allsky360.doctor.finding import Finding
from allsky360.errors import AllskyError

LOG_BYTES = 512 * 1024
HIDDEN = "(hidden)"
_SECRET_KEY = re.compile(r"token|secret|passw|credential|api_?key|access_key|private", re.I)
_SECRET_URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^/\s:@]+:[^/\s@]+@", re.I)
_SECRET_LINE = re.compile(
    r"(?P<key>\b(?:authorization|bearer|token|password|passwd|secret|api[_-]?key)\b"
    r"[\"']?\s*[:= ]\s*[\"']?(?:bearer\s+)?)(?P<value>[^\s,;\"']+)",
    re.I,
)


def write_bundle(path: Path, settings: Settings, findings: Sequence[Finding]) -> None:
    """Write a ZIP file for a support request.

    Raises
    ------
    AllskyError
        The file cannot be written.
    """
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr("findings.json", json.dumps([asdict(f) for f in findings], indent=1))
            shown = without_secrets(settings.model_dump(mode="json"))
            bundle.writestr("settings.json", json.dumps(shown, indent=1))
            bundle.writestr("packages.txt", _packages())
            for log in sorted((settings.storage.root / "logs").glob("*.log")):
                bundle.writestr(f"logs/{log.name}", clean(_end(log)))
            bundle.writestr("made.txt", f"{datetime.now(UTC).isoformat()}\n")
    except OSError as error:
        raise AllskyError(
            f"cannot write {path}: {error.strerror or error}.", mend="Name another file."
        ) from error


def without_secrets(value: Any, key: str = "") -> Any:
    """Return settings with every value hidden whose key names a secret, and in every address."""
    if isinstance(value, dict):
        return {k: without_secrets(v, str(k)) for k, v in value.items()}
    if isinstance(value, list):
        return [without_secrets(v, key) for v in value]
    if key and _SECRET_KEY.search(key) and value not in (None, "", False):
        return HIDDEN
    return clean(value) if isinstance(value, str) else value


def clean(text: str) -> str:
    """Hide passwords in addresses, and what follows words such as ``token=``."""
    text = _SECRET_URL.sub(rf"\g<scheme>{HIDDEN}@", text)
    return _SECRET_LINE.sub(rf"\g<key>{HIDDEN}", text)


def _packages() -> str:
    known = {(d.metadata["Name"] or "").lower(): d.version for d in metadata.distributions()}
    return "".join(f"{name} {version}\n" for name, version in sorted(known.items()) if name)


def _end(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError as error:
        return f"cannot be read: {error}\n"
