"""Whatever stands in a column arrives in PostgreSQL as it was, a whole batch in one argument."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from cloud_core.store.pg_values import bytes_array, ints_array, texts_array
from tests.support import databases, postgres

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", "NULL", "null", '"', "\\", "{}", ",", '\\"', "a\0b", "请放门卫", "None", "True"]
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    try:
        with databases.running_on("postgresql"):
            yield databases.open_database(Path(tmp_path_factory.mktemp("values")))
    except postgres.NoServer as missing:
        pytest.skip(str(missing))


def back(engine: Engine, kind: str, literal: str) -> list[object]:
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(f"SELECT unnest(%s::{kind})", (literal,)).scalars())


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_TEXT | st.none(), min_size=1, max_size=8))
def test_texts(engine: Engine, values: list[str | None]) -> None:
    stored = [v if v is None else v.replace("\0", "\ufffd") for v in values]
    assert back(engine, "text[]", texts_array(values)) == stored


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=1, max_size=8))
def test_numbers(engine: Engine, values: list[int | None]) -> None:
    assert back(engine, "bigint[]", ints_array(values)) == values


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40) | st.none(), min_size=1, max_size=8))
def test_bytes(engine: Engine, values: list[bytes | None]) -> None:
    assert back(engine, "bytea[]", bytes_array(values)) == values
