"""What is derived from the wire stays in step with it: schemas, PROTOCOL.md, GLOSSARY.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from protocols import topics, vocabulary
from protocols.commands import COMMANDS
from protocols.events import EVENTS
from protocols.messages import MESSAGES

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "protocols" / "schemas"


def vectors(name: str) -> list[dict[str, Any]]:
    path = ROOT / "protocols" / "vectors" / f"{name}.json"
    return list(json.loads(path.read_text(encoding="utf-8"))["vectors"])


def schema(name: str) -> Draft202012Validator:
    document = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def test_schemas_and_lists_are_written_from_the_structs_as_they_are() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "generate_schemas.py"), "--check"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, f"run tools/generate_schemas.py:\n{run.stdout}{run.stderr}"


def test_every_vector_is_valid_by_its_schema() -> None:
    for vector in vectors("messages"):
        schema(f"messages/{vector['message']}").validate(vector["json"])
    for vector in vectors("commands"):
        schema("messages/Command").validate(vector["json"])
        schema(f"commands/{vector['json']['k']}").validate(vector["json"]["d"])
    for vector in vectors("events"):
        schema("messages/Event").validate(vector["json"])
        name = f"events/{vector['stream']}/{vector['json']['t']}"
        schema(name).validate(vector["json"]["d"])


@pytest.mark.parametrize("name", ["wrong type deep inside", "65 kept epochs", "unknown stream"])
def test_a_malformed_message_is_invalid_by_its_schema_too(name: str) -> None:
    (vector,) = [vector for vector in vectors("malformed") if vector["name"] == name]
    assert not schema(f"messages/{vector['decode']}").is_valid(json.loads(vector["text"]))


def test_the_protocol_document_tells_every_message_topic_command_and_event() -> None:
    text = (ROOT / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")
    headings = {line.split()[1] for line in re.findall(r"^#### .+$", text, re.MULTILINE)}
    told = {kind for kinds in EVENTS.values() for kind in kinds}
    assert {*MESSAGES, *COMMANDS, *told} <= headings
    for channel in topics.UP_CHANNELS:
        assert f"`v1/{{site}}/{{agent}}/up/{channel}`" in text
    for channel in topics.DOWN_CHANNELS:
        assert f"`v1/{{site}}/{{agent}}/dn/{channel}`" in text


def test_every_command_and_event_has_its_chinese_name() -> None:
    assert list(vocabulary.COMMAND_ZH) == list(COMMANDS)
    told = {kind for kinds in EVENTS.values() for kind in kinds}
    assert set(vocabulary.EVENT_ZH) == told


def test_the_glossary_and_the_vocabulary_tell_the_same_words() -> None:
    text = (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \|$", text, re.MULTILINE)
    told = {english: chinese for english, chinese, _ in rows if english not in ("English", "state")}
    told = {english: chinese for english, chinese in told.items() if set(english) != {"-"}}
    states = {word: chinese for word, chinese in told.items() if word.startswith("`")}
    words = {word: chinese for word, chinese in told.items() if not word.startswith("`")}
    assert words == vocabulary.WORDS
    assert states == {f"`{state}`": chinese for state, chinese in vocabulary.STATE_ZH.items()}


def test_every_state_has_its_chinese_name() -> None:
    known = {*vocabulary.OrderState, *vocabulary.ShipmentState}
    assert known <= set(vocabulary.STATE_ZH)
