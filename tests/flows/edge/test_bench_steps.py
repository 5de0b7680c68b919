"""Serials, gifts, counts, notices and a new address at the bench, as a packer meets them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edge_agent.agent import bench_view
from edge_agent.domain.answer import Answer
from edge_agent.domain.printer_status import PrinterLevel, PrinterStatus
from edge_agent.flows import cards, count
from edge_agent.journal import stations, tasks
from edge_agent.journal.tables import FLOOR_COLUMNS, SCHEMA_VERSION
from edge_agent.pages import acts
from protocols import commands
from protocols.errors import Rejected
from tests.support.edge import PRINTED, Floor, cancel, grant

SHIPMENT = "DB2026AAAA-1"
TASK = f"TASK-{SHIPMENT}"
WAYBILL = "WAAAA1"
GIFT = "DB2026AAAAGIFT"
PHONE = commands.TaskLine(
    "SKU-P", 2, name="手机", barcodes=["69SKU-P"], location="B-10", serial=True
)
CASE = commands.TaskLine("SKU-C", 1, name="手机壳", barcodes=["69SKU-C"], location="B-2")
CUP = commands.TaskLine("SKU-G", 1, name="水杯", barcodes=["69SKU-G"], location="A-1", gift=True)


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.resynced()
    return floor


def granted(
    floor: Floor, *lines: commands.TaskLine, gift: str = "", print_on: str = "grant"
) -> None:
    floor.tell(msgspec.structs.replace(grant(print_on=print_on), lines=list(lines), gift=gift))


def scans(floor: Floor, *codes: str) -> list[str]:
    return [floor.scan(code).code for code in codes]


def screen(floor: Floor, station: str = "S1") -> dict[str, object]:
    """What the station's screen shows now."""
    clocks = bench_view.clocks(floor.clock.now(), floor.offset)
    shown: dict[str, object] = floor.read(
        lambda db: bench_view.station(db, stations.get(db, station), **clocks)
    )
    return shown


# --- pick -----------------------------------------------------------------------------------------


def test_the_picker_walks_from_shelf_to_shelf(floor: Floor) -> None:
    granted(floor, PHONE, CASE, CUP)
    assert floor.scan(TASK).text_zh == "开始拣货: A-1 水杯 ×1"
    shown = screen(floor)
    assert [line["location"] for line in shown["task"]["lines"]] == ["A-1", "B-2", "B-10"]  # type: ignore[index]
    assert (shown["do"], shown["want_zh"]) == ("pick", "A-1 水杯 ×1")
    assert "B-2 手机壳 ×1" in floor.scan("69SKU-G").text_zh


def test_a_short_pick_says_why_and_how_many_are_left(floor: Floor) -> None:
    granted(floor, CASE)
    floor.scan(TASK)
    assert "破损" in floor.scan("$$SHORT:BROKEN").text_zh
    task = floor.read(lambda db: tasks.newest(db, SHIPMENT))
    floor.write(lambda tx: cards.short(tx, task, "69SKU-C", 3, station="S1", reason="lost"))
    told = floor.bodies("pick.shorted")
    assert [(body["reason"], body["found"], body["sku"]) for body in told] == [
        ("broken", 0, "SKU-C"), ("lost", 3, "SKU-C"),
    ]  # fmt: skip
    with pytest.raises(Rejected, match="short_reason"):
        floor.write(lambda tx: cards.short(tx, task, "", 0, station="S1", reason="whim"))
    with pytest.raises(Rejected, match="units_invalid"):
        floor.write(lambda tx: cards.short(tx, task, "", -1, station="S1", reason="lost"))


def test_a_shelf_is_counted_with_the_scanner_and_reaches_the_core(floor: Floor) -> None:
    granted(floor, CASE, CUP)
    assert (
        scans(floor, "$$COUNT", "69SKU-C", "69SKU-C", "SKU-C") == ["counting"] + ["counted_one"] * 3
    )
    assert floor.scan("69SKU-G").code == "count_other"
    floor.restart()
    assert floor.scan("$$OK").text_zh == "已盘点 手机壳: 3 件"
    assert scans(floor, "69SKU-G", "$$N:12", "$$OK") == ["counted_one", "counted_one", "counted"]
    told = [body["counts"] for body in floor.bodies("stock.counted")]
    assert told == [[{"sku": "SKU-C", "shelf": 3}], [{"sku": "SKU-G", "shelf": 12}]]


def test_only_goods_the_bench_knows_are_counted_and_only_real_numbers(floor: Floor) -> None:
    granted(floor, CASE)
    assert floor.scan("$$COUNT").tone == "ok"
    assert floor.scan("6900000000000").tone == "error"
    assert floor.scan("$$OK").code == "no_count"
    assert floor.scan("$$N:3").code == "no_count"
    floor.scan("69SKU-C")
    assert floor.scan("$$N:99999999").code == "units_invalid"
    with pytest.raises(Rejected, match="units_invalid"):
        floor.write(lambda tx: count.count(tx, "SKU-C", 1_000_001, station="S1", operator=""))
    assert floor.events("stock.counted") == []


# --- pack -----------------------------------------------------------------------------------------


def test_every_flagged_unit_has_a_serial_number_that_the_core_hears(floor: Floor) -> None:
    granted(floor, PHONE, CASE)
    scans(floor, TASK, "69SKU-C", "69SKU-P", "69SKU-P", TASK)
    first = floor.scan("69SKU-P")
    assert (first.code, first.tone) == ("serial_wanted", "warn")
    assert screen(floor)["do"] == "serial"
    assert floor.scan("69SKU-P").code == "serial_wanted"
    assert scans(floor, WAYBILL, "69SKU-P") == ["packing", "serial_wanted"]
    assert floor.events("item.verified") == []
    assert floor.scan("SN-0001").code == "verified"
    assert scans(floor, "69SKU-P", "SN-0001") == ["serial_wanted", "serial_repeated"]
    assert floor.scan("SN-0002").code == "verified"
    assert floor.scan("69SKU-C").code == "packed"
    told = [(body["sku"], body.get("serial", "")) for body in floor.bodies("item.verified")]
    assert told == [("SKU-P", "SN-0001"), ("SKU-P", "SN-0002"), ("SKU-C", "")]
    task = floor.read(lambda db: tasks.newest(db, SHIPMENT))
    kept = floor.read(lambda db: tasks.serials_of(db, task))
    assert kept == [("SKU-P", "SN-0001"), ("SKU-P", "SN-0002")]


def test_a_wanted_serial_survives_a_power_cut_and_is_dropped_with_the_task(floor: Floor) -> None:
    granted(floor, PHONE)
    scans(floor, TASK, "SKU-P", "SKU-P", TASK, "SKU-P")
    floor.restart()
    assert screen(floor)["wants"] == "SKU-P"
    assert floor.scan("$$CANCEL").code == "put_down"
    assert screen(floor)["wants"] == ""
    refused = floor.scan("SN-0001")
    assert (refused.tone, refused.code) == ("error", "code_unknown")
    assert "SN-0001" not in [s.code for s in floor.read(lambda db: stations.last_scans(db, 9))]


@pytest.mark.parametrize("code", ["x" * 65, "   "])
def test_what_cannot_be_a_serial_number_is_refused_by_name(floor: Floor, code: str) -> None:
    granted(floor, PHONE)
    scans(floor, TASK, "SKU-P", "SKU-P", TASK, "SKU-P")
    assert floor.scan(code).code == "serial_invalid"
    assert screen(floor)["wants"] == "SKU-P"


@pytest.mark.parametrize("code", ["69SKU-G", GIFT])
def test_the_box_stays_open_until_the_gift_was_scanned(floor: Floor, code: str) -> None:
    granted(floor, CASE, CUP, gift=GIFT)
    scans(floor, TASK, "SKU-C", GIFT, TASK)
    answer = floor.scan("69SKU-C")
    assert (answer.code, answer.text_zh) == ("gift_wanted", "还差赠品 水杯 ×1, 请扫赠品码")
    assert screen(floor)["do"] == "gift"
    refused = floor.scan("$$PACKED")
    assert (refused.tone, refused.code) == ("error", "gift_missing")
    assert floor.state(SHIPMENT) == "picking"
    assert floor.scan(code).code == "packed"
    assert floor.bodies("item.verified")[-1] | {"token": 0, "shipment": ""} == {
        "shipment": "", "token": 0, "sku": "SKU-G", "quantity": 1, "gift": True,
    }  # fmt: skip
    assert floor.bodies("parcel.packed")[0]["gift"] == GIFT


def test_the_handling_time_runs_from_the_waybill_scan_to_the_loading_code(floor: Floor) -> None:
    granted(floor, CASE)
    floor.print_next(PRINTED)
    scans(floor, TASK, "SKU-C")
    floor.clock.step(60_000)
    assert floor.scan(WAYBILL).code == "packing"
    floor.clock.step(90_000)
    floor.scan(WAYBILL)
    floor.scan("SKU-C")
    floor.clock.step(30_000)
    scans(floor, WAYBILL, "LOAD-7")
    assert len(floor.events("pack.started")) == 1
    assert floor.bodies("parcel.handed_over")[0]["handling_ms"] == 120_000


def test_the_handling_time_crosses_a_restart_by_the_wall_clock_and_is_never_negative(
    floor: Floor,
) -> None:
    granted(floor, CASE)
    floor.print_next(PRINTED)
    scans(floor, TASK, "SKU-C", TASK, "SKU-C")
    floor.clock.step(45_000)
    floor.clock.mono_ms = 500
    floor.restart()
    floor.clock.wall_ms -= 3_600_000
    scans(floor, WAYBILL, "LOAD-7")
    assert floor.bodies("parcel.handed_over")[0].get("handling_ms", 0) == 0


def test_minutes_left_are_by_the_servers_clock(floor: Floor) -> None:
    from edge_agent.domain.moment import ServerOffset

    granted(floor, CASE)
    floor.scan(TASK)
    ship_by_ms = grant().ship_by_ms
    floor.offset = ServerOffset(ship_by_ms - 25 * 60_000 - floor.clock.mono_ms, 10)
    assert screen(floor)["task"]["minutes_left"] == 25  # type: ignore[index]
    floor.clock.step(26 * 60_000)
    assert screen(floor)["task"]["minutes_left"] == -1  # type: ignore[index]


# --- red ------------------------------------------------------------------------------------------


def red(answer: Answer) -> bool:
    return (answer.tone, answer.light) == ("error", "red")


def test_a_refund_request_stops_everything_until_somebody_confirms(floor: Floor) -> None:
    granted(floor, CASE, CUP)
    floor.scan(TASK)
    floor.tell(commands.Notice(SHIPMENT, "refund_requested", "买家申请退款"))
    assert floor.print_next() == "held"
    for code in ("SKU-C", TASK, "6900000000000", "LOAD-7"):
        answer = floor.scan(code)
        assert red(answer)
        assert answer.code == "notice_stop"
        assert "买家申请退款" in answer.text_zh
    assert screen(floor)["do"] == "confirm"
    assert floor.scan("$$PRINT").code == "notice_open"
    assert floor.scan("$$PACKED").tone == "error"
    assert floor.scan("$$SHORT:LOST").code == "notice_open"
    assert floor.events("item.picked") == floor.events("pick.shorted") == []
    assert floor.scan("$$OK").code == "confirmed"
    (read,) = floor.events("notice.confirmed")
    assert (read.s, floor.bodies("notice.confirmed")[0]["code"]) == ("S1", "refund_requested")
    assert floor.print_next(PRINTED) == "confirmed"
    assert floor.scan("SKU-C").code == "picked"


def test_a_refund_request_keeps_a_packed_parcel_off_the_van(floor: Floor) -> None:
    granted(floor, CASE)
    floor.print_next(PRINTED)
    scans(floor, TASK, "SKU-C", TASK, "SKU-C")
    floor.scan("LOAD-7", "S2")
    floor.tell(commands.Notice(SHIPMENT, "refund_requested", "买家申请退款"))
    assert red(floor.scan(WAYBILL, "S2"))
    assert floor.events("parcel.handed_over") == []
    assert floor.scan("$$OK", "S2").code == "confirmed"
    assert scans(floor, WAYBILL, "LOAD-7")[-1] == "handed_over"


def test_a_late_address_pulls_the_old_label_before_the_new_one_prints(floor: Floor) -> None:
    """003.18: the old grant is fenced, its label torn up, the next grant prints the new one."""
    granted(floor, CASE)
    assert floor.print_next(PRINTED) == "confirmed"
    scans(floor, TASK, "SKU-C", TASK, "SKU-C")
    changed = msgspec.structs.replace(
        cancel(), reason="address_changed", text="收货地址已更改, 请换面单"
    )
    floor.tell(changed)
    floor.tell(grant(n=2, lines={"SKU-C": 1}, waybill="WNEW0002"))
    assert floor.print_next() == "held"
    assert floor.job(SHIPMENT).job.reason == "old_label"
    answer = floor.scan(WAYBILL)
    assert red(answer)
    assert "收货地址已更改, 请换面单" in answer.text_zh
    assert f"撕下面单 {WAYBILL}" in answer.text_zh
    assert screen(floor)["task"]["pull_label"]  # type: ignore[index]
    assert floor.scan("$$STOPPED").code == "stopped"
    assert floor.bodies("task.stopped")[0]["label"] == "pulled"
    assert floor.print_next(PRINTED) == "confirmed"
    assert floor.job(SHIPMENT).job.key.number == "WNEW0002"
    assert "已作废" in floor.scan(WAYBILL).text_zh
    assert floor.scan("WNEW0002").code == "picking"


def test_the_text_of_a_cancel_that_came_late_is_still_read(floor: Floor) -> None:
    granted(floor, CASE)
    floor.print_next(PRINTED)
    floor.tell(grant(n=2, lines={"SKU-C": 1}, waybill="WNEW0002"))
    floor.tell(msgspec.structs.replace(cancel(), reason="address_changed", text="换面单"))
    assert "换面单" in floor.scan(WAYBILL).text_zh


def test_the_same_label_on_a_second_box_is_told_when_the_first_one_left(floor: Floor) -> None:
    granted(floor, CASE)
    floor.print_next(PRINTED)
    scans(floor, TASK, "SKU-C", TASK, "SKU-C", WAYBILL, "LOAD-7")
    again = floor.scan(WAYBILL)
    assert again.tone == "warn"
    assert "面单贴重了" in again.text_zh
    assert floor.plan.clock_text(floor.clock.wall_ms) in again.text_zh


def press(floor: Floor, **form: str) -> Answer:
    """A button of the status page."""
    act = acts.act_of(form)
    answer: Answer = floor.write(lambda tx: act(tx, floor.bench))
    return answer


def test_the_desk_confirms_a_notice_and_sends_a_label_to_another_printer(floor: Floor) -> None:
    floor.plan = replace(floor.plan, printers=("label-1", "label-2"))
    granted(floor, CASE)
    floor.tell(commands.Notice(SHIPMENT, "refund_requested", "买家申请退款"))
    assert floor.print_next() == "held"
    label = {"kind": "waybill", "number": WAYBILL, "revision": "1"}
    with pytest.raises(Rejected, match="notice_open"):
        press(floor, act="print", **label)
    assert press(floor, act="confirm_notice", shipment=SHIPMENT, operator="演示乙").tone == "ok"
    assert floor.bodies("notice.confirmed")[0]["operator"] == "演示乙"
    with pytest.raises(Rejected, match="nothing_to_confirm"):
        press(floor, act="confirm_notice", shipment=SHIPMENT)
    paper_out = PrinterStatus(PrinterLevel.ERROR, "paper_out", "缺纸")
    assert floor.print_next(status=paper_out) == "held"
    with pytest.raises(Rejected, match="printer_unknown"):
        press(floor, act="print", printer="label-9", **label)
    assert press(floor, act="print", printer="label-2", **label).tone == "ok"
    assert floor.job(SHIPMENT).printer == "label-2"
    with pytest.raises(Rejected, match="print_step_refused"):
        press(floor, act="give_up", **label)


def test_a_parcel_begun_under_the_first_schema_is_finished_under_this_one(floor: Floor) -> None:
    granted(floor, CASE)
    scans(floor, TASK, "SKU-C")
    for table, columns in FLOOR_COLUMNS.items():
        for column in columns:
            floor.core.db.execute(f"ALTER TABLE {table} DROP COLUMN {column.split()[0]}")
    floor.core.db.execute("PRAGMA user_version=1")
    floor.restart()
    floor.core_seen = True
    assert scans(floor, TASK, "SKU-C") == ["packing", "packed"]
    assert floor.core.db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION


def test_a_stop_confirmed_at_another_bench_leaves_the_parcel_in_hand(floor: Floor) -> None:
    """Without a task scanned `$$STOPPED` means the only one that is red; what lies here stays."""
    floor.tell(grant("DB2026CCCC-1", waybill="YT0000000009"))
    floor.scan("TASK-DB2026CCCC-1", "bench-2")
    floor.tell(cancel("DB2026CCCC-1"))
    floor.tell(grant("DB2026DDDD-1", waybill="YT0000000010"))
    floor.scan("TASK-DB2026DDDD-1")
    assert floor.scan("$$STOPPED").shipment == "DB2026CCCC-1"
    assert floor.scan("SKU-A").shipment == "DB2026DDDD-1"
    assert len(floor.bodies("item.picked")) == 1
