"""Bounds on a JSON body, checked on its bytes before any parser sees it.

A body of a megabyte of `[` costs a parser its stack, ten megabytes of anything cost memory: both
are refused first. This module must not know what the JSON means.
"""

from __future__ import annotations

import re

from protocols.errors import Rejected

MAX_DEPTH = 16

# An unclosed string runs to the end of the body, so that no body is scanned twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_PAIRS = re.compile(rb"\[\]|\{\}")
_ALL_BUT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))


def check_size(raw: bytes, max_bytes: int) -> None:
    """Raise `Rejected("body_too_large")` for a body of more than `max_bytes`."""
    if len(raw) > max_bytes:
        raise Rejected(
            "body_too_large",
            f"请求体 {len(raw)} 字节，超过上限 {max_bytes} 字节",
            f"the body has {len(raw)} bytes, the limit is {max_bytes}",
            field="body",
        )


def check_depth(raw: bytes, max_depth: int = MAX_DEPTH) -> None:
    """Raise `Rejected` `json_too_deep` or `json_broken` for what nests deeper than `max_depth`.

    Takes away strings, then innermost pairs of brackets `max_depth` times; anything left is
    deeper, or not balanced. Linear in the body for each level, all of it in C.
    """
    brackets = _STRING.sub(b"", raw).translate(None, _ALL_BUT_BRACKETS)
    if brackets.count(b"[") != brackets.count(b"]") or brackets.count(b"{") != brackets.count(b"}"):
        _refuse_deep_or_broken(brackets, max_depth)
    left = brackets
    for _ in range(max_depth):
        if not left:
            return
        left = _PAIRS.sub(b"", left)  # one level, however many pairs stand in it
    if left:
        _refuse_deep_or_broken(brackets, max_depth)


def _refuse_deep_or_broken(brackets: bytes, max_depth: int) -> None:
    if _opens_deeper_than(brackets, max_depth):
        raise Rejected(
            "json_too_deep",
            f"JSON 嵌套超过 {max_depth} 层",
            f"the JSON nests deeper than {max_depth} levels",
            field="body",
        )
    raise Rejected("json_broken", "不是有效的 JSON", "the body is not valid JSON", field="body")


def _opens_deeper_than(brackets: bytes, max_depth: int) -> bool:
    depth = 0
    for byte in brackets:
        depth += 1 if byte in b"[{" else -1
        if depth > max_depth:
            return True
    return False
