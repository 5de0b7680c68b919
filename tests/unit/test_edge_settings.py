"""The agent's settings: what is wrong is named, what is right is complete and documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent import settings
from protocols.errors import Rejected

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "SETTINGS.md"

GOOD = """
site = "sha"
agent = "sha-1"
[[printers]]
name = "label-1"
host = "192.0.2.10"
[[stations]]
id = "S1"
printer = "label-1"
[[scanners]]
source = "gun-1"
station = "S1"
path = "/dev/serial/by-path/x"
"""


def load(tmp_path: Path, text: str, **environment: str) -> settings.Settings:
    file = tmp_path / "edge.toml"
    file.write_text(text, encoding="utf-8")
    return settings.load(file, environment)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    found = load(tmp_path, GOOD, PACKLINE_EDGE_MQTT_PORT="8883", PACKLINE_EDGE_PAGE_ENABLED="false")
    assert (found.mqtt_port, found.page_enabled, found.agent) == (8883, False, "sha-1")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (("site = ", "sight = "), "sight"),
        (('agent = "sha-1"', ""), "agent"),
        (('"sha-1"', '"SHA 1"'), "agent"),
        (('site = "sha"', 'site = "sha"\nmqtt_port = 99999'), "mqtt_port"),
        (('host = "192.0.2.10"', 'host = "192.0.2.10"\nspeed = 1'), "printers[0]"),
        (('printer = "label-1"', 'printer = "label-9"'), "stations"),
        (('station = "S1"', 'station = "S9"'), "scanners"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, change: tuple[str, str], field: str) -> None:
    with pytest.raises(Rejected) as refused:
        load(tmp_path, GOOD.replace(*change))
    assert refused.value.code == "settings_invalid"
    assert refused.value.field == field
    if field == "agent" and not change[1]:
        assert refused.value.zh == "缺少设置项 agent；用 --config 给出设置文件"


@pytest.mark.parametrize("text", ["--5", "²", "1e3", "9" * 5_000, ""])
def test_a_number_that_is_none_is_named_and_not_a_fault(text: str) -> None:
    environment = {"PACKLINE_EDGE_SITE": "sha", "PACKLINE_EDGE_AGENT": "sha-1"}
    with pytest.raises(Rejected) as refused:
        settings.load(None, {**environment, "PACKLINE_EDGE_REPEAT_MS": text})
    assert refused.value.field == "repeat_ms"


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as refused:
        load(tmp_path, "site = ")
    assert refused.value.code == "settings_unreadable"


def test_every_setting_is_in_the_printed_reference() -> None:
    text = settings.reference()
    for name in settings.Settings.__struct_fields__:
        assert f"| `{name}` |" in text


def test_the_document_says_what_the_program_prints() -> None:
    assert settings.reference() in DOCUMENT.read_text(encoding="utf-8")
