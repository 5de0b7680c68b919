"""Who at the bench confirmed a red screen stands in the trail of the order, and moves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_core.domain import wording
from cloud_core.store.console_details import ConsoleDetails
from protocols import events as e
from protocols.messages import Token
from tests.support.core import CoreBench
from tests.support.routed import accepted, name_of, shipment, token_of

ID = name_of("1")
ORDER = "DB202600000001"


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    found = CoreBench(tmp_path)
    found.online()
    found.heartbeat()
    found.shop("1", lines=(("A", 2),))
    return found


def confirmed(bench: CoreBench) -> list[tuple[str, str, str, str]]:
    """The trail's lines about confirmations, as the console shows them."""
    shown = ConsoleDetails(bench.engine).order(ORDER)
    assert shown is not None
    return [
        (row["subject"], wording.change_zh(row["change"]), row["actor"], row["detail"])
        for row in reversed(shown["trail"])
        if row["change"].startswith("confirmed:")
    ]


def test_a_notice_read_at_the_bench_is_a_line_with_the_operator(bench: CoreBench) -> None:
    token = token_of(accepted(bench, "1"))
    before = shipment(bench, "1")
    read = e.NoticeConfirmed(ID, token, "address_changed", "12")
    unsigned = e.NoticeConfirmed(ID, token, "refund_requested")
    ack = bench.report("hz-a", ("notice.confirmed", read), ("notice.confirmed", unsigned))
    assert list(ack.rej) == []
    assert confirmed(bench) == [
        (ID, "工位已确认：修改地址", "agent:hz-a", "1.1 12"),
        (ID, "工位已确认：申请退款", "agent:hz-a", "1.1"),
    ]
    assert shipment(bench, "1") == before


def test_a_stop_says_who_put_the_goods_back_and_who_was_never_asked_says_nothing(
    bench: CoreBench,
) -> None:
    token = token_of(accepted(bench, "1"))
    bench.report("hz-a", ("item.picked", e.ItemPicked(ID, token, "A", 1)))
    bench.shop("1", "refund_requested", version=2, lines=())
    back = e.TaskStopped(ID, token, Token(1, 2), [e.PutBack("A", 1)], "pulled", "12")
    bench.report("hz-a", ("task.stopped", back))
    assert confirmed(bench) == [(ID, "工位已确认：停止并放回", "agent:hz-a", "1.1 12")]
    bench.report("hz-a", ("task.stopped", e.TaskStopped(ID, token, Token(1, 2))))
    assert len(confirmed(bench)) == 1


def test_a_confirmation_of_a_forgotten_shipment_is_kept_and_harms_nothing(
    bench: CoreBench,
) -> None:
    read = e.NoticeConfirmed("DB2026NOBODY-1", Token(1, 1), "remark", "12")
    assert list(bench.report("hz-a", ("notice.confirmed", read)).rej) == []
    assert bench.rows("SELECT kind FROM incident") == []
    assert confirmed(bench) == []
