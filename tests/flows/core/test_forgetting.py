"""Bytes that may name a person go when their time is up; what happened stays on record (P12)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloud_core.bootstrap import knobs_of
from cloud_core.domain import commands as c
from cloud_core.domain.policy import Policy
from cloud_core.settings import check
from cloud_core.store import schema as t
from cloud_core.worker import Pace
from tests.support.core import CoreBench
from tests.support.http_core import HttpCore, events, order_event, until

HOUR_S, DAY_S = 3_600.0, 86_400.0
BODY = "收货人 测试甲 10000000001".encode()
KEEP = Policy(raw_hours=2, quarantine_days=3, raw_kept_max=1_000, quarantine_kept_max=1_000)
FACTS = "SELECT at_ms, source, code, field, message FROM quarantine ORDER BY id"


def refuse(bench: CoreBench, body: bytes = BODY, source: str = "mqtt") -> None:
    bench.do(c.QuarantineInput(source, "json_broken", "body", "不是有效的 JSON", body))


def store(bench: CoreBench, name: str, *, processed: bool = True) -> int:
    raw_id = bench.do(c.StoreRaw("shop1", "event", name, BODY, "", "192.0.2.1")).raw_id
    if processed:
        bench.do(c.ApplyShopEvents("shop1", (), (), raw_id))
    return int(raw_id)


def kept(bench: CoreBench, table: str) -> list[bool]:
    return [bool(row.body) for row in bench.rows(f"SELECT body FROM {table} ORDER BY id")]


def test_quarantined_bytes_go_after_their_days_and_the_facts_stay(tmp_path: Path) -> None:
    bench = CoreBench(tmp_path, policy=KEEP)
    refuse(bench)
    bench.clock.advance(2 * DAY_S)
    refuse(bench, source="agent:hz-a")
    facts = bench.rows(FACTS)
    bench.do(c.Sweep())
    assert kept(bench, "quarantine") == [True, True]
    bench.clock.advance(DAY_S)
    assert bench.do(c.Sweep()).bodies == 1
    assert kept(bench, "quarantine") == [False, True]
    bench.clock.advance(2 * DAY_S)
    bench.do(c.Sweep())
    assert kept(bench, "quarantine") == [False, False]
    assert bench.rows(FACTS) == facts
    assert [(row.source, row.code, row.field) for row in facts] == [
        ("mqtt", "json_broken", "body"), ("agent:hz-a", "json_broken", "body"),
    ]  # fmt: skip


def test_an_agents_refused_row_is_forgotten_too(tmp_path: Path) -> None:
    bench = CoreBench(tmp_path, policy=KEEP)
    bench.online("hz-a")
    bench.report("hz-a", ("no.such.event", {"name": "测试甲"}))
    assert kept(bench, "quarantine") == [True]
    bench.clock.advance(3 * DAY_S)
    bench.do(c.Sweep())
    assert kept(bench, "quarantine") == [False]
    assert bench.one("SELECT source FROM quarantine") == "agent:hz-a/floor"


def test_a_shops_message_keeps_its_bytes_until_some_hours_after_it_was_processed(
    tmp_path: Path,
) -> None:
    bench = CoreBench(tmp_path, policy=KEEP)
    waiting = store(bench, "waiting", processed=False)
    store(bench, "done")
    bench.clock.advance(2 * HOUR_S - 1)
    bench.do(c.Sweep())
    assert kept(bench, "raw_message") == [True, True]
    bench.clock.advance(1)
    bench.do(c.Sweep())
    assert kept(bench, "raw_message") == [True, False]  # nobody has read the first one yet
    bench.do(c.ApplyShopEvents("shop1", (), (), waiting))
    bench.clock.advance(2 * HOUR_S)
    bench.do(c.Sweep())
    assert kept(bench, "raw_message") == [False, False]
    assert bench.do(c.StoreRaw("shop1", "event", "done", BODY)).duplicate  # P8 outlives the bytes


def test_only_the_newest_so_many_keep_their_bytes(tmp_path: Path) -> None:
    few = Policy(raw_kept_max=2, quarantine_kept_max=3)
    bench = CoreBench(tmp_path, policy=few)
    store(bench, "waiting", processed=False)
    for number in range(5):
        store(bench, f"done-{number}")
        refuse(bench)
    bench.do(c.Sweep())
    assert kept(bench, "raw_message") == [True, False, False, False, True, True]
    assert kept(bench, "quarantine") == [False, False, True, True, True]


def test_a_backlog_goes_in_bounded_steps_and_nothing_is_looked_at_twice(tmp_path: Path) -> None:
    bench = CoreBench(tmp_path, policy=KEEP)
    for _ in range(5):
        refuse(bench)
    bench.clock.advance(3 * DAY_S)
    steps = [bench.do(c.Sweep(limit=2)) for _ in range(4)]
    assert [step.bodies for step in steps] == [2, 2, 1, 0]
    assert [step.more_to_purge for step in steps] == [True, True, False, False]
    assert bench.one("SELECT value FROM core_meta WHERE key = 'quarantine_kept_from'") == "6"
    refuse(bench)
    bench.clock.advance(3 * DAY_S)
    assert bench.do(c.Sweep()).bodies == 1


def delivered(bench: CoreBench, native: str) -> str:
    """An order with a contact that was handed over just now; its id."""
    order = f"DB2026{native:0>8}"
    bench.shop(native)
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(
            t.contact.insert(),
            {"order_id": order, "sealed": BODY, "key_id": "k1", "phone_masked": "100****0001",
             "phone_hash": "aa" * 16, "last4_hash": "bb" * 16},
        )  # fmt: skip
        con.execute(
            t.shipment.update()
            .where(t.shipment.c.order_id == order)
            .values(state="handed_over", handed_over_ms=bench.clock.ms, deadline_ms=None)
        )
    return order


def contact_of(bench: CoreBench, order: str) -> tuple[bool, bool, bool]:
    """Whether the clear fields, the phone's hash and its last digits' are still there."""
    row = bench.one(
        "SELECT sealed, phone_hash, last4_hash FROM contact WHERE order_id = :o", o=order
    )
    return row[0] is not None, row[1] != "", row[2] != ""


def test_a_buyer_is_found_by_phone_for_some_time_and_then_by_nothing(tmp_path: Path) -> None:
    bench = CoreBench(tmp_path, policy=Policy(personal_hours=24, phone_search_days=10))
    old = delivered(bench, "1")
    bench.clock.advance(DAY_S)
    bench.do(c.Sweep())
    assert contact_of(bench, old) == (False, True, True)
    bench.clock.advance(5 * DAY_S)
    young = delivered(bench, "2")
    bench.clock.advance(5 * DAY_S - 1)
    bench.do(c.Sweep())
    assert contact_of(bench, old) == (False, True, True)
    bench.clock.advance(1)
    swept = bench.do(c.Sweep())
    assert (swept.purged, swept.more_to_purge) == (1, False)
    assert contact_of(bench, old) == (False, False, False)
    assert contact_of(bench, young) == (False, True, True)
    assert bench.one("SELECT phone_masked FROM contact WHERE order_id = :o", o=old)
    assert bench.do(c.Sweep()).purged == 0  # nothing is looked at twice


def test_phones_are_forgotten_in_bounded_steps_and_at_once_where_no_days_are_set(
    tmp_path: Path,
) -> None:
    bench = CoreBench(tmp_path, policy=Policy(personal_hours=1, phone_search_days=0))
    orders = [delivered(bench, str(number)) for number in range(1, 6)]
    bench.clock.advance(HOUR_S)
    for _ in range(4):
        bench.do(c.Sweep(limit=2))
    assert {contact_of(bench, order) for order in orders} == {(False, False, False)}


async def test_the_running_core_sweeps_at_its_pace_and_empties_a_backlog(tmp_path: Path) -> None:
    core = HttpCore(tmp_path)
    core.fill()
    core.add_channel()
    core.wired.core._pace = Pace(sweep_s=0.05, purge_s=3_600, ingest_s=0.05, sweep_rows=2)
    now_ms = core.clock.ms
    bad: dict[str, Any] = {"at_ms": now_ms - 31 * 86_400_000, "source": "mqtt", "code": "x",
                           "body": BODY}  # fmt: skip
    core.insert(t.quarantine, *(bad for _ in range(9)))
    async with core.started():  # its first sweep purges; the next would be an hour later
        await until(lambda: not any(row["body"] for row in core.rows(t.quarantine)))
        await core.push(events(order_event("S-1")))
        await until(lambda: core.rows(t.orders))
    assert len(core.rows(t.quarantine)) == 9


def test_what_an_operator_sets_is_what_the_core_does() -> None:
    knobs = knobs_of(
        check({
            "raw_hours": 5, "raw_kept_max": 6, "quarantine_days": 7, "quarantine_kept_max": 8,
            "phone_search_days": 9,
            "sweep_s": 2, "sweep_parked_s": 3, "sweep_purge_s": 4, "sweep_rows": 50,
        }),
        inline=True,
    )  # fmt: skip
    policy, pace = knobs.policy, knobs.pace
    assert (policy.raw_hours, policy.raw_kept_max) == (5, 6)
    assert (policy.quarantine_days, policy.quarantine_kept_max) == (7, 8)
    assert policy.phone_search_days == 9
    assert (pace.sweep_s, pace.parked_s, pace.purge_s, pace.sweep_rows) == (2, 3, 4, 50)
