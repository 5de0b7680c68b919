"""Columns of values as PostgreSQL array literals, so that one statement carries a whole batch.

A driver adapts lists element by element; joining text and letting the server parse it costs a
tenth (postgresql.org/docs/current/arrays.html#ARRAYS-IO). Knows types of columns, no table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, LargeBinary

Literal = Callable[[Sequence[Any]], str]


def array_type(column: Column[Any]) -> str:
    """The array type that a column's values travel as: `text[]`, `bigint[]`, `bytea[]`."""
    if isinstance(column.type, LargeBinary):
        return "bytea[]"
    if isinstance(column.type, (Integer, BigInteger)):
        return "bigint[]"
    return "text[]"


def literal_of(column: Column[Any]) -> Literal:
    """How values of a column become an array literal."""
    return _LITERALS[array_type(column)]


def ints_array(values: Sequence[int | None]) -> str:
    """`{1,NULL,3}`; True and False count as 1 and 0, which the columns that take them mean."""
    text = ",".join(map(str, values))
    if "e" in text:  # None, True, False
        text = text.replace("None", "NULL").replace("True", "1").replace("False", "0")
    return f"{{{text}}}"


def texts_array(values: Sequence[str | None]) -> str:
    """`{"a","b\\"c",NULL}`. A NUL, which PostgreSQL cannot store, becomes U+FFFD."""
    try:
        text = "\0".join(values)  # type: ignore[arg-type]
    except TypeError:
        return f"{{{','.join('NULL' if v is None else _quoted(v) for v in values)}}}"
    if text.count("\0") != len(values) - 1:
        text = "\0".join(v.replace("\0", "\ufffd") for v in values if v is not None)
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
    return f'{{"{text}"}}'


def bytes_array(values: Sequence[bytes | None]) -> str:
    """`{"\\\\x6162",NULL}`: hexadecimal, two characters a byte."""
    inner = ",".join("NULL" if v is None else f'"\\\\x{v.hex()}"' for v in values)
    return f"{{{inner}}}"


def _quoted(value: str) -> str:
    escaped = value.replace("\0", "\ufffd").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_LITERALS: dict[str, Literal] = {
    "bytea[]": bytes_array,
    "bigint[]": ints_array,
    "text[]": texts_array,
}
