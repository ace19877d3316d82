"""The settings of alarms: who is told, when, and what home automation sees."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from allsky360.config_section import Section

_HOUR = r"^$|^([01]\d|2[0-3]):[0-5]\d$"


class MqttSettings(Section):
    """Measurements and alarms over MQTT, with Home Assistant discovery."""

    host: str = Field("", description="Broker; empty: no MQTT.")
    port: int = Field(1883, ge=1, le=65535, description="Its port; 8883 is usual with TLS.")
    tls: bool = Field(False, description="Encrypt, and check the broker's certificate.")
    username: str = Field("", description="User name at the broker.")
    password_file: Path | None = Field(None, description="File that holds the password alone.")
    prefix: str = Field(
        "allsky360",
        pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$",
        description="First levels of our topics.",
    )
    discovery_prefix: str = Field(
        "homeassistant",
        pattern=r"^$|^[A-Za-z0-9_-]+$",
        description="Home Assistant's discovery topic; empty: none.",
    )


class AlarmSettings(Section):
    """What is watched, and who is told."""

    notify_file: Path | None = Field(
        None,
        description="File with one Apprise address a line (mailto://, tgram://, ntfy://, …);"
        " left out: nobody is told.",
    )
    hold_s: float = Field(
        60.0, ge=0, le=86400, description="Time a trouble must last before it is told, and its end."
    )
    remind_h: float = Field(
        12.0, ge=0, le=720, description="Hours until a lasting trouble is told again. 0: never."
    )
    quiet_from_utc: str = Field(
        "", pattern=_HOUR, description="HH:MM, begin of quiet hours: only grave alarms are told."
    )
    quiet_until_utc: str = Field("", pattern=_HOUR, description="HH:MM, their end.")
    temperature_min_c: float = Field(
        -60.0, ge=-100, le=100, description="Sensor temperature below which it is too cold."
    )
    temperature_max_c: float = Field(
        60.0, ge=-100, le=150, description="Sensor temperature above which it is too hot."
    )
    backlog_frames: int = Field(
        200, ge=1, le=1_000_000, description="Frames waiting for processing that are too many."
    )
    mqtt: MqttSettings = Field(default_factory=MqttSettings)
