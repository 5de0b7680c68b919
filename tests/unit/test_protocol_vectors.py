"""The golden vectors: what is good decodes and encodes to the same bytes, what is bad is named."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw, Struct, to_builtins

from protocols import chain, codec, topics
from protocols.commands import COMMANDS
from protocols.errors import Corrupt
from protocols.events import EVENTS
from protocols.messages import MESSAGES, Batch, Command, Event

VECTORS = Path(__file__).parents[2] / "protocols" / "vectors"


def load(name: str) -> list[dict[str, Any]]:
    return list(json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))["vectors"])


def cases(name: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in load(name)]


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def as_json(row: Raw) -> Any:
    return json.loads(bytes(row))


def payload_of(vector: dict[str, Any]) -> bytes:
    """The bytes a vector stands for: text, base64 or a recipe."""
    if "text" in vector:
        text = vector["text"]
        return text.encode() if isinstance(text, str) else compact(text)
    if "base64" in vector:
        return base64.b64decode(vector["base64"])
    recipe = vector["repeat"]
    plain = f"{recipe['prefix']}{recipe['text'] * recipe['count']}{recipe['suffix']}".encode()
    return zlib.compress(plain, 9) if recipe["zlib"] else plain


def read(payload: bytes, how: str) -> Struct:
    """Decode a payload the way its receiver does."""
    if how in MESSAGES:
        return codec.decode(payload, MESSAGES[how])
    if how == "command body":
        return codec.decode_command_body(codec.decode(payload, Command))
    event = codec.decode_event(payload)
    if how == "event":
        return event
    return codec.decode_event_body(how.rsplit(" ", 1)[-1], event)


@pytest.mark.parametrize("vector", cases("messages"))
def test_a_message_decodes_and_encodes_to_the_same_bytes(vector: dict[str, Any]) -> None:
    plain = compact(vector["json"])
    kind = MESSAGES[vector["message"]]
    if kind is Event:
        assert codec.encode(codec.decode_event(plain)) == plain
        return
    message = codec.decode(plain, kind)
    assert codec.encode(message) == plain
    if "base64" in vector:
        assert codec.decode(base64.b64decode(vector["base64"]), kind) == message


@pytest.mark.parametrize("vector", cases("events"))
def test_an_event_decodes_with_its_body(vector: dict[str, Any]) -> None:
    row = compact(vector["json"])
    event = codec.decode_event(row)
    assert codec.encode(event) == row
    body = codec.decode_event_body(vector["stream"], event)
    assert codec.encode(body) == bytes(event.d)


@pytest.mark.parametrize("vector", cases("commands"))
def test_a_command_decodes_with_its_body(vector: dict[str, Any]) -> None:
    command = codec.decode(compact(vector["json"]), Command)
    body = codec.decode_command_body(command)
    assert codec.encode(body) == bytes(command.d)
    assert codec.encode(command) == compact(vector["json"])


def test_every_message_command_and_event_has_a_vector() -> None:
    assert {vector["message"] for vector in load("messages")} == set(MESSAGES)
    assert [vector["json"]["k"] for vector in load("commands")] == list(COMMANDS)
    told = [(vector["stream"], vector["json"]["t"]) for vector in load("events")]
    assert told == [(stream, kind) for stream, kinds in EVENTS.items() for kind in kinds]


def test_the_topics_of_the_vectors_are_wire_v1() -> None:
    for vector in load("messages") + load("commands"):
        topic = vector["topic"]
        if topic not in ("", topics.CORE_STATE_TOPIC):
            assert str(topics.parse(topic)) == topic


def test_the_chain_of_the_vectors() -> None:
    for vector in load("chain"):
        start = chain.genesis(vector["agent"], vector["stream"], vector["epoch"])
        assert start.hex() == vector["genesis"]
        rows = [row.encode() for row in vector["rows"]]
        assert [value.hex() for value in chain.extend(start, rows)] == vector["hashes"]


def test_the_batch_vectors_continue_the_chain_of_theirs() -> None:
    six = load("chain")[0]
    for vector in load("messages"):
        if vector["message"] == "Batch" and vector["json"]["e"] == six["epoch"]:
            batch = codec.decode(compact(vector["json"]), Batch)
            rows = [bytes(row) for row in batch.ev]
            assert batch.h == six["genesis"]
            assert rows == [row.encode() for row in six["rows"][: len(rows)]]


@pytest.mark.parametrize("vector", cases("malformed"))
def test_a_bad_payload_is_refused_with_its_code_and_field(vector: dict[str, Any]) -> None:
    with pytest.raises(Corrupt) as caught:
        read(payload_of(vector), vector["decode"])
    assert (caught.value.code, caught.value.field) == (vector["code"], vector["field"])
    assert caught.value.zh
    assert caught.value.en


@pytest.mark.parametrize("vector", cases("tolerated"))
def test_an_odd_but_good_payload_is_understood(vector: dict[str, Any]) -> None:
    message = read(payload_of(vector), vector["decode"])
    expected = read(compact(vector["same_as"]), vector["decode"])
    if isinstance(message, Batch):
        assert isinstance(expected, Batch)
        assert (message.a, message.e, message.s, message.h) == (
            expected.a,
            expected.e,
            expected.s,
            expected.h,
        )
        assert [as_json(row) for row in message.ev] == [as_json(row) for row in expected.ev]
    else:
        assert to_builtins(message) == to_builtins(expected)
