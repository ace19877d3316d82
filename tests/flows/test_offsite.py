"""The flow of the safe copy, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.states import Completed, Failed

from allsky360.config import Settings
from allsky360.config_offsite import OffsiteSettings
from allsky360.model import Site
from allsky360.objects.place import ObjectsError
from flows import offsite as flow
from tasks.offsite import copy_off_site
from tests.report.conftest import CAMERA, NIGHT, make_night


def run(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Any:
    """Run the flow, its task as a plain function."""

    def task(*given: Any, return_state: bool) -> Any:
        assert return_state
        try:
            return Completed(data=copy_off_site.fn(*given))
        except ObjectsError as error:
            return Failed(message=str(error))

    monkeypatch.setattr(flow, "load_settings", lambda: settings)
    monkeypatch.setattr(flow, "copy_off_site", task)
    return flow.copy_offsite.fn()


def test_everything_goes_and_what_fails_is_said(
    settings: Settings, tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, settings).message == "no off-site copy is set up"
    make_night(settings.storage.root, site, 2)
    there = tmp_path / "there"
    copied = settings.model_copy(update={"offsite": OffsiteSettings(url=there.as_uri())})
    state = run(monkeypatch, copied)
    assert state.is_completed()
    assert "MB copied" in state.message
    assert (there / CAMERA / NIGHT.isoformat() / "raw.zarr" / "zarr.json").is_file()
    assert run(monkeypatch, copied).message.startswith("0 files")
    nowhere = settings.model_copy(update={"offsite": OffsiteSettings(url="file:///dev/null/x")})
    state = run(monkeypatch, nowhere)
    assert state.is_failed()
    assert "offsite.url" in state.message
