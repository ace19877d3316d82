"""The environment that makes Prefect run offline, quiet, small, and inside the data folder.

Plain variables and no import of Prefect: the supervisor, the systemd units and the tests start
Prefect's own processes with them.
"""

from __future__ import annotations

import socket
from pathlib import Path

from allsky360.config import Settings
from allsky360.errors import SettingsError
from allsky360.net import is_loopback, netloc, reachable

DAY_S = 86_400
#: names the part in Prefect's own logs, where they are JSON
PREFECT_PART = "PREFECT_LOGGING_FORMATTERS_JSON_FORMAT"
EVENT_DAYS = 3  # events feed automations and the event page; a burst leaves dozens


def prefect_api_url(settings: Settings) -> str:
    """Return the API address every Prefect client uses: the given server's, else our own."""
    p = settings.prefect
    if p.url:
        url = p.url.rstrip("/")
        return url if url.endswith("/api") else f"{url}/api"
    return f"http://{netloc(p.host, p.port)}/api"


def prefect_environment(settings: Settings) -> dict[str, str]:
    """Return the variables for Prefect's server, the runner and every flow run.

    Nothing is downloaded or sent: telemetry is off on both sides, and a missing server is an error
    instead of a temporary one (its start takes longer than Prefect waits for it). Flow runs, their
    logs and artifacts leave the database after ``prefect.retention_days``: the server's own vacuum,
    which by default removes events only.
    """
    p = settings.prefect
    home = (settings.storage.root / "prefect").absolute()
    environment = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": prefect_api_url(settings),
        # offline
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_CLI_PROMPT": "false",
        # one SQLite file; the timeout is how long a writer waits for the lock before it complains
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        # a server killed and started again must know which runs hold a place of a limit
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        # small
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(p.retention_days * DAY_S),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{min(p.retention_days, EVENT_DAYS)}D",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
        "PREFECT_TASKS_DEFAULT_NO_CACHE": "true",
        # quiet
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_LOGGING_COLORS": "false",
    }
    if settings.logging.format == "json":
        environment |= {
            "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
            "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": "allsky360.logs.JsonFormatter",
            PREFECT_PART: "runner",
        }
    if not p.url and reachable(p.host) != p.host:
        # the browser of another machine must find the API
        environment["PREFECT_UI_API_URL"] = f"http://{socket.getfqdn()}:{p.port}/api"
    return environment


def prefect_secrets(settings: Settings) -> dict[str, str]:
    """Return the variables that hold passwords: only for those processes that need them.

    Raises
    ------
    SettingsError
        A file cannot be read, or does not hold what it should.
    """
    p = settings.prefect
    found: dict[str, str] = {}
    if p.database_file is not None:
        url = _secret(p.database_file, "prefect.database_file")
        scheme, _, rest = url.partition("://")
        if scheme not in ("postgresql", "postgres", "postgresql+asyncpg") or not rest:
            raise SettingsError(
                f"{p.database_file} holds no address of a PostgreSQL database.",
                mend="Write postgresql://user:password@host/name into it.",
            )
        found["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"postgresql+asyncpg://{rest}"
    if p.auth_file is not None:
        word = _secret(p.auth_file, "prefect.auth_file")
        if not all(word.partition(":")[::2]):
            raise SettingsError(
                f"{p.auth_file} does not hold name:password.", mend="Write one line such as admin:…"
            )
        found["PREFECT_SERVER_API_AUTH_STRING"] = found["PREFECT_API_AUTH_STRING"] = word
    return found


def refuse_open_server(settings: Settings) -> None:
    """Refuse to serve other machines without asking who calls.

    Whoever reaches Prefect's API can run code as its user.

    Raises
    ------
    SettingsError
    """
    p = settings.prefect
    if not is_loopback(p.host) and p.auth_file is None:
        raise SettingsError(
            f"prefect.host = {p.host!r} lets other machines in, and nothing asks who they are.",
            mend="Name a file with name:password in prefect.auth_file, or keep 127.0.0.1.",
        )


def _secret(path: Path, key: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{key}: {path} cannot be read: {error}.", mend="Mend its path or its permissions."
        ) from error
