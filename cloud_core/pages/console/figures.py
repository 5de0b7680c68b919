"""Numbers and times as staff read them: China's clock, time left, yuan; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cloud_core.domain.tracking import CHINA

_MINUTE_MS, _HOUR_MS, _DAY_MS = 60_000, 3_600_000, 86_400_000


def clock(at_ms: int | None) -> str:
    """11-24 14:03 in China, a dash for no time and for times no calendar has."""
    if not at_ms:
        return "—"
    try:
        at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(CHINA)
    except (ValueError, OverflowError, OSError):
        return "—"
    return f"{at:%m-%d %H:%M}"


def age(at_ms: int | None, now_ms: int) -> str:
    """How long ago: "3 分钟"."""
    return span(now_ms - at_ms) if at_ms else "—"


def left(ship_by_ms: int | None, now_ms: int) -> str:
    """剩 3 小时 before a limit, 超 20 分钟 after it."""
    if not ship_by_ms:
        return "—"
    rest_ms = ship_by_ms - now_ms
    return f"剩 {span(rest_ms)}" if rest_ms > 0 else f"超 {span(-rest_ms)}"


def span(ms: int) -> str:
    """A length of time in its two largest units."""
    ms = max(0, ms)
    if ms < _MINUTE_MS:
        return f"{ms // 1000} 秒"
    if ms < _HOUR_MS:
        return f"{ms // _MINUTE_MS} 分钟"
    if ms < _DAY_MS:
        hours, minutes = ms // _HOUR_MS, ms % _HOUR_MS // _MINUTE_MS
        return f"{hours} 小时 {minutes} 分" if minutes else f"{hours} 小时"
    days, hours = ms // _DAY_MS, ms % _DAY_MS // _HOUR_MS
    return f"{days} 天 {hours} 小时" if hours else f"{days} 天"


def yuan(fen: int) -> str:
    """1,234.50 from fen."""
    return f"{fen // 100:,}.{fen % 100:02d}"


def upto(count: int, most: int = 10_000) -> str:
    """A count, with a plus where counting stopped."""
    return f"{count:,}+" if count >= most else f"{count:,}"


def share(counts: Sequence[int]) -> list[tuple[float, float]]:
    """(start, width) in percent of each part of a bar; nothing for nothing."""
    total, start, parts = sum(counts), 0.0, []
    for count in counts:
        width = 100 * count / total if total else 0.0
        parts.append((round(start, 2), round(width, 2)))
        start += width
    return parts
