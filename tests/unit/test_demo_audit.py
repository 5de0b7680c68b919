"""The demo's audit finds what it is there for: each promise is broken once and must be named."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine

from cloud_core.store.schema import metadata
from protocols.messages import Event
from virtual_warehouse.demo import audit as audit_module
from virtual_warehouse.demo.audit import Bench, CoreBooks, Findings, audit, personal_leaks
from virtual_warehouse.demo.decisions import Decided
from virtual_warehouse.demo.story import Acts, Story
from virtual_warehouse.people import Record
from virtual_warehouse.printer import PrintedLabel

EPOCH = "00000000000000aa"


@dataclass
class Scene:
    """One order, shipped as it should be: one journal row, one paper, one unit gone of five."""

    folder: Path
    core: sqlite3.Connection
    journal: sqlite3.Connection
    record: Record = field(default_factory=Record)
    papers: list[PrintedLabel] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=lambda: ["N1"])

    def look(self) -> Findings:
        self.core.commit()
        self.journal.commit()
        journals = {"floor": self.folder / "floor.db"}
        bench = Bench("hz01-a", "HZ01", journals, self.record, self.papers)
        return audit(
            CoreBooks(self.folder / "core.sqlite"), [bench], {("HZ01", "SKU-1"): 5},
            confirmed=self.confirmed, wanted=["N1"],
        )  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(audit_module, "ARRIVAL_S", 0.0)
    engine = create_engine(f"sqlite:///{tmp_path / 'core.sqlite'}")
    metadata.create_all(engine)
    engine.dispose()
    core = sqlite3.connect(tmp_path / "core.sqlite")
    journal = sqlite3.connect(tmp_path / "floor.db")
    body = msgspec.Raw(msgspec.json.encode({"shipment": "S1"}))
    row = msgspec.json.encode(Event(q=1, t="parcel.handed_over", w=1, m=1, b=1, d=body))
    for statement, values in (
        ("INSERT INTO orders(id, channel, native_id, state, created_ms, track_token) "
         "VALUES('D1', 'c', 'N1', 'handed_over', 1, 't')", ()),
        ("INSERT INTO shipment(id, order_id, state, warehouse, waybill) "
         "VALUES('S1', 'D1', 'handed_over', 'HZ01', 'YS1')", ()),
        ("INSERT INTO waybill(number, carrier, state, shipment_id) "
         "VALUES('YS1', 'YS', 'drawn', 'S1')", ()),
        ("INSERT INTO stock(warehouse, sku, shelf) VALUES('HZ01', 'SKU-1', 4)", ()),
        ("INSERT INTO stream(id, agent, name, epoch, hash, opened_ms) "
         "VALUES(1, 'hz01-a', 'floor', ?, x'01', 1)", (EPOCH,)),
        ("INSERT INTO event(stream_id, seq, hash, type, row, at_ms) "
         "VALUES(1, 1, x'01', 'parcel.handed_over', ?, 1)", (row,)),
    ):  # fmt: skip
        core.execute(statement, values)
    journal.execute("CREATE TABLE epoch(no INTEGER, id TEXT)")
    journal.execute("CREATE TABLE row(epoch_no INTEGER, seq INTEGER, hash BLOB)")
    journal.execute("INSERT INTO epoch VALUES(1, ?)", (EPOCH,))
    journal.execute("INSERT INTO row VALUES(1, 1, x'01')")
    record = Record(gone={"YS1": {"SKU-1": 1}})
    record.told_ok["S1", "parcel.handed_over"] = 1
    return Scene(tmp_path, core, journal, record, [_paper(tmp_path, "YS1")])


def _paper(folder: Path, waybill: str) -> PrintedLabel:
    return PrintedLabel(waybill, (waybill,), folder / f"{waybill}.png", 1)


def test_a_good_day_has_nothing_to_report(scene: Scene) -> None:
    found = scene.look()
    assert found.broken == []
    assert (found.orders, found.shipped, found.labels, found.confirmed) == (1, 1, 1, 1)


def lose_a_row(scene: Scene) -> None:
    scene.journal.execute("INSERT INTO row VALUES(1, 2, x'02')")


def alter_a_row(scene: Scene) -> None:
    scene.journal.execute("UPDATE row SET hash = x'ff'")


def forget_what_was_told(scene: Scene) -> None:
    scene.record.told_ok["S1", "item.picked"] = 1


def print_twice(scene: Scene) -> None:
    scene.papers.append(_paper(scene.folder, "YS1"))


def print_rubbish(scene: Scene) -> None:
    scene.papers.append(_paper(scene.folder, ""))


def print_a_strange_number(scene: Scene) -> None:
    scene.papers.append(_paper(scene.folder, "XX9"))


def promise_too_much(scene: Scene) -> None:
    scene.core.execute("UPDATE stock SET held = 5")


def send_too_much(scene: Scene) -> None:
    scene.record.gone["YS1"]["SKU-1"] = 6
    scene.core.execute("UPDATE stock SET shelf = 0")


def book_twice(scene: Scene) -> None:
    scene.core.execute("UPDATE stock SET shelf = 3")


def leave_one_behind(scene: Scene) -> None:
    scene.core.execute("UPDATE orders SET state = 'packed'")


def forget_the_shop(scene: Scene) -> None:
    scene.confirmed.clear()


@pytest.mark.parametrize(
    ("fault", "field", "count", "words"),
    [
        (lose_a_row, "lost_events", 1, "丢失事件 1"),
        (alter_a_row, "lost_events", 1, "丢失事件 1"),
        (forget_what_was_told, "lost_events", 1, "丢失事件 1"),
        (print_twice, "double_labels", 1, "重复面单 1"),
        (print_rubbish, "unreadable_labels", 1, "读不出条码"),
        (print_a_strange_number, "labels", 2, "不是核心发出的"),
        (promise_too_much, "oversold", 1, "超卖 1"),
        (send_too_much, "oversold", 1, "超卖 1"),
        (book_twice, "stock_wrong", 1, "与实物不一致"),
        (leave_one_behind, "shipped", 0, "没有发出"),
        (forget_the_shop, "confirmed", 0, "发货回传"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_promise_is_counted_and_named(
    scene: Scene, fault: Callable[[Scene], None], field: str, count: int, words: str
) -> None:
    fault(scene)
    found = scene.look()
    assert getattr(found, field) == count
    assert any(words in text for text in found.broken), found.broken


def a_whole_shift() -> Acts:
    seen = Decided(asked=2, claims=1, breaker_opened=1, breaker_recovered=1)
    return Acts(cut_s=5.0, backlog_at_heal=7, back_s=1.2, refunded_packing="N2", decided=seen)


def test_a_shift_that_showed_everything_misses_nothing() -> None:
    assert a_whole_shift().missing(rush=True) == []
    short = replace(a_whole_shift(), decided=Decided())
    assert short.missing(rush=False) == [], "a short shift has no late warehouse and no claims"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"refunded_packing": ""}, "没有看到停止提示"),
        ({"backlog_at_heal": 0}, "断线时没有积压"),
        ({"back_s": 0.0}, "没有杀死边缘代理"),
        ({"backlog_after_heal": 2}, "2 条事件没有确认"),
        ({"decided": Decided(asked=2, breaker_opened=1, breaker_recovered=1)}, "抢单"),
        ({"decided": Decided(claims=1, breaker_opened=1)}, "熔断"),
    ],
)
def test_an_act_that_did_not_happen_is_a_broken_promise(
    changed: dict[str, object], words: str
) -> None:
    (said,) = replace(a_whole_shift(), **changed).missing(rush=True)  # type: ignore[arg-type]
    assert words in said


class _Screen:
    """A station's screen that shows the stop, or never does."""

    def __init__(self, *, red: bool) -> None:
        self._shown = {"tasks": [{"shipment": "S2", "state": "stopping" if red else "picking"}]}

    async def wait(self, wanted: Callable[[Any], Any], _seconds: float) -> Any:
        return wanted(self._shown)


@pytest.mark.parametrize(("red", "counted"), [(True, "N2"), (False, "")])
async def test_a_refund_counts_only_when_the_bench_showed_the_stop(red: bool, counted: str) -> None:
    async def refund(order: object) -> None:
        assert order == "the order"

    crew = SimpleNamespace(screen=_Screen(red=red))
    houses = [SimpleNamespace(crew=crew), SimpleNamespace(crew=crew)]
    shops: Any = SimpleNamespace(order_of=lambda name: "the order", refund=refund)
    stage: Any = SimpleNamespace(warehouses=houses)
    board: Any = SimpleNamespace(say=lambda text: None)
    story = Story(stage, shops, board, orders=12)
    task = {"native_id": "N2", "shipment": "S2", "state": "picking"}
    await story._refund_in_packing("S1", task, "item.verified")
    assert story.acts.refunded_packing == counted


def test_clear_personal_data_is_found_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "agent.log").write_text("sent to 10000000007 today")
    (tmp_path / "logs" / "clean.log").write_text("sent to 100******07 today")
    assert personal_leaks([tmp_path], ["10000000007"]) == ["agent.log"]
