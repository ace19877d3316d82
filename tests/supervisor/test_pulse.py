"""A part that serves nothing else shows that its event loop runs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from allsky360.config import Settings, StorageSettings
from allsky360.supervisor import process as process_module
from allsky360.supervisor.parts import Part, parts_of
from allsky360.supervisor.probe import answers
from allsky360.supervisor.pulse import give_pulse, pulse_name
from tests.supervisor.test_process import House, until

BEATING = """
import asyncio, sys
from allsky360.supervisor.pulse import give_pulse
async def main():
    server = await give_pulse(sys.argv[1])
    await server.serve_forever()
asyncio.run(main())
"""


def name_for(folder: Path) -> str:
    return pulse_name(Settings(storage=StorageSettings(root=folder)), "test")


async def test_it_is_felt_while_it_is_given_and_not_after(tmp_path: Path) -> None:
    name = name_for(tmp_path)
    async with httpx.AsyncClient() as client:
        assert not await answers(f"pulse://{name}", client)
        server = await give_pulse(name)
        assert await answers(f"pulse://{name}", client)
        with pytest.raises(OSError, match="in use"):
            await give_pulse(name)
        server.close()
        await server.wait_closed()
        assert not await answers(f"pulse://{name}", client)


async def test_a_part_that_hangs_is_restarted_though_its_socket_still_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "PROBE_EVERY_S", 0.1)
    monkeypatch.setattr(process_module, "HUNG_S", 0.2)
    monkeypatch.setattr(process_module, "BACK_OFF_S", (0.1, 0.1))
    monkeypatch.setattr("allsky360.supervisor.probe.TIMEOUT_S", 0.3)
    name = name_for(tmp_path)
    part = Part(
        "quiet", (sys.executable, "-c", BEATING, name), probe=f"pulse://{name}", patience_s=0.8
    )
    async with House(tmp_path, part) as house:
        await until(lambda: house.states["quiet"].state == "running")
        first = house.states["quiet"].pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        await until(
            lambda: house.states["quiet"].pid != first and house.states["quiet"].state == "running"
        )
    assert any("did not answer" in detail for _, _, detail in house.changes)


def test_every_part_is_asked_by_something_that_a_hung_process_cannot_answer(
    tmp_path: Path,
) -> None:
    parts = parts_of(Settings(storage=StorageSettings(root=tmp_path)))
    for part in parts:
        assert part.probe.partition("://")[0] in ("http", "pulse"), part.name
