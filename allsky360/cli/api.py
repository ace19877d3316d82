"""``allsky360 api``: the read service and the live page."""

from __future__ import annotations

from typing import Annotated

import typer


def api_token(
    name: Annotated[str, typer.Argument(help="Whose token, such as dome-script.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it may read: read, raw, system. Repeat for more; default read."),
    ] = None,
) -> None:
    """Make a token for programs elsewhere; print it once, and the line that admits it."""
    from typing import get_args

    from allsky360.api.security.tokens import TokenFileError, new_token
    from allsky360.config_api import Scope

    wanted = scope or ["read"]
    known = get_args(Scope)
    if not set(wanted) <= set(known):
        raise TokenFileError(f"a scope is one of {', '.join(known)}.")
    token, line = new_token(name, wanted)  # type: ignore[arg-type]
    typer.echo(f"token (shown only now): {token}")
    typer.echo(f"line for api.tokens or api.token_file: {line}")


def api() -> None:
    """Serve the archive over HTTP, with the live page at /."""
    from allsky360.api.server import serve
    from allsky360.config import load_settings
    from allsky360.net import netloc

    settings = load_settings()
    if settings.logging.format == "text":
        typer.echo(f"live page: http://{netloc(settings.api.host, settings.api.port)}/")
    serve(settings)
