"""Reads what codes look like (`firmware_configs/carriers/*.toml`): data for error texts only."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from edge_agent.domain.scan_patterns import CodePattern
from protocols.errors import Rejected

PATTERNS_MAX = 100
PATTERN_CHARS_MAX = 80
_PIECE = re.compile(
    r"(?:[A-Za-z0-9_%@-]|\\d|\\\.|\[[A-Za-z0-9-]+\]|\{\d{1,3}(?:,\d{1,3})?\}|\||\(\?:|\))*"
)
"""What a pattern may be made of: nothing in it can repeat without a bound."""


def read_patterns(path: Path) -> tuple[CodePattern, ...]:
    """Load one file. Raises `Rejected` (code `code_patterns`) naming the entry and key."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as broken:
        raise _bad(f"读不了 {path.name}", "file") from broken
    rows = data.pop("pattern", None)
    if data or not isinstance(rows, list) or not 0 < len(rows) <= PATTERNS_MAX:
        raise _bad(f"应有 1 到 {PATTERNS_MAX} 个 [[pattern]]，没有别的", "pattern")
    return tuple(_pattern(row, f"pattern[{number}]") for number, row in enumerate(rows))


def _pattern(row: dict[str, object], where: str) -> CodePattern:
    for key in sorted(set(row) ^ {"carrier", "name_zh", "match", "source"}):
        raise _bad("缺少的键" if key not in row else "不认识的键", f"{where}.{key}")
    for key, value in row.items():
        if not isinstance(value, str) or not value:
            raise _bad("应为非空文字", f"{where}.{key}")
    text = str(row["match"])
    if len(text) > PATTERN_CHARS_MAX or not _PIECE.fullmatch(text):
        raise _bad("只能用字母、数字、\\d、[…]、{n,m}、(?:…|…)", f"{where}.match")
    try:
        return CodePattern(str(row["name_zh"]), re.compile(text, re.ASCII))
    except re.error as error:
        raise _bad("写法有误", f"{where}.match") from error


def _bad(zh: str, field: str) -> Rejected:
    return Rejected("code_patterns", f"条码样式有误: {zh}", "bad code patterns", field=field)
