"""Days without the core: every step of the bench goes on, nothing is lost, nothing prints twice."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge_agent.flows import purge
from edge_agent.journal import rows
from protocols import commands
from tests.support.edge import PRINTED, Floor, grant

DAY_MS = 86_400_000
LINES = [
    commands.TaskLine("SKU-P", 1, name="手机", barcodes=["69P"], location="A-2", serial=True),
    commands.TaskLine("SKU-C", 2, name="手机壳", barcodes=["69C"], location="A-10"),
    commands.TaskLine("SKU-G", 1, name="水杯", barcodes=["69G"], location="B-1", gift=True),
]


def order(number: int) -> str:
    return f"DB2026D{number:03d}"


def granted(number: int) -> commands.Grant:
    """A phone with its serial, two cases and a gift; the label prints at once or after packing."""
    body: commands.Grant = msgspec.structs.replace(
        grant(f"{order(number)}-1", waybill=f"WD{number:04d}"),
        lines=LINES, gift=f"{order(number)}GIFT", print_on="grant" if number % 2 else "pack",
    )  # fmt: skip
    return body


def test_three_days_and_three_power_cuts_without_the_core(tmp_path: Path) -> None:
    floor = Floor(tmp_path)
    floor.resynced()
    floor.tell(granted(0))
    parcels = range(1, 7)
    for number in parcels:
        floor.tell(granted(number))
    for day in range(3):
        floor.clock.step(DAY_MS)
        floor.clock.mono_ms = 60_000
        floor.restart()
        for number in parcels[2 * day : 2 * day + 2]:
            one_parcel(floor, number)
        count_and_short(floor)
        floor.write(lambda tx: purge.purge_due(tx, floor.bench))
        floor.write(lambda tx: purge.prune_floor(tx, floor.bench, used_bytes=0))

    assert [floor.state(f"{order(number)}-1") for number in parcels] == ["handed_over"] * 6
    started = [(body["waybill"], body["revision"]) for body in floor.bodies("label.started")]
    assert sorted(started) == [(f"WD{number:04d}", 1) for number in parcels]
    left = floor.bodies("parcel.handed_over")
    assert [body["handling_ms"] for body in left] == [30_000] * 6
    serials = [body["serial"] for body in floor.bodies("item.verified") if "serial" in body]
    assert serials == [f"SN-{number}" for number in parcels]
    assert len(floor.events("stock.counted")) == 3
    seqs = [event.q for event in floor.events()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert floor.read(rows.current).acked == 0


def one_parcel(floor: Floor, number: int) -> None:
    task, waybill = f"TASK-{order(number)}-1", f"WD{number:04d}"
    if number % 2:
        assert floor.print_next(PRINTED) == ""
        floor.scan(task)
        assert floor.scan("$$PRINT").code == "printing"
        assert floor.print_next(PRINTED) == "confirmed"
    codes = [floor.scan(code).code for code in (task, "69P", "69C", "69C", "69G")]
    assert codes == ["picking", "picked", "picked", "picked", "picked_all"]
    assert floor.scan(waybill if number % 2 else task).code == "packing"
    floor.clock.step(30_000)
    codes = [floor.scan(code).code for code in ("69P", f"SN-{number}", "69C", "69C")]
    assert codes == ["serial_wanted", "verified", "verified", "gift_wanted"]
    assert floor.scan(f"{order(number)}GIFT").code == "packed"
    if not number % 2:
        floor.scan(task)
        assert floor.print_next() == "held"
        assert floor.scan("$$PRINT").code == "printing"
        assert floor.print_next(PRINTED) == "confirmed"
    assert floor.scan(waybill).code == "packed"
    assert floor.scan("LOAD-7").code == "handed_over"


def count_and_short(floor: Floor) -> None:
    for code in (f"TASK-{order(0)}-1", "$$SHORT:NONE", "$$COUNT", "69C", "$$N:0", "$$OK"):
        assert floor.scan(code).tone != "error"
    floor.scan("$$CANCEL")
