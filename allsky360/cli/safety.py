"""``allsky360 safety``: may the roof open, as far as clouds go."""

from __future__ import annotations

from typing import Annotated

import typer

EXIT = {"safe": 0, "unsafe": 1, "unknown": 2}


def safety(
    camera: Annotated[str, typer.Argument(help="Camera; left out: that of the newest frame.")] = "",
) -> None:
    """Say safe, unsafe or unknown with reason and age; exit code 0, 1 or 2.

    Only clouds are judged. Treat unknown as you treat unsafe.
    """
    from allsky360.config import clock_from, load_settings
    from allsky360.processing import safety_rules
    from allsky360.safety import current_safety

    settings = load_settings()
    now, rules = clock_from(settings).now(), safety_rules(settings)
    found = current_safety(settings.storage.root, now, camera or None, rules)
    age = "" if found.age_s is None else f" ({found.age_s:.0f} s old)"
    typer.echo(f"{found.verdict}: {found.reason}{age}")
    raise typer.Exit(EXIT[found.verdict])
