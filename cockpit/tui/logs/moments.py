"""Moments that are typed or chosen, for jumps in a log: "5m", "2h ago", "12:03", a date. Pure."""

from __future__ import annotations

import re
import time

from cockpit.errors import UsageError
from cockpit.text import clean

OFFERS = (
    ("1m", "one minute ago"),
    ("5m", "5 minutes ago"),
    ("15m", "15 minutes ago"),
    ("1h", "one hour ago"),
    ("6h", "6 hours ago"),
    ("1d", "yesterday at this time"),
)
"""What is offered, and what it means."""

_AGO = re.compile(r"-?((?:\d{1,6}(?:\.\d{1,3})?\s*[smhd]\s*)+)(?:ago)?", re.IGNORECASE)
_PART = re.compile(r"([\d.]+)\s*([smhd])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(\.\d{1,6})?)?")
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](.+))?")


def parse(text: str, now: float) -> float:
    """The wall clock that is meant, in local time. A time of day is the last one that was.

    Raises UsageError for what is no time.
    """
    text = text.strip()
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - sum(float(n) * _SECONDS[u.lower()] for n, u in _PART.findall(ago[1]))
    today = time.localtime(now)
    date = _DATE.fullmatch(text)
    try:
        if date is not None:
            day = (int(date[1]), int(date[2]), int(date[3]))
            return _at(day, date[4] or "0:00")
        if _CLOCK.fullmatch(text):
            at = _at((today.tm_year, today.tm_mon, today.tm_mday), text)
            return at if at <= now else _at((today.tm_year, today.tm_mon, today.tm_mday - 1), text)
    except (OverflowError, ValueError):
        pass
    raise UsageError(
        f"{clean(text)!r} is no time", "try 5m, 1h30m, 12:03, 12:03:49 or 2026-08-21 09:30"
    )


def _at(day: tuple[int, int, int], clock: str) -> float:
    found = _CLOCK.fullmatch(clock.strip())
    if found is None:
        raise ValueError(clock)
    hour, minute, second = int(found[1]), int(found[2]), int(found[3] or 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(clock)
    return time.mktime((*day, hour, minute, second, 0, 0, -1)) + float(found[4] or 0)
