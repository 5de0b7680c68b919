"""Pages of console lists: a place in a list as a short word of an address, and the links around it.

The word is not a secret and not trusted: what does not decode to the right kinds of values is
refused by name.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from cloud_core.store.console_views import PAGE_ROWS, Json, Key
from protocols.errors import Rejected

CURSOR_CHARS_MAX = 400
_TEXT_MAX = 128
_INT_MAX = 2**63 - 1


def place_of(cursor: str, kinds: Sequence[type]) -> Key | None:
    """The place that a cursor names, None for the first page. Raises `Rejected`."""
    if not cursor:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        values = msgspec.json.decode(base64.b64decode(padded, b"-_", validate=True), type=list[Any])
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise _broken() from None
    fits = len(values) == len(kinds) and all(map(_fits, values, kinds))
    if len(cursor) > CURSOR_CHARS_MAX or not fits:
        raise _broken()
    return tuple(values)


def safe_place(path: str, cursor: str, kinds: Sequence[type]) -> str:
    """The address of a page of a list; of its first one for a place that is none."""
    try:
        place_of(cursor, kinds)
    except Rejected:
        return path
    return address(path, {"after": cursor})


def cursor_of(place: Sequence[Any]) -> str:
    """The word that stands for a place."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(place))).decode().rstrip("=")


def split(
    path: str, rows: list[Json], columns: Sequence[str], chosen: Mapping[str, str], cursor: str,
    name: str = "after",
) -> tuple[list[Json], dict[str, str]]:  # fmt: skip
    """The rows of this page and the addresses of the first and the next one ("" = none)."""
    filters = {key: value for key, value in chosen.items() if value}
    shown = rows[:PAGE_ROWS]
    following = ""
    if len(rows) > PAGE_ROWS:
        place = cursor_of([shown[-1][column] for column in columns])
        following = address(path, {**filters, name: place})
    return shown, {"first": address(path, filters) if cursor else "", "next": following}


def address(path: str, query: Mapping[str, str]) -> str:
    """A path with its query."""
    kept = {key: value for key, value in query.items() if value}
    return f"{path}?{urlencode(kept)}" if kept else path


def _fits(value: Any, kind: type) -> bool:
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _INT_MAX
    return isinstance(value, str) and len(value) <= _TEXT_MAX and "\x00" not in value


def _broken() -> Rejected:
    return Rejected("request_invalid", "翻页位置不正确", "the place is broken", field="after")
