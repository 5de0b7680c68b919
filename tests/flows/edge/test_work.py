"""A shift at one station, as the packer hears and the core reads it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge_agent.flows import cards, purge
from edge_agent.journal import stations, tasks
from protocols import commands
from tests.support.edge import PRINTED, Floor, cancel, grant

SHIPMENT = "DB2026AAAA-1"
TASK = f"TASK-{SHIPMENT}"
WAYBILL = "WAAAA1"


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.resynced()
    return floor


def pick_all(floor: Floor) -> None:
    for code in (TASK, "69SKU-A", "SKU-A", "69SKU-B"):
        assert floor.scan(code).tone == "ok"


def verify_all(floor: Floor) -> None:
    for code in (TASK, "SKU-B", "SKU-A", "SKU-A"):
        assert floor.scan(code).tone == "ok"


def test_a_parcel_from_the_shelf_to_the_van(floor: Floor) -> None:
    floor.tell(grant())
    assert floor.print_next(PRINTED) == "confirmed"
    pick_all(floor)
    verify_all(floor)
    assert floor.state(SHIPMENT) == "packed"
    assert floor.scan(WAYBILL).code == "packed"
    answer = floor.scan("LOAD-7")
    assert (answer.tone, answer.code) == ("ok", "handed_over")
    assert floor.state(SHIPMENT) == "handed_over"
    assert [t for t in floor.types() if not t.startswith(("label", "command", "epoch"))] == [
        "grant.stored", "task.started",
        "item.picked", "item.picked", "item.picked", "pack.started",
        "item.verified", "item.verified", "item.verified",
        "parcel.packed", "parcel.handed_over",
    ]  # fmt: skip
    left = floor.bodies("parcel.handed_over")[0]
    assert left["lines"] == [
        {"sku": "SKU-A", "quantity": 2},
        {"sku": "SKU-B", "quantity": 1},
    ]
    assert (left["waybill"], left["native_id"], left["channel"]) == (WAYBILL, "N-1", "shop")


def test_a_van_is_loaded_parcel_by_parcel(floor: Floor) -> None:
    for name in ("AAAA", "BBBB"):
        floor.tell(grant(f"DB2026{name}-1", lines={"SKU-A": 1}))
        for code in (f"TASK-DB2026{name}-1", "SKU-A", f"TASK-DB2026{name}-1", "SKU-A"):
            floor.scan(code)
    floor.tell(grant("DB2026CCCC-1"))
    assert floor.scan("LOAD-7").code == "loading"
    assert floor.scan("WAAAA1").code == "handed_over"
    assert floor.scan("WCCCC1").code == "not_packed"
    assert floor.scan("WBBBB1").code == "handed_over"
    assert floor.scan("WBBBB1").code == "handed_over"
    assert len(floor.events("parcel.handed_over")) == 2


def test_the_label_prints_after_packing_when_so_granted(floor: Floor) -> None:
    floor.tell(grant(print_on="pack"))
    assert floor.print_next() == ""
    pick_all(floor)
    verify_all(floor)
    assert floor.print_next(PRINTED) == "confirmed"


def test_one_item_too_many_or_a_wrong_one_is_heard_and_changes_nothing(floor: Floor) -> None:
    floor.tell(grant())
    pick_all(floor)
    before = len(floor.types())
    assert floor.scan("SKU-A").code == "line_complete"
    wrong = floor.scan("6900000000000")
    assert (wrong.tone, wrong.light, wrong.code) == ("error", "red", "not_in_task")
    assert floor.scan("哈哈").code == "not_in_task"
    assert len(floor.types()) == before


@pytest.mark.parametrize(
    ("code", "reason"),
    [("9" * 10_000, "too_long"), ("AB\x00C", "control_character"), ("$$HACK", "code_unknown"),
     ("'; DROP TABLE task;--", "code_unknown")],
)  # fmt: skip
def test_hostile_scans_get_an_error_tone_and_leave_no_trace(
    floor: Floor, code: str, reason: str
) -> None:
    answer = floor.scan(code)
    assert (answer.tone, answer.refused) == ("error", reason)
    assert floor.types() == ["epoch.opened"]
    assert code not in [s.code for s in floor.read(lambda db: stations.last_scans(db, 10))]


def test_nothing_can_be_done_before_the_grant(floor: Floor) -> None:
    from tests.support.edge import offer

    floor.tell(offer())
    assert floor.scan(TASK).code == "not_granted"


def test_a_cancelled_order_turns_the_station_red_until_it_is_put_back(floor: Floor) -> None:
    floor.tell(grant(print_on="pack"))
    for code in (TASK, "SKU-A"):
        floor.scan(code)
    floor.tell(cancel())
    for code in ("SKU-A", TASK, "6900000000000"):
        answer = floor.scan(code)
        assert (answer.tone, answer.light, answer.code) == ("error", "red", "stop")
    assert "task.stopped" not in floor.types()
    assert floor.scan("$$STOPPED").code == "stopped"
    stopped = floor.bodies("task.stopped")[0]
    assert stopped["put_back"] == [{"sku": "SKU-A", "quantity": 1}]
    assert stopped.get("label", "none") == "none"
    assert floor.scan(TASK).code == "stopped"


def test_a_printed_label_of_a_cancelled_order_must_be_pulled(floor: Floor) -> None:
    floor.tell(grant())
    floor.print_next(PRINTED)
    floor.tell(cancel())
    assert floor.state(SHIPMENT) == "stopping"
    floor.scan("$$STOPPED")
    assert floor.bodies("task.stopped")[0]["label"] == "pulled"


def test_a_packed_parcel_of_a_cancelled_order_does_not_get_on_the_van(floor: Floor) -> None:
    floor.tell(grant())
    pick_all(floor)
    verify_all(floor)
    floor.scan("LOAD-7")
    floor.tell(cancel())
    assert floor.scan(WAYBILL).code == "stop"
    assert "parcel.handed_over" not in floor.types()


def test_a_parcel_that_left_before_the_cancel_has_left(floor: Floor) -> None:
    floor.tell(grant())
    pick_all(floor)
    verify_all(floor)
    floor.scan(WAYBILL)
    floor.scan("LOAD-7")
    floor.tell(cancel())
    assert floor.state(SHIPMENT) == "handed_over"
    assert "task.stopped" not in floor.types()


def test_a_short_shelf_is_reported_with_what_is_there(floor: Floor) -> None:
    floor.tell(grant())
    for code in (TASK, "SKU-A", "$$SHORT"):
        floor.scan(code)
    assert floor.bodies("pick.shorted")[0] | {"shipment": ""} == {
        "shipment": "", "token": [1, 1], "sku": "SKU-A", "wanted": 1, "found": 0, "reason": "card",
    }  # fmt: skip


def test_a_notice_is_confirmed_before_the_parcel_closes(floor: Floor) -> None:
    floor.tell(grant())
    pick_all(floor)
    floor.tell(commands.Notice(SHIPMENT, "remark", "买家要求加固"))
    for code in (TASK, "SKU-B", "SKU-A"):
        floor.scan(code)
    answer = floor.scan("SKU-A")
    assert answer.code == "notice"
    assert "买家要求加固" in answer.text_zh
    assert floor.state(SHIPMENT) == "picking"
    assert floor.scan("$$OK").code == "packed"


def test_the_station_goes_on_in_mid_parcel_after_a_power_cut(floor: Floor) -> None:
    floor.tell(grant())
    for code in (TASK, "SKU-A"):
        floor.scan(code)
    floor.restart()
    assert floor.scan("SKU-A").code == "picked"
    assert floor.scan("SKU-B").code == "picked_all"


def test_a_person_refuses_an_offer_and_not_a_grant(floor: Floor) -> None:
    from protocols.errors import Rejected
    from tests.support.edge import offer

    floor.tell(offer())
    floor.write(lambda tx: cards.reject(tx, SHIPMENT, "closed"))
    assert floor.bodies("offer.rejected")[0]["reason"] == "closed"
    floor.tell(grant("DB2026BBBB-1"))
    with pytest.raises(Rejected, match="task_already_granted"):
        floor.write(lambda tx: cards.reject(tx, "DB2026BBBB-1", "closed"))


def test_label_fields_are_forgotten_in_time_and_never_travel(floor: Floor) -> None:
    floor.tell(grant())
    pick_all(floor)
    verify_all(floor)
    floor.scan(WAYBILL)
    floor.scan("LOAD-7")
    floor.clock.step(23 * 3_600_000)
    assert floor.write(lambda tx: purge.purge_due(tx, floor.bench)) == 0
    floor.clock.step(2 * 3_600_000)
    assert floor.write(lambda tx: purge.purge_due(tx, floor.bench)) == 1
    task = floor.read(lambda db: tasks.newest(db, SHIPMENT))
    assert floor.read(lambda db: tasks.label_of(db, task)) is None
    assert floor.bodies("personal.purged") == [{"shipments": [SHIPMENT]}]
    every_row = b"".join(bytes(e.d) for e in floor.events())
    assert "测*".encode() not in every_row
    assert b"100******01" not in every_row


def test_two_equal_lines_are_two_lines(floor: Floor) -> None:
    line = commands.TaskLine("SKU-A", 1, name="商品", barcodes=["69A"], location="A-1")
    floor.tell(msgspec.structs.replace(grant(), lines=[line, line]))
    assert [floor.scan(code).code for code in (TASK, "69A", "69A", TASK, "69A", "69A")] == [
        "picking", "picked", "picked_all", "packing", "verified", "packed",
    ]  # fmt: skip


def test_the_van_is_loaded_at_another_station_than_the_parcel_was_packed(floor: Floor) -> None:
    floor.tell(grant())
    pick_all(floor)
    verify_all(floor)
    floor.scan("LOAD-7", "S2")
    assert floor.scan(WAYBILL, "S2").code == "handed_over"
    assert [event.s for event in floor.events("parcel.handed_over")] == ["S2"]


def test_packing_before_the_core_was_heard_says_that_nothing_prints_unasked(floor: Floor) -> None:
    floor.tell(grant(print_on="pack", lines={"SKU-A": 1}))
    for code in (TASK, "SKU-A", TASK):
        floor.scan(code)
    answer = floor.scan("SKU-A")
    assert answer.code == "packed"
    assert "$$PRINT" in answer.text_zh
