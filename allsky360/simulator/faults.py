"""The fault knobs: everything that goes wrong with real cameras, servers and networks, on demand.

A knob is turned at run time (``POST /simulator/faults``) or at start (``--fault``). Three kinds:

* ``count``: strikes the next N times its occasion comes; ``3`` is N, ``{"count": 3, "value": v}``
  also sets its parameter, a text alone sets only the parameter.
* ``switch``: stays on until turned off (``false``); a value turns it on with that parameter.
* ``action``: happens at once; the value is its parameter.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from allsky360.errors import AllskyError

FaultKind = Literal["count", "switch", "action"]
Parameter = float | str


class FaultError(AllskyError):
    """A fault that does not exist, or a value it does not take."""


@dataclass(frozen=True)
class FaultSpec:
    """One knob: its name, kind, what it does, and its parameter with meaning and default."""

    name: str
    kind: FaultKind
    description: str
    value: Parameter = 0.0
    meaning: str = ""


_SPECS = (
    # exposures
    FaultSpec("alert", "count", "the exposure fails with Alert and a message",
              "Exposure failed", "message"),
    FaultSpec("stall", "count", "the countdown stalls and the exposure never ends; abort helps"),
    FaultSpec("late-image", "count", "image and Ok come late", 3.0, "seconds"),
    FaultSpec("no-image-value", "count", "CCD_IMAGE goes Ok without a URL"),
    FaultSpec("stale-image", "count", "Ok is announced but the old image stays behind the URL"),
    FaultSpec("truncated-image", "count", "the image ends early, HTTP itself is right",
              0.5, "fraction kept"),
    FaultSpec("oversized-image", "count", "junk follows the image", 1_000_000.0, "bytes added"),
    FaultSpec("mislabelled-header", "count", "the image header gives another size",
              64.0, "pixels added to the width"),
    FaultSpec("mislabelled-format", "count", "a FITS comes under .raw, a RAW under .fits"),
    FaultSpec("garbage-image", "count", "the image is random bytes"),
    FaultSpec("unplug-exposing", "count", "the camera is unplugged half-way through the exposure",
              3.0, "seconds until it is plugged in again, 0 = never"),
    FaultSpec("disconnect-exposing", "count", "another client disconnects the camera half-way"),
    FaultSpec("crash-exposing", "count", "the server crashes half-way through the exposure",
              3.0, "seconds until it listens again, 0 = never"),
    FaultSpec("foreign-abort", "count", "another client aborts the exposure half-way"),
    # requests and connection
    FaultSpec("drop-request", "count", "a request is ignored without any reply",
              "CCD_EXPOSURE", "property, * for any"),
    FaultSpec("connect-alert", "count", "connecting the camera fails with Alert"),
    FaultSpec("connect-stall", "count", "CONNECTION stays Busy", 30.0, "seconds"),
    # fetching the image
    FaultSpec("http-404", "count", "the image URL is not found"),
    FaultSpec("truncated-body", "count", "the HTTP body breaks off, then the socket closes",
              0.5, "fraction sent"),
    FaultSpec("wrong-length", "count", "Content-Length differs from the body",
              1000.0, "bytes announced too many (negative: too few)"),
    FaultSpec("slow-body", "count", "the HTTP body trickles", 200_000.0, "bytes per second"),
    FaultSpec("hung-http", "count", "the HTTP request is read and never answered"),
    # the stream of messages
    FaultSpec("duplicate-delete", "switch", "every deleteProperty is sent twice, as 2.0-344 does"),
    FaultSpec("partial-items", "switch", "updates carry only changed items, as INDIGO 3.0 does"),
    FaultSpec("suppress-ok", "switch", "an unchanged Ok after Ok is not sent, as INDIGO 3.0 does"),
    FaultSpec("stale-def", "switch", "after a reconnect CCD_IMAGE is defined Ok with the old URL"),
    FaultSpec("cooler-failure", "switch", "the cooler stops cooling and reports Alert"),
    # at once
    FaultSpec("garbage", "action", "junk bytes appear in every client's stream",
              '}{"\x01 \x7f,,', "the junk"),
    FaultSpec("bad-object", "action", "one object with a bare nan appears in the stream"),
    FaultSpec("foreign-client", "action", "another client changes settings",
              "CCD_GAIN.GAIN=0;CCD_FRAME.WIDTH=64;CCD_IMAGE_FORMAT.FITS=On",
              "PROPERTY.ITEM=value;…"),
    FaultSpec("foreign-exposure", "action", "another client starts an exposure", 5.0, "seconds"),
    FaultSpec("unplug", "action", "the camera is unplugged: device-level deleteProperty",
              0.0, "seconds until it is plugged in again, 0 = never"),
    FaultSpec("replug", "action", "the camera is plugged in again, with its defaults"),
    FaultSpec("crash", "action", "all sockets close without a word",
              3.0, "seconds until it listens again, 0 = never"),
    FaultSpec("hung", "action", "sockets stay open, nothing is read or answered",
              10.0, "seconds, 0 = for ever"),
)  # fmt: skip

FAULTS: dict[str, FaultSpec] = {spec.name: spec for spec in _SPECS}


@dataclass
class _Armed:
    count: int  # times left; -1 = until turned off
    value: Parameter


class FaultBoard:
    """Which knobs are turned, and how far."""

    def __init__(self) -> None:
        self._armed: dict[str, _Armed] = {}
        self.struck: dict[str, int] = {}

    def arm(self, wanted: Mapping[str, object]) -> list[tuple[str, Parameter]]:
        """Turn knobs; all or none.

        Parameters
        ----------
        wanted
            Fault name to setting (see the module's text); ``{"clear": true}`` turns all off.

        Returns
        -------
        list of (str, str or float)
            Actions that the caller must carry out now, with their parameter.

        Raises
        ------
        FaultError
            Naming the fault or value that is wrong.
        """
        read = [(_spec(n), _setting(_spec(n), s)) for n, s in wanted.items() if n != "clear"]
        if wanted.get("clear"):
            self._armed.clear()
        actions = []
        for spec, armed in read:
            if armed.count == 0:
                self._armed.pop(spec.name, None)
            elif spec.kind == "action":
                actions.append((spec.name, armed.value))
                self._note(spec.name)
            else:
                self._armed[spec.name] = armed
        return actions

    def take(self, name: str) -> Parameter | None:
        """Strike once if the knob is turned: return its parameter and count down."""
        armed = self._armed.get(FAULTS[name].name)
        if armed is None:
            return None
        if armed.count > 0:
            armed.count -= 1
            if armed.count == 0:
                del self._armed[name]
        self._note(name)
        return armed.value

    def number(self, name: str) -> float | None:
        """Like :meth:`take`, for a knob whose parameter is a number."""
        value = self.take(name)
        return None if value is None else float(value)

    def is_on(self, name: str) -> bool:
        """Whether a switch is on; counts nothing."""
        return FAULTS[name].name in self._armed

    def value(self, name: str) -> Parameter | None:
        """Return the parameter of a turned knob without striking."""
        armed = self._armed.get(FAULTS[name].name)
        return None if armed is None else armed.value

    def _note(self, name: str) -> None:
        self.struck[name] = self.struck.get(name, 0) + 1

    def listing(self) -> list[dict[str, Any]]:
        """Return every knob as plain values: what it does, whether turned, how often it struck."""
        rows = []
        for spec in FAULTS.values():
            armed = self._armed.get(spec.name)
            rows.append(
                {
                    "name": spec.name,
                    "kind": spec.kind,
                    "description": spec.description,
                    "value": armed.value if armed else spec.value,
                    "value_means": spec.meaning,
                    "count": armed.count if armed else 0,
                    "struck": self.struck.get(spec.name, 0),
                }
            )
        return rows


def _spec(name: str) -> FaultSpec:
    if name in FAULTS:
        return FAULTS[name]
    close = difflib.get_close_matches(name, FAULTS, n=1, cutoff=0.5)
    raise FaultError(
        f"there is no fault '{name}'.",
        mend=f"Did you mean '{close[0]}'?" if close else "'--fault list' names them all.",
    )


def _setting(spec: FaultSpec, setting: object) -> _Armed:
    forever = -1 if spec.kind == "switch" else 1
    if setting is None or setting is False:
        return _Armed(0, spec.value)
    if setting is True:
        return _Armed(forever, spec.value)
    if isinstance(setting, Mapping):
        stray = set(setting) - {"count", "value"}
        if stray:
            raise FaultError(f"fault '{spec.name}' takes count and value, not {sorted(stray)}.")
        count = setting.get("count", forever)
        if isinstance(count, bool) or not isinstance(count, int) or count < -1:
            raise FaultError(
                f"fault '{spec.name}': count {count!r} is no whole number from -1 (until off)."
            )
        return _Armed(count, _parameter(spec, setting.get("value", spec.value)))
    if spec.kind == "count" and isinstance(setting, int):
        if setting < -1:
            raise FaultError(f"fault '{spec.name}': count {setting} is below -1 (until off).")
        return _Armed(setting, spec.value)
    return _Armed(forever, _parameter(spec, setting))


def _parameter(spec: FaultSpec, value: object) -> Parameter:
    meaning = spec.meaning or "nothing"
    if isinstance(spec.value, str):
        if isinstance(value, str):
            return value
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12:
        return float(value)
    raise FaultError(f"fault '{spec.name}': {value!r} is not its value ({meaning}).")


def parse_option(option: str) -> dict[str, object]:
    """Read one ``--fault`` of the command line: ``name``, ``name=setting`` or ``name=count:value``.

    Raises
    ------
    FaultError
        When the fault or its value does not exist.
    """
    name, _, setting = option.partition("=")
    spec = _spec(name.strip())
    if not setting:
        return {spec.name: True}
    parsed: object
    count, colon, value = setting.partition(":")
    if colon and spec.kind == "count" and count.lstrip("-").isdigit():
        parsed = {"count": int(count), "value": _literal(value, spec)}
    elif setting in ("on", "off", "true", "false"):
        parsed = setting in ("on", "true")
    elif spec.kind == "count" and setting.lstrip("-").isdigit():
        parsed = int(setting)
    else:
        parsed = _literal(setting, spec)
    _setting(spec, parsed)
    return {spec.name: parsed}


def _literal(word: str, spec: FaultSpec) -> Parameter:
    if isinstance(spec.value, str):
        return word
    try:
        return float(word)
    except ValueError:
        return word  # refused, with its meaning, by _parameter
