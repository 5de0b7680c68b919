"""A basket is set aside, paid in time or given back; an order takes over what it was sold from."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import hold_commands as h
from cloud_core.domain.change_commands import CancelOrder
from cloud_core.domain.commands import Sweep
from protocols import events as e
from protocols.errors import Rejected
from tests.support.core import CoreBench

_numbers = itertools.count(1)


@pytest.fixture
def core(tmp_path: Path) -> CoreBench:
    return CoreBench(tmp_path)


def keyed(key: str = "", body: str = "") -> h.Keyed:
    return h.Keyed("holds:k1", key or f"key-{next(_numbers)}", body or "digest")


def place(core: CoreBench, *lines: tuple[str, int], name: str = "", **values: Any) -> h.HoldAnswer:
    name = name or f"H{next(_numbers)}"
    wanted = h.WantedHold(name, lines, **values)
    (answer,) = core.do(h.PlaceHolds((wanted,), keyed(), "key:k1")).holds
    return answer


def confirm(core: CoreBench, name: str, key: str = "") -> h.HoldAnswer:
    (answer,) = core.do(h.ConfirmHold(name, keyed(key), "key:k1")).holds
    return answer


def release(core: CoreBench, name: str, **values: Any) -> h.HoldAnswer:
    return core.do(h.ReleaseHold(name, "key:k1", **values))


def state(core: CoreBench, name: str) -> str:
    return str(core.one("SELECT state FROM hold WHERE id = :h", h=name))


def test_a_basket_is_held_at_the_best_warehouse_that_covers_all_of_it(core: CoreBench) -> None:
    found = place(core, ("A", 3), ("B", 2))
    assert (found.state, found.lines) == ("held", (("HZ01", "A", 3), ("HZ01", "B", 2)))
    assert found.expires_ms == core.clock.ms + 900_000
    assert core.stock("HZ01", "A") == (10, 0, 3)
    place(core, ("A", 7))
    elsewhere = place(core, ("A", 1), ("B", 1))
    assert {w for w, _, _ in elsewhere.lines} == {"SZ01"}, "HZ01 has no A left"


def test_what_no_warehouse_has_alone_is_held_in_several(core: CoreBench) -> None:
    found = place(core, ("A", 15))
    assert found.lines == (("HZ01", "A", 10), ("SZ01", "A", 5))
    assert core.one("SELECT warehouse FROM hold WHERE id = :h", h=found.id) == ""
    assert release(core, found.id).state == "released"
    assert core.stock("HZ01", "A") == (10, 0, 0)
    assert core.stock("SZ01", "A") == (10, 0, 0)


def test_a_basket_is_all_or_nothing_and_its_neighbours_go_on(core: CoreBench) -> None:
    wanted = (
        h.WantedHold("H-one", (("A", 1), ("B", 21)), field="holds[0]."),
        h.WantedHold("H-two", (("A", 1), ("NOPE", 1)), field="holds[1]."),
        h.WantedHold("H-three", (("A", 1),), field="holds[2]."),
    )
    one, two, three = core.do(h.PlaceHolds(wanted, keyed(), "key:k1")).holds
    assert (one.code, one.field) == ("stock_short", "holds[0].lines[1].quantity")
    assert [(m.sku, m.wanted, m.available) for m in one.missing] == [("B", 21, 20)]
    assert (two.code, two.field) == ("sku_unknown", "holds[1].lines[1].sku")
    assert three.state == "held"
    assert core.stock("HZ01", "A") == (10, 0, 1)
    assert core.stock("HZ01", "B") == (10, 0, 0)


def test_the_last_unit_is_held_once(core: CoreBench) -> None:
    held = [place(core, ("A", 1)).state for _ in range(25)]
    assert held == ["held"] * 20 + ["refused"] * 5


def test_the_same_key_has_the_stored_answer_and_another_body_is_a_conflict(
    core: CoreBench,
) -> None:
    command = h.PlaceHolds((h.WantedHold("H-a", (("A", 4),)),), keyed("k", "one"), "key:k1")
    first = core.do(command)
    again = core.do(h.PlaceHolds((h.WantedHold("H-b", (("A", 4),)),), keyed("k", "one"), "key:k1"))
    assert (first.replayed, again.replayed) == (False, True)
    assert again.holds == first.holds
    assert core.stock("HZ01", "A") == (10, 0, 4)
    with pytest.raises(Rejected) as refused:
        core.do(h.PlaceHolds((h.WantedHold("H-c", (("A", 5),)),), keyed("k", "two"), "key:k1"))
    assert (refused.value.code, refused.value.field) == ("idempotency_conflict", "idempotency-key")


def test_a_refusal_is_an_answer_too_and_stays_one(core: CoreBench) -> None:
    late = place(core, ("A", 1), ttl_s=10)
    core.clock.advance(10)
    assert confirm(core, late.id, "c").code == "hold_expired"
    assert confirm(core, late.id, "c").code == "hold_expired"
    assert state(core, late.id) == "expired"
    assert core.stock("HZ01", "A") == (10, 0, 0), "given back once, in the commit that refused it"
    assert core.do(h.ExpireHolds()).holds == 0


def test_keys_are_forgotten_after_two_days_not_before(core: CoreBench) -> None:
    place(core, ("A", 1))
    core.clock.advance(47 * 3600)
    assert core.do(h.ExpireHolds()).keys == 0
    core.clock.advance(3600)
    assert core.do(h.ExpireHolds()).keys == 1
    assert core.rows("SELECT * FROM seen_key") == []


def test_a_hold_resolves_once_by_one_clock(core: CoreBench) -> None:
    kept, gone, over = (place(core, ("A", 1), ttl_s=60).id for _ in range(3))
    core.clock.ms += 59_999
    assert confirm(core, kept).state == "confirmed"
    assert release(core, gone).state == "released"
    core.clock.ms += 1
    assert core.do(h.ExpireHolds()).holds == 1
    assert [state(core, name) for name in (kept, gone, over)] == [
        "confirmed", "released", "expired",
    ]  # fmt: skip
    assert confirm(core, kept).code == ""
    assert confirm(core, gone).code == "hold_released"
    assert confirm(core, over).code == "hold_expired"
    assert release(core, gone).state == "released", "twice is once"
    assert release(core, over).state == "expired"
    with pytest.raises(Rejected) as refused:
        release(core, kept)
    assert refused.value.code == "hold_confirmed"
    assert core.stock("HZ01", "A") == (10, 0, 1)


def test_expiry_takes_a_bounded_bite(core: CoreBench) -> None:
    for _ in range(7):
        place(core, ("A", 1), ttl_s=30)
    core.clock.advance(30)
    first = core.do(h.ExpireHolds(limit=5))
    assert (first.holds, first.more) == (5, True)
    second = core.do(h.ExpireHolds(limit=5))
    assert (second.holds, second.more) == (2, False)


def test_a_confirmed_hold_never_expires_and_alarms_once_when_nobody_orders(
    core: CoreBench,
) -> None:
    name = place(core, ("A", 2), order_ref="CART-1").id
    confirm(core, name)
    core.clock.advance(30 * 24 * 3600)
    for _ in range(2):
        core.do(h.ExpireHolds(orphans=True))
    assert core.stock("HZ01", "A") == (10, 0, 2)
    (alarm,) = core.rows("SELECT key, count, text FROM alarm WHERE kind = 'hold_orphan'")
    assert alarm[:2] == (name, 1)
    assert "CART-1" in alarm[2]
    assert release(core, name, force=True).state == "released"
    assert core.stock("HZ01", "A") == (10, 0, 0)
    assert core.rows("SELECT * FROM alarm WHERE kind = 'hold_orphan' AND closed_ms IS NULL") == []
    assert core.one("SELECT change FROM trail WHERE subject = :h", h=name) == "confirmed>released"


@pytest.mark.parametrize("confirmed", [True, False])
def test_the_paid_order_takes_the_goods_it_was_sold_from(core: CoreBench, confirmed: bool) -> None:
    core.online()
    name = place(core, ("A", 10), channel="shop1").id
    if confirmed:
        confirm(core, name)
    core.shop("other", lines=(("A", 1),))
    core.shop("mine", lines=(("A", 10),), hold=name)
    assert state(core, name) == "moved"
    assert core.one("SELECT warehouse FROM shipment WHERE order_id LIKE '%mine'") == "HZ01"
    assert core.one("SELECT warehouse FROM shipment WHERE order_id LIKE '%other'") == "SZ01"
    assert core.stock("HZ01", "A") == (10, 0, 10)
    core.clock.advance(3600)
    core.do(h.ExpireHolds())
    assert core.stock("HZ01", "A") == (10, 0, 10), "what an order has taken does not expire"


def test_goods_stay_with_a_paid_order_that_no_bench_can_take_now(core: CoreBench) -> None:
    name = place(core, ("A", 10)).id
    core.shop("1", lines=(("A", 10),), hold=name)  # every agent is offline
    assert core.one("SELECT parked FROM shipment") == "unreachable"
    assert core.stock("HZ01", "A") == (10, 0, 10)
    core.online()
    core.do(Sweep())
    assert core.one("SELECT state FROM shipment") == "offered"
    assert core.stock("HZ01", "A") == (10, 0, 10)


def test_a_hold_in_two_warehouses_waits_confirmed_until_one_covers_the_order(
    core: CoreBench,
) -> None:
    core.online()
    name = place(core, ("A", 15)).id
    core.shop("1", lines=(("A", 15),), hold=name)
    assert core.one("SELECT parked FROM shipment") == "no_stock"
    assert state(core, name) == "confirmed"
    core.clock.advance(3600)
    core.do(h.ExpireHolds())
    assert (core.stock("HZ01", "A")[2], core.stock("SZ01", "A")[2]) == (10, 5)
    core.heartbeat()
    core.report("hz-a", ("stock.counted", e.StockCounted([e.Count("A", 20)])))
    core.do(Sweep())
    assert state(core, name) == "moved"
    assert core.one("SELECT warehouse FROM shipment") == "HZ01"
    assert (core.stock("HZ01", "A")[2], core.stock("SZ01", "A")[2]) == (15, 0)


def test_a_cancelled_order_gives_back_the_hold_it_named(core: CoreBench) -> None:
    core.online()
    name = place(core, ("A", 15)).id
    core.shop("1", lines=(("A", 15),), hold=name)
    core.do(CancelOrder("DB202600000001", "cancelled", "test"))
    assert state(core, name) == "released"
    assert (core.stock("HZ01", "A")[2], core.stock("SZ01", "A")[2]) == (0, 0)


def test_an_order_that_comes_too_late_is_served_as_any_other(core: CoreBench) -> None:
    core.online()
    name = place(core, ("A", 10), ttl_s=60).id
    core.clock.advance(60)
    core.heartbeat()
    core.shop("1", lines=(("A", 10),), hold=name)
    assert state(core, name) == "expired"
    assert core.stock("HZ01", "A") == (10, 0, 10)
    assert ("hold:expired",) in [tuple(r) for r in core.rows("SELECT change FROM trail")]


@pytest.mark.parametrize(
    ("named", "why"), [("H-unknown", "unknown"), ("H-foreign", "foreign"), ("H-used", "moved")]
)
def test_an_order_cannot_take_what_is_not_its_own(core: CoreBench, named: str, why: str) -> None:
    core.online()
    place(core, ("A", 1), name="H-foreign", channel="shop2")
    place(core, ("A", 1), name="H-used", channel="shop1")
    core.shop("9", lines=(("A", 1),), hold="H-used")
    core.shop("1", lines=(("B", 1),), hold=named)
    assert core.one("SELECT state FROM shipment WHERE order_id LIKE '%1'") == "offered"
    changes = core.rows("SELECT change FROM trail WHERE subject LIKE '%00000001'")
    assert f"hold:{why}" in [row[0] for row in changes]
    assert state(core, "H-foreign") == "held"


@pytest.mark.parametrize("named", ["H-unknown", "H-foreign", "H-over"])
def test_an_order_that_names_no_hold_of_its_own_is_taken_and_told_of(
    core: CoreBench, named: str
) -> None:
    core.online()
    place(core, ("A", 1), name="H-foreign", channel="shop2")
    place(core, ("A", 1), name="H-over", channel="shop1", ttl_s=10)
    core.clock.advance(10)
    core.heartbeat()
    core.shop("1", lines=(("B", 1),), hold=named)
    assert core.one("SELECT state FROM shipment") == "offered"
    (told,) = core.rows("SELECT text, count FROM alarm WHERE kind = 'hold_unclaimed'")
    assert "order.hold" in told[0]
    assert named in told[0]
    assert told[1] == 1


def test_an_order_takes_the_paid_hold_that_bears_its_number(core: CoreBench) -> None:
    core.online()
    name = place(core, ("A", 4), channel="shop1", order_ref="1").id
    other = place(core, ("A", 1), channel="shop2", order_ref="1").id
    unpaid = place(core, ("A", 1), channel="shop1", order_ref="2").id
    confirm(core, name)
    confirm(core, other)
    core.shop("1", lines=(("A", 4),))
    core.shop("2", lines=(("A", 1),))
    assert [state(core, hold) for hold in (name, other, unpaid)] == ["moved", "confirmed", "held"]
    assert core.one("SELECT hold FROM orders WHERE native_id = '1'") == name
    assert core.stock("HZ01", "A") == (10, 0, 7), "4 once, 1 + 1 in baskets, 1 of the second order"


def test_a_hold_paid_after_its_order_is_told_with_the_order(core: CoreBench) -> None:
    core.online()
    name = place(core, ("A", 1), channel="shop1", order_ref="1").id
    core.shop("1")
    confirm(core, name)
    core.clock.advance(30 * 24 * 3600)
    core.do(h.ExpireHolds(orphans=True))
    assert "DB202600000001" in core.one("SELECT text FROM alarm WHERE kind = 'hold_orphan'")


def test_fields_nobody_knows_are_told_and_refuse_nothing(core: CoreBench) -> None:
    core.online()
    core.shop("1", ignored=("order.hold_id", "order.holds"))
    assert core.one("SELECT state FROM shipment") == "offered"
    assert "order.hold_id、order.holds" in core.one("SELECT text FROM alarm")
    assert ("fields:ignored", "order.hold_id、order.holds") in [
        tuple(row) for row in core.rows("SELECT change, detail FROM trail")
    ]
