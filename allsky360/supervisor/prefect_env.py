"""Environment of Prefect's processes."""

from __future__ import annotations

from allsky360.config import Settings


def prefect_environment(settings: Settings) -> dict[str, str]:
    """Placeholder until the orchestration builder's version lands."""
    return {"PREFECT_API_URL": f"http://{settings.prefect.host}:{settings.prefect.port}/api"}
