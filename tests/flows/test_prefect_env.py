from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from allsky360.config import PrefectSettings, Settings, StorageSettings
from allsky360.supervisor.prefect_env import prefect_api_url, prefect_environment

PRINT = """
from prefect.settings import get_current_settings
s = get_current_settings()
v, e = s.server.services.db_vacuum, s.server.events
print(s.api.url, s.home, s.server.database.connection_url.get_secret_value())
print(sorted(v.enabled_vacuum_types), v.retention_period.days, e.retention_period.days)
print(s.server.analytics_enabled, s.server.ephemeral.enabled, s.results.persist_by_default,
      s.tasks.default_no_cache, s.server.database.timeout)
"""


def test_prefect_reads_every_variable_as_it_is_meant(tmp_path: Path) -> None:
    settings = Settings(
        storage=StorageSettings(root=tmp_path), prefect=PrefectSettings(port=4299, retention_days=9)
    )
    environment = prefect_environment(settings)
    plain = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    said = subprocess.run(
        [sys.executable, "-c", PRINT],
        env={**plain, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    home = tmp_path / "prefect"
    assert said.stdout.splitlines() == [
        f"http://127.0.0.1:4299/api {home} sqlite+aiosqlite:///{home}/prefect.db",
        "['events', 'flow_runs', 'orphans'] 9 3",
        "False False False True 60.0",
    ]
    assert said.stderr == ""
    assert environment["DO_NOT_TRACK"] == "1"


@pytest.mark.parametrize(
    ("prefect", "url"),
    [
        (PrefectSettings(url="http://big:4200/"), "http://big:4200/api"),
        (PrefectSettings(url="http://big:4200/api"), "http://big:4200/api"),
        (PrefectSettings(host="0.0.0.0", port=1), "http://127.0.0.1:1/api"),
        (PrefectSettings(host="::1", port=1), "http://[::1]:1/api"),
    ],
)
def test_address_of_the_server(prefect: PrefectSettings, url: str) -> None:
    assert prefect_api_url(Settings(prefect=prefect)) == url


def test_the_page_of_a_server_open_to_others_names_this_machine() -> None:
    environment = prefect_environment(Settings(prefect=PrefectSettings(host="0.0.0.0")))
    assert "0.0.0.0" not in environment["PREFECT_UI_API_URL"]
    assert "PREFECT_UI_API_URL" not in prefect_environment(Settings())
