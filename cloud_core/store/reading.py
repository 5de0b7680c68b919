"""Rows out of statements: the columns of a row class in its own order, key lists in portions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Row, Select, Table, select

R = TypeVar("R", bound=Any)
IN_MAX = 500
"""Keys in one IN list."""


def columns(table: Table, kind: type[Any]) -> list[Any]:
    """The table's columns in the order of the row class's fields."""
    return [table.c[f.name] for f in msgspec.structs.fields(kind)]


def selecting(table: Table, kind: type[Any]) -> Select[Any]:
    """SELECT of exactly the fields of a row class."""
    return select(*columns(table, kind))


def one(connection: Connection, statement: Select[Any], kind: type[R]) -> R | None:
    """The first row, None if there is none."""
    row: Row[Any] | None = connection.execute(statement).first()
    return kind(*row) if row is not None else None


def many(connection: Connection, statement: Select[Any], kind: type[R]) -> list[R]:
    """Every row."""
    return [kind(*row) for row in connection.execute(statement)]


def parts(keys: Iterable[Any]) -> list[list[Any]]:
    """Key lists small enough for one IN, each key once."""
    every = list(dict.fromkeys(keys))
    return [every[i : i + IN_MAX] for i in range(0, len(every), IN_MAX)]
