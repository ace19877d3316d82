"""The container as it is described: locked down, on loopback, with settings that are valid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from allsky360.config import load_settings
from allsky360.net import is_loopback

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deployments" / "compose"


def service(name: str) -> dict[str, Any]:
    content = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return dict(content["services"]["allsky360"])


def test_the_container_may_little() -> None:
    found = service("compose.yaml")
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in found["security_opt"]
    assert not found["user"].startswith("0")
    assert "privileged" not in found
    assert "ports" not in found  # the host's loopback, see there


def test_its_settings_are_valid_and_open_nothing() -> None:
    settings = load_settings(FOLDER / "allsky360.toml")
    tables = (settings.api, settings.prefect, settings.dask, settings.owner, settings.simulator)
    assert all(is_loopback(t.host) for t in tables)
    mounts = service("compose.yaml")["volumes"]
    volume = next(m.split(":")[1] for m in mounts if m.startswith("archive:"))
    assert settings.storage.root.is_relative_to(volume)
    asked = " ".join(service("compose.yaml")["healthcheck"]["test"])
    ports = {int(p) for p in re.findall(r"127\.0\.0\.1:(\d+)", asked)}
    assert ports == {settings.api.port, settings.owner.port}


def test_what_the_image_copies_is_there_and_pinned_by_hash() -> None:
    lines = (FOLDER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            sources = line.replace("${LOCK}", "base.lock").split()[1:-1]
            assert all((ROOT / s).exists() for s in sources), line
        for step in line.split("&&"):
            if "pip install" in step and "--no-deps" not in step:
                assert "--require-hashes" in step
    assert any(line.startswith("USER 10001") for line in lines)
    lock = service("compose.gpu.yaml")["build"]["args"]["LOCK"]
    assert (ROOT / "deployments" / "locks" / lock).exists()
