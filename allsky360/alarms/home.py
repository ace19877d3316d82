"""What goes to an MQTT broker: topics and contents, with Home Assistant's discovery. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from allsky360 import __version__
from allsky360.alarms.troubles import Look, Trouble
from allsky360.config_alarms import MqttSettings


@dataclass(frozen=True)
class Sensor:
    """One number that home automation sees; ``name`` is the archive's."""

    name: str
    title: str
    unit: str = ""
    device_class: str = ""
    digits: int = 2


SENSORS = (
    Sensor("sky_brightness_mag_arcsec2", "Sky brightness", "mag/arcsec²"),
    Sensor("cloud_fraction", "Cloud fraction", digits=3),
    Sensor("limiting_mag", "Faintest star", "mag"),
    Sensor("stars_matched", "Stars", digits=0),
    Sensor("fwhm_px", "Star width", "px"),
    Sensor("sun_altitude_deg", "Sun altitude", "°"),
    Sensor("moon_altitude_deg", "Moon altitude", "°"),
    Sensor("temperature_c", "Sensor temperature", "°C", "temperature", 1),
)


@dataclass(frozen=True)
class Topics:
    """Where things go."""

    state: str
    alarms: str
    status: str
    device: str
    discovery: str

    @classmethod
    def of(cls, settings: MqttSettings, camera: str) -> Topics:
        """Return the topics of a camera, given by slug."""
        device = re.sub(r"[^a-z0-9_]", "_", f"allsky360_{camera}")
        base = f"{settings.prefix}/{camera}"
        return cls(
            f"{base}/state", f"{base}/alarms", f"{base}/status", device, settings.discovery_prefix
        )


def state(look: Look) -> str:
    """Content of the state topic: JSON, null for what is not known."""
    values: dict[str, Any] = {
        s.name: _rounded(look.measured.get(s.name), s.digits) for s in SENSORS
    }
    values["temperature_c"] = _rounded(look.temperature_c, 1)
    values["time"] = look.newest.isoformat() if look.newest is not None else None
    values["safe"] = {"safe": True, "unsafe": False}.get(look.safety[0])
    values["safety"], values["safety_reason"] = look.safety
    values["backlog"] = look.backlog
    return json.dumps(values, allow_nan=False)


def alarms(troubles: Iterable[Trouble]) -> str:
    """Content of the alarms topic."""
    found = [{"name": t.name, "says": t.says, "grave": t.grave} for t in troubles]
    return json.dumps({"problem": bool(found), "troubles": found})


def discovery(topics: Topics, camera: str) -> Mapping[str, str]:
    """Topic to content of Home Assistant's discovery; empty where it is switched off."""
    if not topics.discovery:
        return {}
    about = {
        "identifiers": [topics.device],
        "name": f"allsky360 {camera}",
        "manufacturer": "allsky360",
        "sw_version": __version__,
    }
    common = {"availability_topic": topics.status, "device": about}
    found: dict[str, str] = {}

    def add(component: str, name: str, content: Mapping[str, Any]) -> None:
        topic = f"{topics.discovery}/{component}/{topics.device}/{name}/config"
        unique = {"unique_id": f"{topics.device}_{name}", **common, **content}
        found[topic] = json.dumps(unique, ensure_ascii=False)

    for s in SENSORS:
        content: dict[str, Any] = {
            "name": s.title,
            "state_topic": topics.state,
            "value_template": f"{{{{ value_json.{s.name} }}}}",
            "state_class": "measurement",
            "suggested_display_precision": s.digits,
        }
        if s.unit:
            content["unit_of_measurement"] = s.unit
        if s.device_class:
            content["device_class"] = s.device_class
        add("sensor", s.name, content)
    add(
        "sensor",
        "last_frame",
        {
            "name": "Last frame",
            "state_topic": topics.state,
            "value_template": "{{ value_json.time }}",
            "device_class": "timestamp",
        },
    )
    # Home Assistant's class "safety": on means unsafe; unknown counts as unsafe
    add(
        "binary_sensor",
        "unsafe",
        {
            "name": "Unsafe sky",
            "state_topic": topics.state,
            "value_template": "{{ 'OFF' if value_json.safe else 'ON' }}",
            "device_class": "safety",
        },
    )
    add(
        "binary_sensor",
        "problem",
        {
            "name": "Problem",
            "state_topic": topics.alarms,
            "value_template": "{{ 'ON' if value_json.problem else 'OFF' }}",
            "device_class": "problem",
            "json_attributes_topic": topics.alarms,
        },
    )
    return found


def _rounded(value: float | None, digits: int) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(value, digits)
