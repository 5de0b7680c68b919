"""A bench that refused is asked again when it can, people read why it refused, and may press."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloud_core.domain import commands as c
from cloud_core.domain.decision_record import sentences
from cloud_core.domain.wording import change_zh
from cloud_core.flows.excluded import REJECT_OUT_MS_MAX, START_OUT_MS
from protocols import events as e
from protocols.errors import Rejected
from protocols.messages import AgentState
from tests.support.core import CoreBench
from tests.support.routed import accepted, name_of, shipment, stock, token_of

ID = name_of("1")
LONG_PARKED = "SELECT key FROM alarm WHERE kind = 'parked_long' AND closed_ms IS NULL"


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    """Only HZ01 has the goods."""
    found = CoreBench(tmp_path)
    found.online()
    stock(found, SZ01_A=0)
    return found


def refuse(bench: CoreBench, reason: str = "no_printer") -> None:
    row = shipment(bench, "1")
    body = e.OfferRejected(row["id"], token_of(row), reason)
    bench.report(row["agent"], ("offer.rejected", body))
    assert shipment(bench, "1")["parked"] == "rejected"


def beat(bench: CoreBench, *, inc: int = 1, printers: dict[str, str] | None = None) -> None:
    bench.do(c.SeeAgent("hz01", "hz-a", AgentState(1, "hz-a", True, inc, printers=printers or {})))


def swept(bench: CoreBench) -> str:
    """Where the shipment is after a sweep, "" while it stays parked."""
    bench.do(c.Sweep())
    return str(shipment(bench, "1")["warehouse"])


def test_a_bench_that_started_anew_is_asked_again(bench: CoreBench) -> None:
    bench.shop("1")
    refuse(bench)
    bench.clock.advance(START_OUT_MS // 1000 - 1)
    beat(bench)
    assert swept(bench) == "", "nothing has changed there"
    beat(bench, inc=2)
    assert swept(bench) == "", "a line that comes and goes does not ask each time"
    bench.clock.advance(1)
    assert swept(bench) == "HZ01"
    assert accepted(bench, "1")["state"] == "granted"


def test_a_printer_that_prints_again_ends_the_refusal(bench: CoreBench) -> None:
    bench.shop("1")
    beat(bench, printers={"p1": "error"})
    refuse(bench)
    beat(bench, printers={"p1": "unknown"})
    assert swept(bench) == ""
    beat(bench, printers={"p1": "ok"})
    assert swept(bench) == "HZ01"


def test_without_any_change_it_is_asked_after_a_time_that_doubles(bench: CoreBench) -> None:
    bench.shop("1")
    waited = []
    for _ in range(7):
        refuse(bench)
        minutes = 0
        while not swept(bench):
            bench.clock.advance(60)
            bench.heartbeat()
            minutes += 1
            assert minutes <= REJECT_OUT_MS_MAX // 60_000
        waited.append(minutes)
    assert waited == [5, 10, 20, 40, 60, 60, 60]


def test_refused_again_and_again_is_an_alarm_that_stays_until_the_grant(bench: CoreBench) -> None:
    bench.shop("1")
    for _ in range(3 * 60):
        if shipment(bench, "1")["state"] == "offered":
            refuse(bench)
        bench.clock.advance(60)
        bench.heartbeat()
        bench.do(c.Sweep())
    assert bench.rows(LONG_PARKED) == [("rejected",)]
    while shipment(bench, "1")["parked"]:
        bench.clock.advance(60)
        bench.heartbeat()
        bench.do(c.Sweep())
    bench.do(c.Sweep())
    assert bench.rows(LONG_PARKED) == [("rejected",)], "asked again is not accepted"
    accepted(bench, "1")
    bench.do(c.Sweep())
    assert bench.rows(LONG_PARKED) == []
    assert bench.one("SELECT count(*) FROM alarm WHERE kind = 'parked_long'") == 1


def test_who_waits_for_a_restore_to_end_is_an_alarm_when_old(bench: CoreBench) -> None:
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.exec_driver_sql("INSERT INTO core_meta (key, value) VALUES ('recovering', '1')")
        con.exec_driver_sql("UPDATE core_meta SET value = '2' WHERE key = 'core_epoch'")
    bench.shop("1")
    assert shipment(bench, "1")["parked"] == "recovering"
    bench.clock.advance(3 * 3_600)
    bench.do(c.Sweep())
    assert bench.rows(LONG_PARKED) == [("recovering",)]


def test_the_reason_is_read_in_the_record_and_in_the_trail(bench: CoreBench) -> None:
    bench.shop("1")
    refuse(bench)
    said = sentences(shipment(bench, "1")["decision"], {"HZ01": "华东仓", "SZ01": "华南仓"})
    assert said[0] == "暂未分仓：有货的仓库已拒单。"
    assert "未选华东仓（HZ01）：该仓已拒单（没有配置打印机）。" in said
    trail = [row[0] for row in bench.rows("SELECT change FROM trail WHERE subject = :i", i=ID)]
    (refused,) = [change for change in trail if change.startswith("taken_back:")]
    assert change_zh(refused) == "收回：仓库拒单（没有配置打印机）"


def test_a_refusal_is_not_headed_offline_because_another_house_is(bench: CoreBench) -> None:
    stock(bench, SZ01_A=10)
    bench.shop("1")
    bench.do(c.SeeAgent("sz01", "sz-a", AgentState(1, "sz-a", False, 1)))
    refuse(bench, "closed")
    assert shipment(bench, "1")["parked"] == "rejected"
    whys = dict(row[:2] for row in json.loads(shipment(bench, "1")["decision"])["c"])
    assert whys == {"HZ01": "rejected:closed", "SZ01": "unreachable"}


def test_a_person_has_it_asked_at_once(bench: CoreBench) -> None:
    bench.shop("1")
    refuse(bench)
    done = bench.do(c.RetryParked(ID, "key:lead", "192.0.2.7"))
    assert done == c.Retried("", "HZ01")
    assert bench.one("SELECT actor, action, target, detail FROM audit") == (
        "key:lead", "shipment.retried", ID, "HZ01",
    )  # fmt: skip
    assert bench.stock("HZ01", "A") == (10, 0, 1)
    with pytest.raises(Rejected) as refused:
        bench.do(c.RetryParked(ID, "key:lead"))
    assert refused.value.code == "shipment_not_parked"
    with pytest.raises(Rejected) as refused:
        bench.do(c.RetryParked("X-1", "key:lead"))
    assert refused.value.code == "shipment_unknown"
