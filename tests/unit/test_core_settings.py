"""Settings: file, then environment, nothing unknown, and a reference that stays true."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_core.settings import Settings, load, reference
from protocols.errors import Rejected
from tests.house.tree import ROOT


def test_defaults_need_nothing() -> None:
    found = load(None, {"HOME": "/nowhere", "PACKLINE_EDGE_X": "1"})
    assert found == Settings()
    assert found.database == "sqlite:///var/core/core.sqlite"
    assert found.master_key_path == Path("var/core/master.key")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "core.toml"
    file.write_text('http_port = 9000\ndata_dir = "/srv/core"\nmqtt_enabled = false\n')
    found = load(file, {"PACKLINE_CORE_HTTP_PORT": "9100", "PACKLINE_CORE_MQTT_ENABLED": "true",
                        "PACKLINE_CORE_CONFIG": str(file)})  # fmt: skip
    assert (found.http_port, found.data_dir, found.mqtt_enabled) == (9100, "/srv/core", True)


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("PACKLINE_CORE_HTPP_PORT", "1", "htpp_port"),
        ("PACKLINE_CORE_HTTP_PORT", "many", "http_port"),
        ("PACKLINE_CORE_HTTP_PORT", "70000", "http_port"),
        ("PACKLINE_CORE_OFFER_TTL_S", "901", "offer_ttl_s"),
        ("PACKLINE_CORE_MQTT_ENABLED", "perhaps", "mqtt_enabled"),
        ("PACKLINE_CORE_LOG_LEVEL", "loud", "log_level"),
        ("PACKLINE_CORE_PUBLIC_URL", "example.test", "public_url"),
        ("PACKLINE_CORE_ORDER_ID_PREFIX", "db-", "order_id_prefix"),
        ("PACKLINE_CORE_RAW_HOURS", "0", "raw_hours"),
        ("PACKLINE_CORE_QUARANTINE_DAYS", "366", "quarantine_days"),
        ("PACKLINE_CORE_SWEEP_ROWS", "401", "sweep_rows"),
        ("PACKLINE_CORE_HOLD_TTL_MAX_S", "899", "hold_ttl_max_s"),
        ("PACKLINE_CORE_BREAKER_OPEN_S", "86401", "breaker_open_s"),
        ("PACKLINE_CORE_BREAKER_OPEN_MAX_S", "7199", "breaker_open_max_s"),
        ("PACKLINE_CORE_BREAKER_GROWTH_PERCENT", "99", "breaker_growth_percent"),
    ],
)
def test_a_bad_value_is_refused_by_its_key(name: str, value: str, field: str) -> None:
    with pytest.raises(Rejected) as caught:
        load(None, {name: value})
    assert (caught.value.code, caught.value.field) == ("settings_invalid", field)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "core.toml"
    broken.write_text("http_port = = 1")
    for file in (broken, tmp_path / "missing.toml"):
        with pytest.raises(Rejected) as caught:
            load(file, {})
        assert caught.value.code == "settings_unreadable"


def test_the_printed_reference_is_the_one_in_the_documents() -> None:
    text = (ROOT / "docs" / "SETTINGS.md").read_text(encoding="utf-8")
    assert reference() in text, "run: cloud-core settings, and put it into docs/SETTINGS.md"


def test_every_setting_says_what_it_means() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) == len(Settings.__struct_fields__)
    assert all(len(row.split("|")[4].strip()) > 8 for row in rows)
