"""``TOOLS.md``: every command has an example, every example is one the command takes, most run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from typer.testing import CliRunner

from allsky360.archive.layout import night_folder
from allsky360.cli import app
from allsky360.model import Site
from tests.report.conftest import CAMERA, NIGHT, make_night

FILE = Path(__file__).parents[1] / "TOOLS.md"
LINE = re.compile(r"^allsky360 (?P<words>.*?)(?:\s*#\s*(?P<comment>.*))?$")


def examples() -> Iterator[tuple[list[str], str]]:
    """Yield the words and the comment of every example."""
    for block in re.findall(r"```sh\n(.*?)```", FILE.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            match = LINE.match(line)
            assert match is not None, line
            yield shlex.split(match["words"]), match["comment"] or ""


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path
        return
    for name, sub in inner.items():
        yield from commands(sub, (*path, name))


def parse(words: list[str]) -> tuple[str, ...]:
    """Let the commands' own parsers read an example; return the command's name."""
    command: Any = typer.main.get_command(app)
    context = click.Context(command, info_name="allsky360")
    path: tuple[str, ...] = ()
    rest = words
    while hasattr(command, "commands"):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        path = (*path, name)
        command = found
        context = click.Context(command, info_name=name, parent=context)
    command.make_context(path[-1], list(rest))
    return path


def test_every_command_has_an_example_and_every_example_a_command() -> None:
    shown = {parse(words) for words, _ in examples()}
    known = set(commands(typer.main.get_command(app)))
    assert shown == known


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "allsky360-data"
    make_night(root, site, 3)
    folder = night_folder(root, CAMERA, NIGHT)
    shutil.copytree(folder / "v0001.zarr", folder / "v0002.zarr")
    shutil.copytree(folder / "v0001", folder / "v0002")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALLSKY360_SITE__LATITUDE_DEG", "28.76")
    monkeypatch.setenv("ALLSKY360_SITE__LONGITUDE_DEG", "-17.88")
    monkeypatch.setenv("ALLSKY360_OBJECTS__URL", (tmp_path / "objects").as_uri())
    monkeypatch.setenv("ALLSKY360_OFFSITE__URL", (tmp_path / "offsite").as_uri())
    ran = 0
    for words, comment in examples():
        if comment.startswith("needs "):
            continue
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, f"{words}: {result.output} {result.exception!r}"
        ran += 1
    assert ran >= 15
    assert (tmp_path / "compared").is_dir()
    assert not (folder / "v0001").exists()
