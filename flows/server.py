"""Run our own Prefect server from the settings: ``python -m flows.server``.

What ``allsky360 up`` and the systemd unit start; :mod:`flows.server_keeper` stays as its parent.
"""

from __future__ import annotations

import logging
import os
import sys

from allsky360.config import load_settings
from allsky360.errors import AllskyError
from allsky360.logs import set_up_logging
from allsky360.supervisor.prefect_env import (
    PREFECT_PART,
    prefect_environment,
    prefect_secrets,
    refuse_open_server,
)

log = logging.getLogger("flows.server")


def main() -> None:
    """Become the server process; exit status 2 with one message when the settings are wrong."""
    try:
        settings = load_settings()
        set_up_logging("prefect", settings.logging.format)
        refuse_open_server(settings)
        secrets = prefect_secrets(settings)
    except AllskyError as error:
        log.error("%s", error)
        sys.exit(2)
    p = settings.prefect
    os.environ.update(prefect_environment(settings) | secrets)
    os.makedirs(os.environ["PREFECT_HOME"], exist_ok=True)
    database = os.path.join(os.environ["PREFECT_HOME"], "prefect.db")
    api = os.environ["PREFECT_API_URL"]
    form = settings.logging.format
    if form == "json":
        os.environ[PREFECT_PART] = "prefect"
    arguments = ["flows.server_keeper", database, api, p.host, str(p.port), form]
    os.execv(sys.executable, [sys.executable, "-m", *arguments])  # without our imports


if __name__ == "__main__":
    main()
