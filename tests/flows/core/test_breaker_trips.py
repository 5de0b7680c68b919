"""A warehouse that sends late is left out for a while, is told, and comes back by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import commands as c
from cloud_core.domain.breaker_commands import ForceBreaker, JudgeBreakers, SettleNotice
from cloud_core.domain.change_commands import CancelOrder
from cloud_core.domain.policy import Policy
from cloud_core.domain.rows import Breaker
from cloud_core.flows import breaker_gate as gate
from cloud_core.flows.own import own
from cloud_core.flows.registry import FOLDS
from cloud_core.flows.trip import reroute_ungranted
from cloud_core.store import schema as t
from cloud_core.store.breaker_rows import BreakerReads, state_of
from cloud_core.store.schema_breaker import breaker, notify_target
from protocols import events as e
from protocols.commands import OfferLine
from protocols.errors import Rejected
from protocols.messages import AgentState, Token
from tests.support.core import CoreBench

HOUR_S = 3_600
HEAD = "head-of-hz"


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    found = CoreBench(tmp_path, policy=Policy(ship_within_h=1, offer_ttl_s=900))
    found.online()
    found.heartbeat()
    with found.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(t.clock_offset.delete())  # events are believed by their wall clock here
    found.do(JudgeBreakers())  # the breakers begin to count
    return found


def _accept(shipment: str, token: Token) -> e.OfferAccepted:
    lines = [OfferLine("A", 1)]
    return e.OfferAccepted(shipment, token, shipment[:-2], "shop1", "1", lines)


def _left(shipment: str, token: Token) -> e.ParcelHandedOver:
    lines = [OfferLine("A", 1)]
    return e.ParcelHandedOver(shipment, token, "ZT0000000001", shipment[:-2], "shop1", "1", lines)


def listen(bench: CoreBench, name: str = HEAD, warehouses: str = "HZ01", kinds: str = "") -> None:
    row = {"name": name, "kind": "log", "sealed": b"", "warehouses": warehouses, "kinds": kinds,
           "created_ms": 1}  # fmt: skip
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(notify_target.insert(), [row])


def granted(bench: CoreBench, *natives: str) -> list[tuple[str, Token]]:
    """Orders that HZ01 has accepted and was granted."""
    found = []
    for native in natives:
        bench.shop(native)
        shipment = f"DB2026{native:0>8}-1"
        row = bench.one(
            "SELECT warehouse, token_epoch, token_n FROM shipment WHERE id = :s", s=shipment
        )
        assert row[0] == "HZ01"
        token = Token(row[1], row[2])
        bench.report("hz-a", ("offer.accepted", _accept(shipment, token)))
        found.append((shipment, token))
    return found


def pass_time(bench: CoreBench, seconds: float, *, queued: int = 0, oldest_ms: int = 0) -> None:
    bench.clock.advance(seconds)
    state = AgentState(1, "hz-a", True, 1, floor_queued=queued, oldest_ms=oldest_ms)
    bench.do(c.SeeAgent("hz01", "hz-a", state))
    bench.heartbeat("sz-a")
    bench.clock.advance(1)
    bench.do(JudgeBreakers())


def mode(bench: CoreBench, warehouse: str = "HZ01") -> str:
    return str(bench.one("SELECT state FROM breaker WHERE warehouse = :w", w=warehouse))


def hand_over(bench: CoreBench, shipment: str, token: Token, at_ms: int | None = None) -> None:
    other = bench.agents["hz-a"]
    body = _left(shipment, token)
    bench.do(other.batch([other.event("parcel.handed_over", body, at_ms or bench.clock.ms)]))


def trip(bench: CoreBench) -> list[tuple[str, Token]]:
    found = granted(bench, "1", "2", "3")
    pass_time(bench, HOUR_S + 60)
    assert mode(bench) == "open"
    return found


def test_three_late_open_it_with_trail_alarm_and_a_word_to_the_head(bench: CoreBench) -> None:
    listen(bench)
    listen(bench, "somebody-else", warehouses="SZ01")
    listen(bench, "only-tests", kinds="test")
    trip(bench)
    changes = bench.rows("SELECT change FROM trail WHERE subject = 'HZ01'")
    assert [row[0] for row in changes] == ["breaker:opened"]
    assert bench.one("SELECT key FROM alarm WHERE kind = 'breaker_open'") == "HZ01"
    notice_id, target, text = bench.one("SELECT id, target, text FROM notice_outbox")
    assert (target, notice_id) == (HEAD, f"breaker:HZ01:2:opened@{HEAD}")
    assert "超时未交接" in text
    bench.do(JudgeBreakers())
    assert len(bench.rows("SELECT id FROM notice_outbox")) == 1  # said once


def test_it_outlives_a_restart_and_comes_back_through_trials(bench: CoreBench) -> None:
    first = trip(bench)
    pass_time(bench, 2 * HOUR_S)
    assert mode(bench) == "half_open"
    for shipment, token in first:  # what is late is still sent, and counts for nothing now
        hand_over(bench, shipment, token)
    trials = granted(bench, "4", "5", "6")
    bench.do(_Gate(lambda ws: [gate.note_trial(ws, "HZ01", s) for s, _ in trials]))
    for shipment, token in trials:
        hand_over(bench, shipment, token)
    pass_time(bench, 60)
    assert mode(bench) == "closed"
    assert (
        bench.rows("SELECT key FROM alarm WHERE closed_ms IS NULL AND kind LIKE 'breaker%'") == []
    )
    assert bench.one("SELECT trials FROM breaker WHERE warehouse = 'HZ01'") == "[]"


def test_a_late_trial_opens_it_again_for_longer(bench: CoreBench) -> None:
    trip(bench)
    pass_time(bench, 2 * HOUR_S)
    ((shipment, _),) = granted(bench, "4")
    bench.do(_Gate(lambda ws: gate.note_trial(ws, "HZ01", shipment)))
    pass_time(bench, 2 * HOUR_S + 60)
    state, since, until, openings = bench.one(
        "SELECT state, since_ms, until_ms, openings FROM breaker WHERE warehouse = 'HZ01'"
    )
    assert (state, until - since, openings) == ("open", 3 * HOUR_S * 1000, 2)


def test_while_the_stream_is_behind_nothing_is_late(bench: CoreBench) -> None:
    found = granted(bench, "1", "2", "3")
    left_ms = bench.clock.ms + 600_000
    pass_time(bench, HOUR_S + 60, queued=3, oldest_ms=left_ms)
    assert mode(bench) == "closed"
    assert bench.do(_Gate(lambda ws: gate.too_far_behind(ws, "hz-a")))
    for shipment, token in found:  # the queue arrives: they had left in time
        hand_over(bench, shipment, token, left_ms)
    pass_time(bench, 60)
    assert mode(bench) == "closed"
    assert not bench.do(_Gate(lambda ws: gate.too_far_behind(ws, "hz-a")))


def test_what_a_shop_stopped_is_nobody_s_lateness(bench: CoreBench) -> None:
    found = granted(bench, "1", "2", "3")
    for shipment, _ in found:
        bench.do(CancelOrder(shipment.removesuffix("-1"), "cancelled", "test"))
    pass_time(bench, HOUR_S + 60)
    assert mode(bench) == "closed"


def test_half_the_warehouses_at_most(bench: CoreBench) -> None:
    trip(bench)
    bench.do(ForceBreaker("HZ01", "closed", "key:k1", "演示"))
    bench.do(ForceBreaker("SZ01", "open", "key:k1", "停电"))
    assert (
        bench.do(_Gate(lambda ws: gate.may_take_now(ws, "SZ01", sole_holder=True))).answer == "no"
    )
    bench.do(ForceBreaker("HZ01", "auto", "key:k1"))
    granted(bench, "4", "5", "6")
    pass_time(bench, HOUR_S + 60)
    assert mode(bench) == "closed"
    assert (
        bench.one("SELECT key FROM alarm WHERE kind = 'breaker_cap' AND closed_ms IS NULL")
        == "HZ01"
    )


def test_a_person_forces_it_audited_and_the_core_takes_over_again(bench: CoreBench) -> None:
    until = bench.clock.ms + HOUR_S * 1000
    state = bench.do(ForceBreaker("HZ01", "open", "key:k1", " 仓库  停电 ", until, "192.0.2.7"))
    assert (state.forced, state.forced_reason) == ("open", "仓库 停电")
    assert bench.one("SELECT actor, source, action, target FROM audit") == (
        "key:k1", "192.0.2.7", "breaker.forced", "HZ01",
    )  # fmt: skip
    shown = {name: found for name, _, found in BreakerReads(bench.engine).all()}
    assert shown["HZ01"].forced_by == "key:k1"
    assert shown["SZ01"].state == "closed"
    pass_time(bench, HOUR_S)
    assert bench.one("SELECT forced FROM breaker WHERE warehouse = 'HZ01'") == ""
    assert (
        bench.rows("SELECT key FROM alarm WHERE closed_ms IS NULL AND kind LIKE 'breaker%'") == []
    )


@pytest.mark.parametrize(
    ("values", "code", "field"),
    [
        ({"warehouse": "NOWHERE"}, "warehouse_unknown", "warehouse"),
        ({"mode": "ajar"}, "breaker_mode", "mode"),
        ({"reason": "  "}, "reason_missing", "reason"),
        ({"until_ms": 1}, "until_invalid", "until_ms"),
        ({"until_ms": 2**62}, "until_invalid", "until_ms"),
        ({"mode": "auto", "until_ms": 1_767_225_700_000}, "until_invalid", "until_ms"),
    ],
)
def test_nonsense_is_refused_by_field(
    bench: CoreBench, values: dict[str, Any], code: str, field: str
) -> None:
    given = {"warehouse": "HZ01", "mode": "open", "actor": "key:k1", "reason": "演示", **values}
    with pytest.raises(Rejected) as refused:
        bench.do(ForceBreaker(**given))
    assert (refused.value.code, refused.value.field) == (code, field)
    assert bench.rows("SELECT * FROM audit") == []


def test_un_granted_work_is_taken_away_granted_and_sole_held_work_stays(bench: CoreBench) -> None:
    granted(bench, "1")
    bench.shop("2")
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(t.stock.insert(), [{"warehouse": "HZ01", "sku": "C", "shelf": 5}])
    bench.shop("3", lines=(("C", 1),))
    taken: list[str] = []

    def again(ws: Any, shipment: Any) -> Any:
        taken.append(shipment.id)
        return own(ws, shipment)

    assert bench.do(_Gate(lambda ws: reroute_ungranted(ws, "HZ01", 100, again))) == 1
    assert taken == ["DB202600000002-1"]
    kinds = [cmd.kind for cmd in bench.commands("hz-a") if "DB202600000002" in cmd.id]
    assert "cancel" in kinds


def test_a_notice_is_tried_until_it_is_taken_and_alarmed_meanwhile(bench: CoreBench) -> None:
    listen(bench)
    trip(bench)
    notice = bench.one("SELECT id FROM notice_outbox")
    for _ in range(3):
        bench.do(SettleNotice(notice, False, "errcode 310000: sign not match", bench.clock.ms + 9))
    assert bench.one("SELECT attempts, done_ms FROM notice_outbox") == (3, None)
    assert "310000" in bench.one("SELECT text FROM alarm WHERE kind = 'notify_failed'")
    bench.do(SettleNotice(notice, True, "errcode 0: ok"))
    assert bench.one("SELECT result FROM notice_outbox") == "sent"
    assert bench.one("SELECT closed_ms FROM alarm WHERE kind = 'notify_failed'") is not None
    bench.do(SettleNotice(notice, False, "late answer"))  # has no effect any more
    assert bench.one("SELECT result FROM notice_outbox") == "sent"


def test_a_notice_nobody_takes_for_a_day_is_given_up_and_said_so(bench: CoreBench) -> None:
    listen(bench)
    trip(bench)
    notice = bench.one("SELECT id FROM notice_outbox")
    bench.clock.advance(25 * HOUR_S)
    bench.do(SettleNotice(notice, False, "HTTP 500", bench.clock.ms + 9))
    assert bench.one("SELECT result FROM notice_outbox") == "given_up"
    assert bench.one("SELECT key FROM alarm WHERE kind = 'notify_failed'") == HEAD


def test_after_a_restore_nothing_is_judged_until_the_benches_have_told_everything(
    bench: CoreBench,
) -> None:
    granted(bench, "1", "2", "3")
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(t.core_meta.insert(), [{"key": "recovering", "value": "1"}])
    pass_time(bench, HOUR_S + 60)
    assert mode(bench) == "closed"


def test_the_last_deadlines_are_found_by_the_index(bench: CoreBench, database: str) -> None:
    if database != "sqlite":
        pytest.skip("the words of a plan are each engine's own")
    plan = bench.rows(
        "EXPLAIN QUERY PLAN SELECT id FROM shipment WHERE granted_ms IS NOT NULL AND "
        "warehouse = 'HZ01' AND ship_by_ms < 5 AND kind = 'main' ORDER BY ship_by_ms DESC, id DESC "
        "LIMIT 100"
    )
    assert "shipment_judged" in str(plan)
    with bench.engine.connect() as con:
        assert {state_of(row).state for row in _rows(con)} == {"closed"}


def _rows(con: Any) -> list[Any]:
    return [Breaker(*row) for row in con.execute(breaker.select())]


class _Gate:
    """A command that asks what routing will ask; folded by the flow below."""

    def __init__(self, ask: Any) -> None:
        self.ask = ask


@pytest.fixture(autouse=True)
def _asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FOLDS, _Gate, (lambda ws, command: command.ask(ws), None))
