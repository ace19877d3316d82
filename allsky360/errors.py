"""One base class for every error a person can mend."""

from __future__ import annotations


class AllskyError(Exception):
    """An error whose message names the thing that is wrong and what to do about it.

    Parameters
    ----------
    message
        What is wrong, naming the thing (key, file, device, address).
    mend
        What a person can do about it. Appended to the message when given.
    """

    def __init__(self, message: str, *, mend: str = "") -> None:
        self.message = message
        self.mend = mend
        super().__init__(f"{message} {mend}".strip())


def in_words(error: BaseException, most: int = 200) -> str:
    """Say an exception in one short line: its kind and its message, not the data that it holds."""
    said = " ".join(str(error).split())
    line = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return line if len(line) <= most else f"{line[:most]} …"


class SettingsError(AllskyError):
    """The settings file or environment holds one or more wrong values."""
