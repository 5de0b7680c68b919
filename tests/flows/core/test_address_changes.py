"""The buyer moves: before the grant, at the bench, in a packed box, and after it has left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import change_commands as ch
from cloud_core.domain import commands as c
from cloud_core.domain.decision_record import sentences
from cloud_core.domain.hold_commands import Keyed
from cloud_core.domain.policy import Policy
from cloud_core.domain.shop_order import Division
from cloud_core.store import schema as t
from cloud_core.store import schema_breaker as b
from protocols import codec
from protocols import events as e
from protocols.commands import Cancel, OfferLine
from protocols.errors import Rejected
from protocols.messages import Token
from tests.support.core import CoreBench
from tests.support.routed import accepted, add, apply_rules, left, name_of, shipment, token_of

ID = name_of("1")
ORDER = "DB202600000001"
HANGZHOU = Division("330000", "330100", "330110", "浙江省", "杭州市", "余杭区")
NEW = c.SealedContact(b"sealed", "k1", "测**", "100****0002", "演示路**号", "hash")


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    found = CoreBench(tmp_path, policy=Policy(change_confirm_s=600, escalate_s=900))
    found.online()
    found.heartbeat()
    found.shop("1", lines=(("A", 2),))
    return found


def ask(bench: CoreBench, key: str = "k1", **more: Any) -> ch.KeyedAnswer:
    keyed = Keyed("changes:k", key, f"digest-{more}")
    command = ch.ChangeAddress(ORDER, NEW, HANGZHOU, "搬家", "key:cs", keyed, **more)
    answer: ch.KeyedAnswer = bench.do(command)
    return answer


def outcome(answer: ch.KeyedAnswer) -> str:
    (one,) = answer.body["shipments"]
    return str(one["outcome"])


def test_before_the_grant_the_address_simply_changes_and_a_repeat_changes_nothing(
    bench: CoreBench,
) -> None:
    before = shipment(bench, "1")
    assert outcome(ask(bench)) == "changed"
    after = shipment(bench, "1")
    assert (after["warehouse"], after["token_n"]) == (before["warehouse"], before["token_n"])
    assert bench.one("SELECT district, address_masked FROM orders, contact") == (
        "330110", "演示路**号",
    )  # fmt: skip
    assert ask(bench).replayed
    assert [cmd.kind for cmd in bench.commands("hz-a")] == ["offer"]
    with pytest.raises(Rejected) as refused:
        ask(bench, approved_by="x")
    assert refused.value.code == "idempotency_conflict"


def test_a_granted_one_stops_its_bench_and_comes_again_with_a_new_number(bench: CoreBench) -> None:
    old = accepted(bench, "1")
    bench.report("hz-a", ("item.picked", e.ItemPicked(ID, token_of(old), "A", 1)))
    assert outcome(ask(bench)) == "stopping"
    (cancel,) = [cmd for cmd in bench.commands("hz-a") if cmd.kind == "cancel"]
    told = codec.decode(cancel.body, Cancel)
    assert (told.fence, told.reason, told.answer) == (Token(1, 2), "address_changed", True)
    assert "旧面单" in told.text
    # The bench works on until it has heard; that is still its own work.
    bench.report("hz-a", ("item.picked", e.ItemPicked(ID, token_of(old), "A", 1)))
    assert bench.stock("HZ01", "A") == (8, 2, 2)
    back = e.TaskStopped(ID, token_of(old), Token(1, 2), [e.PutBack("A", 2)], "pulled", "w1")
    bench.report("hz-a", ("task.stopped", back))
    row = shipment(bench, "1")
    assert (row["state"], row["stop"], row["waiting"]) == ("offered", "", "")
    assert (row["warehouse"], row["token_n"], row["waybill"]) == ("HZ01", 2, "")
    assert bench.stock("HZ01", "A") == (10, 0, 2)
    assert bench.one("SELECT state FROM waybill WHERE number = :n", n=old["waybill"]) == "void"
    assert bench.one("SELECT state FROM change_request") == "done"
    assert bench.one("SELECT stop FROM orders") == ""
    new = accepted(bench, "1")
    assert new["waybill"] not in ("", old["waybill"])
    left(bench, "hz-a", new, A=2)
    assert bench.stock("HZ01", "A") == (8, 0, 0)
    assert shipment(bench, "1")["state"] == "handed_over"


def test_what_no_bench_confirms_goes_to_the_list_then_to_the_notifier(bench: CoreBench) -> None:
    add(bench, b.notify_target, {"name": "ops", "kind": "log", "sealed": b"", "created_ms": 1})
    old = accepted(bench, "1")
    ask(bench)
    sweep = c.Sweep()
    bench.do(sweep)
    assert bench.rows("SELECT kind FROM alarm WHERE kind = 'change_unconfirmed'") == []
    bench.clock.advance(601)
    bench.do(sweep)
    bench.do(sweep)
    assert bench.one("SELECT count FROM alarm WHERE kind = 'change_unconfirmed'") == 1
    assert bench.rows("SELECT id FROM notice_outbox") == []
    bench.clock.advance(901)
    bench.do(sweep)
    bench.do(sweep)
    assert bench.one("SELECT target, kind FROM notice_outbox") == ("ops", "change_unconfirmed")
    bench.heartbeat()
    bench.report("hz-a", ("task.stopped", e.TaskStopped(ID, token_of(old), Token(1, 2))))
    assert bench.one("SELECT closed_ms FROM alarm WHERE kind = 'change_unconfirmed'") is not None
    assert bench.one("SELECT state, level, next_ms FROM change_request") == ("done", 2, None)


def test_a_packed_box_needs_a_manager(bench: CoreBench) -> None:
    old = accepted(bench, "1")
    bench.report("hz-a", ("parcel.packed", e.ParcelPacked(ID, token_of(old), old["waybill"])))
    with pytest.raises(Rejected) as refused:
        ask(bench)
    assert (refused.value.code, refused.value.field) == ("address_packed", "approved_by")
    assert outcome(ask(bench, approved_by="主管丙")) == "stopping"
    assert bench.one("SELECT approved_by FROM change_request") == "主管丙"


def test_what_has_left_is_refused(bench: CoreBench) -> None:
    left(bench, "hz-a", accepted(bench, "1"), A=2)
    with pytest.raises(Rejected) as refused:
        ask(bench)
    assert refused.value.code == "shipment_left"


def test_it_left_while_the_bench_was_being_told(bench: CoreBench) -> None:
    old = accepted(bench, "1")
    ask(bench)
    left(bench, "hz-a", old, A=2)
    row = shipment(bench, "1")
    assert (row["state"], row["stop"], row["waiting"]) == ("handed_over", "", "")
    assert row["waybill"] == old["waybill"]
    assert bench.one("SELECT kind FROM incident") == "handed_over_to_old_address"
    assert bench.one("SELECT state FROM change_request") == "left"
    assert bench.one("SELECT kind FROM shop_outbox") == "shipped"
    assert bench.stock("HZ01", "A") == (8, 0, 0)


def test_a_cancel_while_the_bench_stops_for_the_address_ends_the_order(bench: CoreBench) -> None:
    old = accepted(bench, "1")
    ask(bench)
    keyed = Keyed("changes:k", "c1", "d")
    answer = bench.do(ch.CancelOrder(ORDER, "refund", "key:cs", keyed=keyed))
    assert answer.body["stop"] == "requested"
    assert bench.do(ch.CancelOrder(ORDER, "refund", "key:cs", keyed=keyed)).replayed
    assert [tuple(r) for r in bench.rows("SELECT kind, state FROM change_request ORDER BY 1")] == [
        ("address", "superseded"), ("cancel", "waiting"),
    ]  # fmt: skip
    bench.report("hz-a", ("task.stopped", e.TaskStopped(ID, token_of(old), Token(1, 2))))
    assert shipment(bench, "1")["stop"] == "cancelled"
    assert bench.one("SELECT stop FROM orders") == "cancelled"
    assert bench.stock("HZ01", "A") == (10, 0, 0)
    assert bench.one("SELECT state FROM change_request WHERE kind = 'cancel'") == "done"


def test_the_handling_time_is_kept(bench: CoreBench) -> None:
    row = accepted(bench, "1")
    body = e.ParcelHandedOver(
        ID, token_of(row), row["waybill"], ORDER, "shop1", "1", [OfferLine("A", 2)], "w1", 184_000
    )
    bench.report("hz-a", ("parcel.handed_over", body))
    assert shipment(bench, "1")["handling_ms"] == 184_000


def test_a_core_that_forgot_why_the_bench_stopped_does_not_cancel_the_order(
    bench: CoreBench,
) -> None:
    old = accepted(bench, "1")
    told = e.TaskStopped(ID, token_of(old), Token(1, 2), reason="address_changed")
    bench.report("hz-a", ("task.stopped", told))
    assert (shipment(bench, "1")["state"], bench.one("SELECT stop FROM orders")) == ("offered", "")
    assert bench.one("SELECT kind FROM alarm WHERE closed_ms IS NULL") == "address_changed"


SHENZHEN = Division("440000", "440300", "440305", "广东省", "深圳市", "南山区")
SOUTH_FIRST = """
[[rules]]
name = "华南优先华南仓"
when = { provinces = ["广东"] }
then = { prefer_warehouses = ["SZ01"], priority = "first" }
"""


def price(warehouse: str, fen: int) -> dict[str, Any]:
    return {"carrier": "ZTO", "warehouse": warehouse, "region": "33", "from_g": 0,
            "first_g": 1000, "first_fen": fen, "step_g": 1000, "step_fen": 100}  # fmt: skip


def from_shenzhen(bench: CoreBench) -> dict[str, Any]:
    """An order that a rule gives to the south, first of all; Hangzhou is cheaper from the east."""
    apply_rules(bench, SOUTH_FIRST)
    add(bench, t.freight, price("HZ01", 700), price("SZ01", 900))
    bench.shop("2", division=SHENZHEN)
    row = shipment(bench, "2")
    assert (row["warehouse"], row["priority"]) == ("SZ01", 1000)
    return row


def move(bench: CoreBench) -> None:
    keyed = Keyed("changes:k", "k2", "digest")
    bench.do(ch.ChangeAddress("DB202600000002", NEW, HANGZHOU, "搬家", "key:cs", keyed))


def stays_and_says_why(bench: CoreBench) -> None:
    row = shipment(bench, "2")
    assert (row["warehouse"], row["state"], row["priority"]) == ("SZ01", "offered", 0)
    said = sentences(row["decision"], {"HZ01": "华东仓", "SZ01": "华南仓"})
    assert "收货地址已改，原仓仍能送达，由原仓发货。" in said
    (passed,) = [words for words in said if words.startswith("未选华东仓（HZ01）")]
    assert passed.startswith("未选华东仓（HZ01）：改地址后仍由原仓发货，不另换仓（")
    assert "运费 7.00 元" in passed
    assert not any("没有登记边缘代理" in words or "命中规则" in words for words in said)


def test_a_changed_address_is_recorded_with_every_house_and_without_old_rules(
    bench: CoreBench,
) -> None:
    before = from_shenzhen(bench)
    move(bench)
    stays_and_says_why(bench)
    assert shipment(bench, "2")["token_n"] == before["token_n"]


def test_a_bench_that_stopped_for_the_address_gets_it_back_with_a_true_record(
    bench: CoreBench,
) -> None:
    from_shenzhen(bench)
    old = accepted(bench, "2")
    move(bench)
    back = e.TaskStopped(old["id"], token_of(old), Token(1, old["token_n"] + 1))
    bench.report("sz-a", ("task.stopped", back))
    stays_and_says_why(bench)


def test_a_house_that_does_not_serve_the_new_place_loses_it(bench: CoreBench) -> None:
    from_shenzhen(bench)
    add(bench, t.carrier_service, *(
        {"carrier": "ZTO", "warehouse": house, "region": region, "served": 1}
        for house, region in (("HZ01", ""), ("SZ01", "44"))
    ))  # fmt: skip
    move(bench)
    row = shipment(bench, "2")
    assert (row["warehouse"], row["state"], row["priority"]) == ("HZ01", "offered", 0)
