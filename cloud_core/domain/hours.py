"""Working hours of a warehouse: `HH:MM-HH:MM` in China time, "" = always open."""

from __future__ import annotations

from cloud_core.domain.policy import DAY_MS

CHINA_OFFSET_MS = 8 * 3_600_000
"""China keeps one zone, UTC+8, without daylight saving."""


def minute_of_day(now_ms: int) -> int:
    """Minutes since midnight in China."""
    return (now_ms + CHINA_OFFSET_MS) % DAY_MS // 60_000


def midnight_ms(now_ms: int) -> int:
    """When this day began in China, as milliseconds UTC."""
    return (now_ms + CHINA_OFFSET_MS) // DAY_MS * DAY_MS - CHINA_OFFSET_MS


def is_open(hours: str, now_ms: int) -> bool:
    """Whether `hours` cover this moment; a span may cross midnight; unreadable hours are open."""
    opens, _, closes = hours.partition("-")
    start, end = _minute(opens), _minute(closes)
    if start is None or end is None or start == end:
        return True
    minute = minute_of_day(now_ms)
    return start <= minute < end if start < end else minute >= start or minute < end


def _minute(text: str) -> int | None:
    hour, colon, minute = text.strip().partition(":")
    if not colon or not hour.isdigit() or not minute.isdigit():
        return None
    return int(hour) * 60 + int(minute)
