"""A run that must prove something on an engine or a broker ends when there is none."""

from __future__ import annotations

import pytest

from tests.support import postgres, required


def test_a_run_without_what_it_requires_ends_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise postgres.NoServer("no PostgreSQL here")

    monkeypatch.setattr(postgres, "server_url", nowhere)
    monkeypatch.setattr(required, "find_mosquitto", lambda: None)
    for asked, told in (
        ("postgresql", "postgresql is required here: no PostgreSQL here"),
        ("mosquitto", "mosquitto is required here: it is not installed"),
        ("oracle", "oracle is none of postgresql, mosquitto"),
    ):
        monkeypatch.setenv(required.VARIABLE, asked)
        with pytest.raises(pytest.UsageError, match=told):
            required.check()
    monkeypatch.setattr(postgres, "server_url", lambda: "postgresql://there")
    monkeypatch.setenv(required.VARIABLE, " postgresql ,")
    required.check()
    monkeypatch.delenv(required.VARIABLE)
    required.check()
