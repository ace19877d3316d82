"""What the pages for users name is there: links, settings, commands, addresses of the API."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from allsky360.api.app import create_app
from allsky360.cli import app
from allsky360.config import Settings
from allsky360.config_text import walk_fields
from tests.test_tools import commands as known_commands
from tests.test_tools import parse

ROOT = Path(__file__).parents[1]
PAGES = [
    *(p for p in sorted(ROOT.glob("*.md")) if p.name != "CHANGELOG.md"),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
KEYS = {".".join(key) for key, _ in walk_fields(Settings)}
TABLES = {".".join(key[:k]) for key, _ in walk_fields(Settings) for k in range(1, len(key))}
COMMAND = re.compile(r"(?:^|/|&& )allsky360 (?P<words>(?:-c \S+ )?[a-z].*)$")
FILES = {"prefect.yaml", "offsite.json"}
"""What looks like a key."""
NAMES = {"lens", "simulator"}
"""What looks like a command: the kind of a lens file, the maker of a simulated image."""

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.strip().lower()).replace(" ", "-") for head in heads}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_page
def test_settings_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`([a-z]+(?:\.[a-z_]+)+)(?: = [^`]*)?`", text):
        module = any(
            (ROOT / "allsky360" / Path(*name.split(".")[:k])).with_suffix(".py").exists()
            or (ROOT / "allsky360" / Path(*name.split(".")[:k], "__init__.py")).exists()
            for k in range(2, name.count(".") + 2)
        )
        if name.split(".")[0] not in Settings.model_fields or module or name in FILES:
            continue
        assert name in KEYS | TABLES, name


@every_page
def test_the_tables_of_toml_examples_are_settings(page: Path) -> None:
    for language, body in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "toml":
            for table in re.findall(r"^\[([a-z_.]+)\]", body, re.MULTILINE):
                assert table in TABLES, table


def commands(page: Path) -> Iterator[list[str]]:
    for language, body in FENCE.findall(page.read_text(encoding="utf-8")):
        for line in body.splitlines() if language in ("sh", "") else ():
            found = COMMAND.search(line.split("  #")[0])
            if found and "useradd" not in line:
                words = found["words"].split(" && ")[0]
                yield shlex.split(re.sub(r"[\[\]]", "", words).replace("…", "x"), comments=True)


@every_page
def test_commands_are_ones_that_allsky360_takes(page: Path) -> None:
    for words in commands(page):
        parse(words[2:] if words[0] == "-c" else words)


def test_settings_page_has_every_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", prose(ROOT / "docs" / "settings.md"), re.MULTILINE)
    assert rows == list(Settings.model_fields)


def test_api_page_has_every_address(tmp_path: Path) -> None:
    service = create_app(Settings.model_validate({"storage": {"root": tmp_path / "none"}}))
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for path in service.openapi()["paths"]:
        literal = [part for part in path.split("/") if part and "{" not in part.split(".")[0]]
        assert f"/{literal[-1]}" in text, path


def test_commands_that_messages_name_exist() -> None:
    first = {path[0] for path in known_commands(typer.main.get_command(app))}
    whole = {" ".join(path[:2]) for path in known_commands(typer.main.get_command(app))} | first
    for file in (ROOT / "allsky360").rglob("*.py"):
        for words in re.findall(r"[:'`] ?allsky360 ([a-z][a-z-]*(?: [a-z]+)?)", file.read_text()):
            group = words.split()[0]
            if group in {"sky", "darks", "products", "versions", "objects", "offsite", "config"}:
                assert words in whole | {group}, f"{file.name}: {words}"
            else:
                assert group in first | NAMES, f"{file.name}: {words}"
