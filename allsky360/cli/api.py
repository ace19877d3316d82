"""``allsky360 api``: the read service and the live page."""

from __future__ import annotations

import typer


def api() -> None:
    """Serve the archive over HTTP, with the live page at /."""
    from allsky360.api.server import serve
    from allsky360.config import load_settings
    from allsky360.net import netloc

    settings = load_settings()
    typer.echo(f"live page: http://{netloc(settings.api.host, settings.api.port)}/")
    serve(settings)
