"""A paid order goes where the rules say, and its record tells a person why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloud_core.domain import commands as c
from cloud_core.domain.decision_record import sentences
from cloud_core.store import schema as t
from protocols import codec
from protocols import events as e
from protocols.commands import Grant
from protocols.messages import Token
from tests.support.core import CoreBench
from tests.support.routed import (
    EXAMPLES,
    accepted,
    add,
    apply_rules,
    name_of,
    shipment,
    stock,
    token_of,
)

SF = {"id": "SF", "name": "顺丰"}


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    found = CoreBench(tmp_path)
    found.online()
    found.heartbeat()
    return found


def test_a_gift_of_love_goes_first_with_its_own_carrier_and_tag(bench: CoreBench) -> None:
    add(bench, t.carrier, SF)
    add(bench, t.waybill, {"number": "SF0000000001", "carrier": "SF", "state": "free"})
    add(bench, t.sku, {"id": "LOVE-2026", "name": "演示礼物"})
    stock(bench, **{"HZ01_LOVE-2026": 1})
    apply_rules(bench, (EXAMPLES / "vip-love.toml").read_text())
    bench.shop("1", lines=(("LOVE-2026", 1),))
    row = shipment(bench, "1")
    assert (row["carrier"], row["priority"]) == ("SF", 1000)
    said = "".join(sentences(row["decision"], {"SF": "顺丰", "HZ01": "华东仓"}))
    assert "由华东仓（HZ01）发货，顺丰（SF）" in said
    assert "“LOVE-2026 专享”" in said
    assert "打上标签：VIP-LOVE" in said
    accepted(bench, "1")
    (grant,) = [cmd for cmd in bench.commands("hz-a") if cmd.kind == "grant"]
    body = codec.decode(grant.body, Grant)
    assert (body.waybill, body.tags, body.priority) == ("SF0000000001", ["VIP-LOVE"], 1000)


def test_rules_run_from_the_commit_that_applied_them_and_go_back(bench: CoreBench) -> None:
    bench.shop("1")
    assert shipment(bench, "1")["warehouse"] == "HZ01"  # as priorities say
    apply_rules(bench, '[[rules]]\nname = "南"\nthen = {exclude_warehouses = ["HZ01"]}\n')
    bench.shop("2")
    row = shipment(bench, "2")
    assert row["warehouse"] == "SZ01"
    assert ["HZ01", "rule"] in json.loads(row["decision"])["c"]
    apply_rules(bench, "[ranking]\norder = ['priority']\n")
    bench.shop("3")
    assert shipment(bench, "3")["warehouse"] == "HZ01"


def test_what_a_rule_shuts_out_is_parked_and_goes_on_when_it_is_lifted(bench: CoreBench) -> None:
    stock(bench, SZ01_A=0)
    apply_rules(
        bench,
        '[[rules]]\nname = "停"\nwhen = {skus = ["A"]}\n'
        'then = {exclude_warehouses = ["HZ01"], priority = 7}\n',
    )
    bench.shop("1")
    row = shipment(bench, "1")
    assert (row["state"], row["parked"], row["priority"]) == ("routed", "rule", 7)
    apply_rules(bench, "[ranking]\norder = ['priority']\n")
    assert bench.do(c.Sweep(parked=True)).unparked == 1
    assert shipment(bench, "1")["state"] == "offered"


def test_a_full_warehouse_passes_on_and_takes_again_on_the_next_day(bench: CoreBench) -> None:
    bench.clock.ms = 1_767_240_000_000  # noon in China
    bench.heartbeat()
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(t.warehouse.update().values(capacity_per_day=1))
    bench.core._master = None
    for native in "123":
        bench.shop(native)
    assert [shipment(bench, n)["warehouse"] for n in "123"] == ["HZ01", "SZ01", ""]
    assert shipment(bench, "3")["parked"] == "capacity"
    bench.do(c.Sweep(parked=True))
    assert shipment(bench, "3")["parked"] == "capacity"
    for native in "12":
        accepted(bench, native)
    bench.clock.advance(12 * 3_600 + 1)
    bench.heartbeat()
    bench.do(c.Sweep(parked=True))
    assert shipment(bench, "3")["warehouse"] == "HZ01"


def test_goods_kept_for_those_who_wait_take_no_place_of_the_day(bench: CoreBench) -> None:
    """Nobody could take anything for a while; then the warehouse sends what its day still holds."""
    bench.clock.ms = 1_767_240_000_000  # noon in China
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(t.warehouse.update().values(capacity_per_day=2))
        con.execute(t.warehouse.update().where(t.warehouse.c.id == "SZ01").values(enabled=0))
    bench.core._master = None
    for native in "12345":  # each new order keeps goods for those before it
        bench.shop(native)
    assert {shipment(bench, n)["parked"] for n in "12345"} == {"unreachable"}
    assert bench.one("SELECT count(*) FROM hold WHERE warehouse = 'HZ01'") == 4
    bench.heartbeat("hz-a")
    bench.do(c.Sweep(parked=True))
    assert [shipment(bench, n)["parked"] for n in "12345"] == ["", "", *["capacity"] * 3]
    bench.shop("1", "cancelled", version=2)
    bench.do(c.Sweep(parked=True))
    assert [shipment(bench, n)["warehouse"] for n in "2345"] == ["HZ01", "HZ01", "", ""]


def test_a_full_house_keeps_what_it_has_when_the_address_changes(bench: CoreBench) -> None:
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(t.warehouse.update().values(capacity_per_day=1))
    bench.core._master = None
    bench.shop("1")
    bench.shop("1", "address_changed", version=2)
    row = shipment(bench, "1")
    assert (row["state"], row["warehouse"], row["token_n"]) == ("offered", "HZ01", 1)


def test_a_full_house_gets_back_all_that_it_stopped_for_new_addresses(bench: CoreBench) -> None:
    bench.shop("1")
    bench.shop("2")
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(t.warehouse.update().values(capacity_per_day=2))
    bench.core._master = None
    stopped = []
    for native in "12":
        token = token_of(accepted(bench, native))
        bench.shop(native, "address_changed", version=2)
        fence = Token(1, token.n + 1)
        stopped.append(("task.stopped", e.TaskStopped(name_of(native), token, fence)))
    bench.report("hz-a", *stopped)  # one batch, one commit
    for native in "12":
        row = shipment(bench, native)
        assert (row["state"], row["warehouse"]) == ("offered", "HZ01")


def test_a_refused_offer_never_comes_back_to_the_same_full_house(bench: CoreBench) -> None:
    """The warehouse that keeps the goods is not shut out by its own place in the day's plan."""
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(t.warehouse.update().values(capacity_per_day=1))
    bench.core._master = None
    bench.shop("1")
    bench.clock.advance(121)
    bench.heartbeat()
    bench.do(c.Sweep())
    assert shipment(bench, "1")["warehouse"] == "SZ01"
    assert bench.stock("HZ01", "A") == (10, 0, 0)
    bench.shop("2")
    assert shipment(bench, "2")["warehouse"] == "HZ01"  # its place is free again
