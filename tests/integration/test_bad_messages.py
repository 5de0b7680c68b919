"""Nonsense from the wire and from the scanners stops at the first door; neighbours go through.

Real programs on both brokers. A bench with a valid account misbehaves; a scanner sends what no
scanner should. Each gets its documented code, and the shift goes on beside it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocols import codec, events, limits, topics
from protocols.messages import AgentState, Batch, Command, Token
from tests.support.books import everything_wrong, read
from tests.support.core import FloorAgent
from tests.support.mqtt_probe import Probe
from tests.support.plant import SPARE, BrokerKind, Plant
from virtual_warehouse.demo.places import PLACES

SITE, AGENT = PLACES[0].site, PLACES[0].agent
SECRET_CODE = "SELECT-DROP-TABLE-测试甲-10000000001"
BOMB = zlib.compress(b"{" + b" " * 60_000_000, 9)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


async def test_nonsense_stops_at_the_door_and_the_shift_goes_on(
    broker_kind: BrokerKind, tmp_path: Path
) -> None:
    async with Plant.running(tmp_path, broker_kind, 11, at_work=False) as plant:
        await scans_that_no_scanner_should_send(plant)
        plant.begin_work()
        await plant.progress(10)
        await asyncio.to_thread(forge_for_another, account(plant, SPARE))
        await messages_that_name_another_or_nothing(plant)
        await a_fact_under_an_old_token(plant)
        await commands_that_are_none(plant)
        await plant.progress(10)
        await plant.drain()
        assert await plant.stop_in_order() == [0, 0, 0]
        wrong = everything_wrong(plant.books, plant.benches, plant.answered, plant.opening)
        shown = (f"quarantined agent:{SPARE}", "incident packed_under_old_token", "alarm incident",
                 f"alarm quarantine agent:{SPARE}")  # fmt: skip
        assert [one for one in wrong if not one.startswith(shown)] == []
        assert all(program.starts == 1 for program in plant.programs)


def account(plant: Plant, user: str) -> Probe:
    """A bare client with a real account, not through any line."""
    secret = plant.spare.secret if user == SPARE else plant.access.core_secret
    return Probe(("127.0.0.1", plant.broker.port), user, secret)


def forge_for_another(spare: Probe) -> None:
    """The broker lets nobody speak for another: not his farewell, not his events."""
    farewell = AgentState(limits.VERSION, AGENT, on=False, inc=2**40)
    with spare as forger:
        for channel in ("st", "hello", "ev-floor", "ev-telemetry"):
            payload = codec.encode(farewell)
            forger.publish(topics.up(SITE, AGENT, channel), payload, retain=channel == "st")


async def messages_that_name_another_or_nothing(plant: Plant) -> None:
    """From one's own topic: payloads that name another, are too large, or unpack too large."""
    row = msgspec.Raw(b'{"q":1}')
    named = codec.encode(Batch(limits.VERSION, AGENT, "0" * 16, 1, "0" * 64, [row]))
    hostile = {
        "agent_mismatch": named,
        "message_too_large": b"{" + b" " * limits.BATCH_BYTES_MAX,
        "inflated_too_large": BOMB,
        "zlib_truncated": zlib.compress(named * 50)[:-9],
        "not_json": b"\xff\xfe\x00scan",
        "json_broken": named[:-20],
        "version_unknown": named.replace(b'"v":1', b'"v":9'),
    }
    assert len(BOMB) < limits.BATCH_BYTES_MAX
    spare = account(plant, SPARE)
    await asyncio.to_thread(publish, spare, topics.up(SITE, SPARE, "ev-floor"), hostile.values())

    async def quarantined() -> bool:
        found = plant.books.read("SELECT code, source FROM quarantine")
        assert {row["source"] for row in found} <= {f"agent:{SPARE}"}
        return {row["code"] for row in found} >= set(hostile)

    await plant.until(quarantined, 20, f"quarantine of {sorted(hostile)}")
    kept = plant.books.one("SELECT MAX(LENGTH(body)) FROM quarantine")
    assert kept <= limits.EVENT_BYTES_MAX
    assert plant.books.one("SELECT online FROM agent_state WHERE agent = ?", AGENT) == 1


async def a_fact_under_an_old_token(plant: Plant) -> None:
    """A bench that never owned it says "packed": recorded and shown to people, nothing changes."""
    await plant.busy(AGENT, 1)
    shipment = plant.books.one("SELECT id FROM shipment WHERE agent = ? LIMIT 1", AGENT)
    before = plant.books.one("SELECT waybill FROM shipment WHERE id = ?", shipment)
    liar = FloorAgent(SPARE, SITE)
    body = events.ParcelPacked(shipment=shipment, token=Token(1, 0), waybill="NO-SUCH-NUMBER")
    batch = liar.batch([liar.event("parcel.packed", body)])
    message = Batch(
        limits.VERSION, SPARE, batch.epoch, 1, batch.hash_before.hex(),
        [msgspec.Raw(row) for row in batch.rows],
    )  # fmt: skip
    payload = codec.encode_batch(message)
    spare = account(plant, SPARE)
    await asyncio.to_thread(publish, spare, topics.up(SITE, SPARE, "ev-floor"), [payload, payload])

    async def recorded() -> bool:
        return bool(plant.books.read("SELECT 1 FROM incident WHERE shipment_id = ?", shipment))

    await plant.until(recorded, 20, "an incident")
    found = plant.books.read("SELECT * FROM incident")
    assert [(one["token_epoch"], one["token_n"]) for one in found] == [(1, 0)]
    assert plant.books.one("SELECT waybill FROM shipment WHERE id = ?", shipment) == before


async def commands_that_are_none(plant: Plant) -> None:
    """Downwards: the agent counts them, stays linked and stores nothing of them."""
    one = plant.warehouses[AGENT]
    before = one.crew.screen.status["counters"]["messages_bad"]
    unknown = Command(limits.VERSION, "made-up", 1, "explode", 0, 1, msgspec.Raw(b"{}"))
    payloads = [BOMB, b"{" + b" " * limits.BATCH_BYTES_MAX, b'{"v":1,"id":', b"\x00" * 100]
    topic = topics.down(SITE, AGENT, "cmd")
    core = account(plant, "core")
    await asyncio.to_thread(publish, core, topic, [*payloads, codec.encode(unknown)])

    async def counted() -> bool:
        return bool(one.crew.screen.status["counters"]["messages_bad"] >= before + len(payloads))

    await plant.until(counted, 20, "bad messages counted")
    await plant.until(plant.linked, 30, "both agents linked")


async def scans_that_no_scanner_should_send(plant: Plant) -> None:
    """10,000 characters, control codes, broken encoding: an error tone each, and work goes on."""
    one = plant.warehouses[AGENT]
    station = one.place.packing[0]
    scanner = one.scanners[station]

    def tones(tone: str) -> int:
        return int(one.crew.screen.status["counters"]["scans"].get(tone, 0))

    async def heard(tone: str, count: int) -> None:
        async def enough() -> bool:
            return tones(tone) >= count

        await plant.until(enough, 15, f"{count} times the {tone} tone")

    nasty = [b"9" * 10_000, b"ABC\x07\x00DEF", b"\xff\xfe\xfd", SECRET_CODE.encode(),
             b"$$NO-SUCH-CARD", b"TASK-" + b"X" * 250]  # fmt: skip
    for number, data in enumerate(nasty, 1):
        await pour(scanner.send, data + b"\r")
        await heard("error", number)
    ok = tones("ok")
    scanner.scan(f"STN-{station}")
    await heard("ok", ok + 1)
    reasons = {"too_long", "control_character", "encoding", "code_unknown"}

    async def told() -> bool:
        rows = plant.books.rows(AGENT, "telemetry")
        return reasons <= {
            msgspec.json.decode(row.event.d)["reason"]
            for row in rows
            if row.event.t == "scan.refused"
        }

    await plant.until(told, 20, f"telemetry of {reasons}")
    for path in (*one.journals.values(), plant.books.path):
        assert not holds(path, SECRET_CODE), path
    assert SECRET_CODE not in str(one.crew.screen.status)


async def pour(send: Callable[[bytes], None], data: bytes) -> None:
    """At a wire's speed, in pieces that a pty takes whole."""
    for start in range(0, len(data), 1_000):
        while True:
            try:
                send(data[start : start + 1_000])
                break
            except BlockingIOError:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.005)


def publish(probe: Probe, topic: str, payloads: Any) -> None:
    with probe as client:
        assert client.connected
        for payload in payloads:
            assert client.publish(topic, payload)


def holds(path: Path, text: str) -> bool:
    """Whether any value of any table, or the raw file beside it, holds this text."""
    tables = [
        row["name"] for row in read(path, "SELECT name FROM sqlite_master WHERE type='table'")
    ]
    needle = text.encode()
    found = any(
        needle in (value if isinstance(value, bytes) else str(value).encode())
        for table in tables
        for row in read(path, f"SELECT * FROM {table}")
        for value in tuple(row)
    )
    files = (path, path.with_name(path.name + "-wal"))
    return found or any(needle in file.read_bytes() for file in files if file.exists())
