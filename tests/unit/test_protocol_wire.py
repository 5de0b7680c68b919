"""The wire's pure parts hold for any value: round trips, the chain, topics, chunks."""

from __future__ import annotations

import contextlib
import zlib
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from protocols import chain, chunks, codec, limits, topics
from protocols.commands import COMMANDS, Grant, LabelText, TaskLine
from protocols.errors import Corrupt, Rejected
from protocols.events import (
    EVENTS,
    CommandReceived,
    CommandRefused,
    OfferAccepted,
    PersonalPurged,
    StockCounted,
)
from protocols.messages import (
    MESSAGES,
    Ack,
    AgentState,
    Batch,
    Chunk,
    Command,
    Event,
    Origin,
    Refusal,
    Token,
)

AGENTS = st.from_regex(r"[a-z0-9-]{1,48}\Z", fullmatch=True).filter(lambda name: name != "core")
SEQS = st.integers(0, 2**53)
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
EPOCHS = st.binary(min_size=8, max_size=8).map(bytes.hex)
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    max_size=limits.TEXT_CHARS_MAX,
)
IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)


@st.composite
def events(draw: st.DrawFn) -> Event:
    origin = st.builds(Origin, epoch=EPOCHS, seq=SEQS, hash=HASHES)
    return Event(
        q=draw(SEQS),
        t=draw(st.sampled_from([kind for kinds in EVENTS.values() for kind in kinds])),
        w=draw(SEQS),
        m=draw(SEQS),
        b=draw(SEQS),
        d=Raw(msgspec.json.encode(draw(st.dictionaries(TEXTS, TEXTS, max_size=3)))),
        s=draw(st.text("abc-", max_size=48)),
        o=draw(st.none() | origin),
    )


@given(events())
def test_a_row_round_trips(event: Event) -> None:
    row = codec.encode(event)
    again = codec.decode_event(row)
    assert codec.encode(again) == row
    assert (again.q, again.t, again.w, again.m, again.b, again.s, again.o) == (
        event.q, event.t, event.w, event.m, event.b, event.s, event.o,
    )  # fmt: skip


@given(st.lists(events(), min_size=1, max_size=30), AGENTS, EPOCHS, HASHES)
def test_a_batch_keeps_its_rows_byte_for_byte(
    rows: list[Event], agent: str, epoch: str, before: str
) -> None:
    encoded = [codec.encode(row) for row in rows]
    batch = Batch(v=1, a=agent, e=epoch, s=1, h=before, ev=[Raw(row) for row in encoded])
    payload = codec.encode_batch(batch)
    assert payload.startswith(b"\x78") == (len(rows) >= limits.COMPRESS_FROM_EVENTS)
    again = codec.decode(payload, Batch)
    assert [bytes(row) for row in again.ev] == encoded
    assert (again.a, again.e, again.s, again.h) == (agent, epoch, 1, before)


@given(SEQS, SEQS, TEXTS, st.dictionaries(st.text("abc", min_size=1), TEXTS, max_size=4))
def test_a_heartbeat_round_trips(inc: int, wall_ms: int, sw: str, printers: Any) -> None:
    state = AgentState(v=1, a="bench-1", on=True, inc=inc, sw=sw, wall_ms=wall_ms)
    state = msgspec.structs.replace(state, printers=printers)
    assert codec.decode(codec.encode_message(state), AgentState) == state


@given(st.lists(st.builds(Refusal, q=SEQS, code=TEXTS), max_size=20), HASHES, SEQS, st.booleans())
def test_an_ack_round_trips(rej: list[Refusal], have_hash: str, have: int, fork: bool) -> None:
    ack = Ack(v=1, stream="floor", e="0" * 16, have=have, hash=have_hash, srv_ms=1, fork=fork)
    ack = msgspec.structs.replace(ack, rej=rej)
    assert codec.decode(codec.encode_message(ack), Ack) == ack


@given(st.binary(max_size=400))
def test_noise_is_corrupt_and_nothing_else(noise: bytes) -> None:
    for payload in (noise, b"{" + noise, zlib.compress(noise), b"\x78" + noise):
        for kind in MESSAGES.values():
            with contextlib.suppress(Corrupt):
                assert isinstance(codec.decode(payload, kind), kind)


@given(st.sampled_from(sorted(COMMANDS)), st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_any_json_as_a_command_body_is_a_body_or_corrupt(kind: str, body: Any) -> None:
    raw = Raw(msgspec.json.encode(body))
    command = Command(v=1, id="c-1", cs=1, k=kind, sent_ms=0, core_epoch=1, d=raw)
    try:
        decoded = codec.decode_command_body(command)
    except Corrupt:
        return
    assert isinstance(decoded, COMMANDS[kind])


def test_tokens_are_ordered_by_core_epoch_first() -> None:
    assert Token(1, 900) < Token(2, 1) < Token(2, 2)


# --- sizes -------------------------------------------------------------------------------------


def biggest_events() -> dict[str, msgspec.Struct]:
    """The largest body of every event that has a list, at the limits of its parts."""
    sku = "货" * limits.SKU_CHARS_MAX
    lines = [{"sku": sku, "quantity": limits.QUANTITY_MAX}] * limits.LINES_MAX
    place = {"shipment": "S" * 64, "token": [2**53, 2**53]}
    order = {"order": "O" * 64, "channel": "C" * 64, "native_id": "号" * limits.TEXT_CHARS_MAX}
    ids = ["I" * 64] * limits.RECEIPTS_MAX
    refused = [{"id": "I" * 64, "code": "c" * 64}] * limits.RECEIPTS_MAX
    counts = [{"sku": sku, "shelf": 1_000_000}] * limits.LINES_MAX
    convert = msgspec.convert
    return {
        "command.received": convert(
            {"ids": ids, "refused": [CommandRefused("I" * 64, "c" * 64)] * len(refused)},
            CommandReceived,
        ),
        "offer.accepted": convert({**place, **order, "lines": lines}, OfferAccepted),
        "stock.counted": convert({"counts": counts}, StockCounted),
        "personal.purged": PersonalPurged(["S" * 64] * limits.FENCES_MAX),
    }


@pytest.mark.parametrize("kind", ["command.received", "offer.accepted", "stock.counted"])
def test_an_event_at_its_limits_fits_the_row_bound(kind: str) -> None:
    body = biggest_events()[kind]
    row = codec.encode(Event(q=2**53, t=kind, w=2**53, m=2**53, b=2**53, d=codec.raw(body)))
    assert len(row) <= limits.EVENT_BYTES_MAX
    assert codec.decode_event_body("floor", codec.decode_event(row)) == body


def test_a_batch_of_the_senders_bound_fits_a_message_even_if_it_does_not_compress() -> None:
    overhead = len(
        codec.encode(
            Batch(v=1, a="a" * 48, e="0" * 16, s=2**53, h="0" * 64, ev=[], skip_from=2**53)
        )
    )
    commas = limits.BATCH_EVENTS_MAX
    deflate_worst = limits.BATCH_PLAIN_BYTES_MAX // 1000 + 64
    assert (
        limits.BATCH_PLAIN_BYTES_MAX + overhead + commas + deflate_worst <= limits.BATCH_BYTES_MAX
    )


def test_a_grant_of_two_hundred_lines_travels_compressed() -> None:
    line = TaskLine("SKU-000001", 3, "演示商品" * 20, ["6900000000017"] * 20, "A-03-2")
    label = LabelText("圆通演示", "测**", "100****0001", "上海市浦东新区***")
    grant = Grant("DB1-1", Token(1, 1), "DB1", "demo", "n", "YT88", "YTO", label, [line] * 200, 0)
    command = Command(v=1, id="c-1", cs=1, k="grant", sent_ms=0, core_epoch=1, d=codec.raw(grant))
    payload = codec.encode_message(command)
    assert payload[:1] == b"\x78"
    assert len(payload) < 8 * 1024
    assert codec.decode_command_body(codec.decode(payload, Command)) == grant


def test_a_message_that_cannot_travel_is_refused_at_the_sender() -> None:
    noise = "".join(sha256(str(n).encode()).hexdigest() for n in range(8_000))
    command = Command(
        v=1, id="c-1", cs=1, k="notice", sent_ms=0, core_epoch=1, d=codec.raw(Big(noise))
    )
    with pytest.raises(Corrupt, match="message_too_large"):
        codec.encode_message(command)


class Big(msgspec.Struct):
    """A body far above every bound."""

    text: str


# --- chain -------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=2, max_size=12), st.data())
def test_a_changed_lost_or_swapped_row_changes_the_head(
    rows: list[bytes], data: st.DataObject
) -> None:
    start = chain.genesis("bench-1", "floor", "0" * 16)
    head = chain.extend(start, rows)[-1]
    at = data.draw(st.integers(0, len(rows) - 1))
    changed = [*rows[:at], rows[at] + b"!", *rows[at + 1 :]]
    assert chain.extend(start, changed)[-1] != head
    assert chain.extend(start, rows[:at] + rows[at + 1 :])[-1] != head
    if rows[0] != rows[1]:
        assert chain.extend(start, [rows[1], rows[0], *rows[2:]])[-1] != head


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=12), st.integers(0, 12))
def test_the_chain_can_be_resumed_anywhere(rows: list[bytes], at: int) -> None:
    start = chain.genesis("bench-1", "floor", "0" * 16)
    all_hashes = chain.extend(start, rows)
    first = chain.extend(start, rows[:at])
    rest = chain.extend(first[-1] if first else start, rows[at:])
    assert first + rest == all_hashes
    assert all(len(value) == chain.HASH_BYTES for value in all_hashes)


def test_every_stream_epoch_begins_elsewhere() -> None:
    starts = {
        chain.genesis(agent, stream, epoch)
        for agent in ("bench-1", "bench-2")
        for stream in topics.STREAMS
        for epoch in ("0" * 16, "1" * 16)
    }
    assert len(starts) == 8


# --- topics ------------------------------------------------------------------------------------


@given(AGENTS, AGENTS)
def test_a_topic_parses_to_what_made_it(site: str, agent: str) -> None:
    for channel in topics.UP_CHANNELS:
        topic = topics.up(site, agent, channel)
        assert topics.parse(topic) == topics.Topic(site, agent, "up", channel)
        assert len(topic) <= 128
    for channel in topics.DOWN_CHANNELS:
        assert topics.parse(topics.down(site, agent, channel)).channel == channel
    assert topics.down_filter(site, agent) == f"v1/{site}/{agent}/dn/#"


@pytest.mark.parametrize(
    "topic",
    [
        "", "v1", "v1/hz/a/up", "v1/hz/a/up/st/more", "v2/hz/a/up/st", "/v1/hz/a/up/st",
        "v1/hz/a/sideways/st", "v1/hz/a/up/cmd", "v1/hz/a/dn/st", "v1/hz/a/up/", "v1/hz//up/st",
        "v1/+/a/up/st", "v1/hz/#/up/st", "v1/hz/A/up/st", "v1/hz/a.b/up/st", "v1/hz/a b/up/st",
        "v1/core/a/up/st", "v1/hz/core/up/st", "v1/hz/a\n/up/st", "v1/hz/*/up/st", "v1/hz/>/up/st",
        "v1/" + "s" * 49 + "/a/up/st", "v1/" + "s" * 200 + "/a/up/st", "v1/仓/a/up/st",
    ],
)  # fmt: skip
def test_what_is_not_wire_v1_is_refused(topic: str) -> None:
    with pytest.raises(Corrupt) as caught:
        topics.parse(topic)
    assert caught.value.field in ("topic", "site", "agent")


def test_the_stream_is_in_the_channel() -> None:
    assert [topics.stream_of(f"ev-{stream}") for stream in topics.STREAMS] == list(topics.STREAMS)


# --- chunks ------------------------------------------------------------------------------------

NEXT_PICTURE = bytes(range(256)) * 1_000


def test_a_picture_arrives_in_any_order_with_repeats_and_strangers() -> None:
    parts = chunks.split(NEXT_PICTURE)
    digest = sha256(NEXT_PICTURE).hexdigest()
    strangers = chunks.split(b"another picture")
    assert len(parts) == 3
    assert chunks.join(digest, [*reversed(parts), *strangers, parts[0]]) == NEXT_PICTURE
    assert chunks.missing(digest, strangers) is None
    assert chunks.missing(digest, [parts[1], *strangers]) == [0, 2]
    assert chunks.missing(digest, parts) == []


def test_every_chunk_fits_a_message() -> None:
    for part in chunks.split(bytes(limits.BLOB_BYTES_MAX)):
        payload = codec.encode(part)
        assert len(payload) <= limits.BATCH_BYTES_MAX
        assert codec.decode(payload, Chunk) == part


@pytest.mark.parametrize("size", [0, limits.BLOB_BYTES_MAX + 1])
def test_an_empty_or_huge_blob_is_refused(size: int) -> None:
    with pytest.raises(Rejected, match="blob_size"):
        chunks.split(bytes(size))


def test_a_broken_blob_is_named() -> None:
    parts = chunks.split(NEXT_PICTURE)
    digest = parts[0].digest
    replace = msgspec.structs.replace
    broken = {
        "chunk_missing": parts[:-1],
        "chunk_conflict": [*parts[:-1], replace(parts[-1], count=4)],
        "digest_mismatch": [*parts[:-1], replace(parts[-1], data=b"other")],
    }
    for code, held in broken.items():
        with pytest.raises(Corrupt) as caught:
            chunks.join(digest, held)
        assert caught.value.code == code
    with pytest.raises(Corrupt, match="chunk_missing"):
        chunks.join(digest, [])
