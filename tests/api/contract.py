"""Probing the whole OpenAPI document with schemathesis: all checks, valid and invalid requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.generation.modes import GenerationMode

from allsky360.api.app import create_app
from allsky360.api.security.tokens import new_token
from allsky360.config import ApiSettings, OwnerSettings, Settings, SiteSettings, StorageSettings
from allsky360.model import Site
from tests.api.conftest import DUSK, House
from tests.api.sky_house import add_product, process_sky, streak, write_camera_lens

TOKEN, LINE = new_token("probe", ["read", "raw", "system"])
CONFIG = {
    "checks": {
        # 400: an end before its start, a time the ephemeris does not cover, a foreign cursor; none
        # of them can be said in JSON Schema
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "400", "401", "403", "404", "406", "5xx"]
        }
    }
}


def app_with_everything(folder: Path) -> FastAPI:
    """Return a service over a small archive that has something of everything."""
    house = House(folder, Site("La Palma", 28.7606, -17.8816, 2396.0))
    write_camera_lens(house)
    for k in range(3):
        ref = house.capture(DUSK + k * timedelta(minutes=1))
        process_sky(house, ref, transients=[streak("t", "meteor", DUSK, 2.0)], cloud_fraction=0.1)
    add_product(house, ref, b"video" * 100)
    house.close()
    site = house.site
    made = create_app(
        Settings(
            site=SiteSettings(
                name=site.name, latitude_deg=site.latitude_deg, longitude_deg=site.longitude_deg
            ),
            storage=StorageSettings(root=house.root),
            owner=OwnerSettings(port=9),
            api=ApiSettings(tokens=(LINE,), rate_per_s=0),
        )
    )
    made.state.service.feed.follow = _ended  # an event stream that ends can be checked
    return made


async def _ended(position: int) -> AsyncIterator[None]:
    for nothing in ():
        yield nothing


def operations(app: FastAPI) -> Iterator[Any]:
    """Yield every operation of the service's own document."""
    load_all_checks()
    config = SchemathesisConfig.from_dict(CONFIG)
    document = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, config=config)
    for found in document.get_all_operations():
        yield found.ok()


def probe(operation: Any, examples: int, number: int = 0) -> None:
    """Ask an operation ``examples`` times with valid requests, and again with invalid ones."""
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        if mode is GenerationMode.NEGATIVE and not list(operation.iter_parameters()):
            continue

        @seed(number)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            verbosity=Verbosity.quiet,
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            case.call_and_validate(headers={"authorization": f"Bearer {TOKEN}"})

        ask()
