"""Rows out of statements: the columns of a row class in its own order, key lists in portions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Column, Connection, Row, Select, String, Table, bindparam, select, text

from cloud_core.store.pg_values import array_type, literal_of

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


def among(connection: Connection, column: Column[Any], keys: Sequence[Any]) -> Any:
    """The condition that a column has one of these values.

    One argument on PostgreSQL, whatever the number of keys, so that the server's plan is kept.
    """
    if connection.dialect.name != "postgresql":
        return column.in_(keys)
    values = bindparam("keys", literal_of(column)(keys), String, unique=True)
    return text(f"{column.table.name}.{column.name} = ANY(CAST(:keys AS {array_type(column)}))"
                ).bindparams(values)  # fmt: skip


def parts(keys: Iterable[Any]) -> list[list[Any]]:
    """Key lists small enough for one IN, each key once."""
    every = list(dict.fromkeys(keys))
    return [every[i : i + IN_MAX] for i in range(0, len(every), IN_MAX)]
