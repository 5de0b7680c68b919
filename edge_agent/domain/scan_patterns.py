"""What an unknown code looks like, to say something better than "unknown". Never what it is.

Nine to eleven of a hundred waybill numbers are valid GTINs and carriers' ranges overlap, so a
pattern is only ever part of an error's text: nothing is looked up, recorded or decided by it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.domain.scan_gs1 import split_aim

NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class CodePattern:
    """`name_zh` stands in the sentence ("圆通的面单号"); the whole code must match."""

    name_zh: str
    pattern: re.Pattern[str]


def hint_zh(code: str, patterns: Sequence[CodePattern]) -> str:
    """One sentence about an unknown code, "" when it looks like nothing we know of."""
    aim, bare = split_aim(code)
    if bare.startswith("\x1d") and not aim:
        return "扫描枪没有发送 AIM 标识, 请扫设置页打开"
    names = [one.name_zh for one in patterns if one.pattern.fullmatch(bare)]
    if not names:
        return ""
    return f"这像是{'或'.join(dict.fromkeys(names[:NAMES_SHOWN]))}，但本机不认识"
