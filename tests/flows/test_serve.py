"""The runner notices that its server was given a new database."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client import orchestration
from prefect.exceptions import ObjectNotFound

from flows import serve
from flows.serve import DeploymentsGone


async def test_a_server_that_does_not_know_us_ends_the_runner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    class Client:
        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None:
            return

        def read_deployment(self, deployment: Any) -> Any:
            asked.append(deployment)
            if len(asked) < 3:
                return SimpleNamespace(global_concurrency_limit=None)
            raise ObjectNotFound(ValueError("404"))

    monkeypatch.setattr(serve, "PLACES_EVERY_S", 0.01)
    monkeypatch.setattr(orchestration, "get_client", lambda **_: Client())
    with pytest.raises(DeploymentsGone, match="does not know our deployments"):
        await serve._watch_places([uuid4()])
    assert len(asked) == 3
