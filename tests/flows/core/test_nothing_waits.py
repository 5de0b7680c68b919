"""One thing that goes wrong never holds up its neighbours: rows, orders, messages, lines (P11)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cloud_core.committer import Flow
from cloud_core.domain import commands as c
from cloud_core.flows import apply_orders, facts
from cloud_core.flows.hear import command_of
from cloud_core.flows.own import own
from cloud_core.flows.registry import FOLDS
from cloud_core.ports import Received, WriteBackAnswer
from cloud_core.store import schema as t
from protocols import chain, codec, topics
from protocols import events as e
from protocols.commands import OfferLine
from protocols.messages import AgentState, Token
from tests.support.core import CoreBench
from tests.support.http_core import HttpCore, events, order_event, until

T1 = Token(1, 1)
A1 = [OfferLine("A", 1)]


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    bench = CoreBench(tmp_path)
    bench.online()
    return bench


def execute(bench: CoreBench, sql: str, *rows: tuple[Any, ...]) -> None:
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        for row in rows or ((),):
            mark = "?" if con.dialect.name == "sqlite" else "%s"
            con.exec_driver_sql(sql.replace("?", mark), row)


def accepted(native: int) -> tuple[str, Any]:
    order = f"DB2026{native:0>8}"
    body = e.OfferAccepted(f"{order}-1", T1, order, "shop1", str(native), A1)
    return "offer.accepted", body


def trip(*_: Any, **__: Any) -> Any:
    raise KeyError("a fault of ours")


def test_an_order_that_trips_us_leaves_the_others_of_its_message_alone(
    bench: CoreBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = apply_orders.new_shipment
    monkeypatch.setattr(
        apply_orders, "new_shipment", lambda ws, order, n: (
            trip() if order.native_id == "2" else good(ws, order, n)
        ),
    )  # fmt: skip
    assert [bench.shop(str(n)).results for n in (1, 2, 3)] == [
        ("created",), ("assertion",), ("created",),
    ]  # fmt: skip
    assert [row[0] for row in bench.rows("SELECT native_id FROM orders ORDER BY 1")] == ["1", "3"]
    assert bench.one("SELECT source, code FROM quarantine") == ("channel:shop1", "assertion")


def test_a_row_that_trips_us_is_put_aside_and_its_stream_goes_on(
    bench: CoreBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(facts._FACTS, "pick.shorted", trip)
    bench.shop("1")
    shorted = e.PickShorted("DB202600000001-1", T1, "A", 1, 0)
    ack = bench.report("hz-a", ("pick.shorted", shorted), accepted(1))
    assert (ack.have, [refusal.q for refusal in ack.rej]) == (2, [1])
    assert bench.one("SELECT state FROM shipment") == "granted"


def test_a_command_that_cannot_be_written_does_not_take_its_batch_with_it(
    bench: CoreBench,
) -> None:
    def unwritable(ws: Any, command: Any) -> None:
        ws.writes.append(trip)

    flows = {kind: Flow(fold, prefetch) for kind, (fold, prefetch) in FOLDS.items()}
    flows[c.WaiveAgent] = Flow(unwritable)
    bench.core._flows = flows
    done = bench.core.commit([
        c.QuarantineInput("a", "x", "", "一", b""), c.WaiveAgent("hz-a", "me"),
        c.QuarantineInput("b", "x", "", "二", b""),
    ])  # fmt: skip
    assert isinstance(done.results[1], KeyError)
    assert bench.one("SELECT count(*) FROM quarantine") == 2


def test_one_bad_shipment_does_not_stop_the_sweep(
    bench: CoreBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.shop("1")
    bench.shop("2")
    monkeypatch.setattr(
        "cloud_core.flows.sweep.own",
        lambda ws, s, **k: trip() if "0001" in s.id else own(ws, s, **k),
    )
    bench.clock.advance(121)
    bench.heartbeat()
    bench.do(c.Sweep())
    assert dict(bench.rows("SELECT id, warehouse FROM shipment")) == {
        "DB202600000001-1": "HZ01", "DB202600000002-1": "SZ01",
    }  # fmt: skip
    assert bench.stock("HZ01", "A") == (10, 0, 1)
    assert bench.one("SELECT code FROM quarantine") == "assertion"


def test_parked_shipments_behind_hopeless_ones_have_their_turn(bench: CoreBench) -> None:
    for n in range(1, 6):
        bench.shop(str(n), lines=(("C", 1),))  # nobody has any
    bench.shop("6", lines=(("B", 20),))
    bench.report("sz-a", ("stock.counted", e.StockCounted([e.Count("B", 25)])))
    place, walked = None, 0
    while True:
        swept = bench.do(c.Sweep(limit=2, parked_after=place))
        place, walked = swept.parked_after, walked + 1
        if place is None:
            break
    assert bench.one("SELECT warehouse FROM shipment WHERE id LIKE '%6-1'") == "SZ01"
    assert walked <= 4


def test_an_empty_pool_of_one_carrier_does_not_hold_up_another(bench: CoreBench) -> None:
    execute(bench, "INSERT INTO carrier (id, name) VALUES ('YTO', '另一家')")
    execute(bench, "UPDATE warehouse SET carrier = 'YTO' WHERE id = 'SZ01'")
    execute(bench, "INSERT INTO core_meta (key, value) VALUES ('master_version', '1')")
    execute(bench, "UPDATE waybill SET state = 'void'")
    for n in (1, 2, 3):
        bench.shop(str(n))
    bench.shop("4", lines=(("A", 8),))  # more than the first warehouse has left
    bench.report("hz-a", *(accepted(n) for n in (1, 2, 3)))
    bench.report("sz-a", accepted(4))
    execute(bench, "INSERT INTO waybill (number, carrier, state) VALUES (?, 'YTO', 'free')",
            ("YT0000000001",))  # fmt: skip
    bench.do(c.Sweep(limit=2))
    assert bench.one("SELECT state FROM shipment WHERE id LIKE '%4-1'") == "granted"


def test_the_alarm_stays_while_anybody_waits_for_a_number(bench: CoreBench) -> None:
    execute(bench, "UPDATE waybill SET state = 'void'")
    bench.shop("1")
    bench.shop("2")
    bench.report("hz-a", accepted(1), accepted(2))
    alarm = "SELECT count(*) FROM alarm WHERE kind = 'waybill_pool_empty' AND closed_ms IS NULL"
    for number, still_waits in (("ZT9900000001", 1), ("ZT9900000002", 0)):
        execute(bench, "INSERT INTO waybill (number, carrier, state) VALUES (?, 'ZTO', 'free')",
                (number,))  # fmt: skip
        bench.do(c.Sweep())
        assert bench.one(alarm) == still_waits


def test_one_commit_may_draw_more_numbers_than_one_page_of_the_pool(bench: CoreBench) -> None:
    execute(bench, "UPDATE stock SET shelf = 5000")
    execute(bench, "INSERT INTO waybill (number, carrier, state) VALUES (?, 'ZTO', 'free')",
            *((f"ZU{n:010d}",) for n in range(1_000)))  # fmt: skip
    count = 650
    for n in range(1, count + 1):
        bench.shop(str(n))
    agent = bench.agents["hz-a"]
    rows = [agent.event(*accepted(n), bench.clock.ms) for n in range(1, count + 1)]
    first = c.RecordBatch("hz01", "hz-a", "floor", agent.epoch, 1, agent.hash, tuple(rows[:400]))
    middle = chain.extend(agent.hash, rows[:400])[-1]
    second = c.RecordBatch("hz01", "hz-a", "floor", agent.epoch, 401, middle, tuple(rows[400:]))
    bench.core.commit([first, second])
    assert (
        bench.one("SELECT count(DISTINCT waybill) FROM shipment WHERE state = 'granted'") == count
    )


def test_an_alarm_that_closes_and_opens_in_one_commit_stays_one_alarm(bench: CoreBench) -> None:
    bench.shop("1")
    bench.report("hz-a", accepted(1))

    def label(state: str) -> tuple[str, Any]:
        body = e.LabelEvent(
            "DB202600000001-1", T1, "ZT0000000001", 1, "DB202600000001", "shop1", "1"
        )
        return f"label.{state}", body

    bench.report("hz-a", label("unknown"))
    bench.report("hz-a", label("printed"), label("unknown"))
    open_alarms = "SELECT count(*) FROM alarm WHERE kind = 'label_unknown' AND closed_ms IS NULL"
    assert bench.one(open_alarms) == 1
    bench.report("hz-a", label("printed"))
    assert bench.one(open_alarms) == 0


def test_an_agent_that_names_an_order_of_another_shop_does_not_block_its_stream(
    bench: CoreBench,
) -> None:
    bench.shop("1")
    strange = e.GrantStored(
        "GHOST-1", T1, "ZT0000000009", "ZTO", "DB202600000001", "shop1", "another", A1
    )
    ack = bench.report("hz-a", ("grant.stored", strange), accepted(1))
    assert ack.have == 2
    assert bench.one("SELECT kind FROM incident") == "unknown_shipment"
    assert bench.one("SELECT state FROM shipment") == "granted"


async def test_a_stored_message_that_trips_us_again_and_again_is_put_aside(
    tmp_path: Path,
) -> None:
    core = HttpCore(tmp_path)
    core.add_channel()
    core.fill()
    prepare = core.wired.core._prepare
    seen: list[int] = []

    def tripping(raw_id: int, message: Any) -> Any:
        seen.append(raw_id)
        return trip() if raw_id == seen[0] else prepare(raw_id, message)

    core.wired.core._prepare = tripping
    async with core.started():
        await core.push(events(order_event("bad")))
        await core.push(events(order_event("good")))
        await until(lambda: [o for o in core.rows(t.orders) if o["native_id"] == "good"])
        await until(lambda: [q for q in core.rows(t.quarantine) if q["ref"] == f"raw:{seen[0]}"])
        await until(lambda: all(row["processed_ms"] for row in core.rows(t.raw_message)))


async def test_a_message_of_the_line_that_trips_us_does_not_end_the_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = HttpCore(tmp_path)
    core.fill()
    monkeypatch.setattr(
        "cloud_core.worker.command_of",
        lambda topic, body: trip() if body == b"!" else command_of(topic, body),
    )
    topic = topics.up("hz", "hz-a", "st")
    state = codec.encode(AgentState(1, "hz-a", on=True, inc=3, sw="heard"))
    async with core.started():
        inbox = core.wired.ports.link.inbox
        inbox.put_nowait(Received(topic, b"!"))
        inbox.put_nowait(Received(topic, state))
        await until(lambda: any(row["sw"] == "heard" for row in core.rows(t.agent_state)))
        await until(lambda: [q for q in core.rows(t.quarantine) if q["code"] == "assertion"])


class DeafShop:
    """One channel never answers, the others take every call."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def send(self, channel: str, kind: str, body: bytes, key: str) -> WriteBackAnswer:
        if channel == "deaf":
            await asyncio.Event().wait()
        self.told.append(key)
        return WriteBackAnswer(True, "200")


async def test_a_shop_that_does_not_answer_delays_no_other(tmp_path: Path) -> None:
    core = HttpCore(tmp_path)
    shop = core.wired.core._write_back = DeafShop()
    calls = [(f"deaf:{n}", "deaf", n) for n in range(40)] + [("good:1", "good", 99)]
    core.insert(t.shop_outbox, *(
        {"id": key, "channel": channel, "order_id": "DB1", "kind": "shipped", "body": "{}",
         "created_ms": due, "due_ms": due}
        for key, channel, due in calls
    ))  # fmt: skip
    async with core.started():
        await until(lambda: shop.told == ["good:1"])
