"""What the buyer's timeline says while benches work: every step once, none of a bench that lost it.

Nothing is put into the tables by hand: the page is drawn after the events of real benches.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import commands as c
from cloud_core.store import schema as t
from protocols import events as e
from protocols.commands import OfferLine
from protocols.messages import Token
from tests.support.core import FloorAgent
from tests.support.http_core import NOW_MS, HttpCore, events, order_event, until
from tests.support.ledger import write_openings

ORDERED = ["订单已付款", "订单已提交"]
TAKEN, PICKING = "仓库已接单，开始备货", "仓库正在拣货"
PACKED, LEFT = "仓库已打包", "包裹已交给快递公司"
MOVED, MOVED_ADDRESS = "正在为您重新安排发货", "收货地址已更改，正在重新安排发货"
LINES = [OfferLine("SKU-001", 2)]


class Street:
    """A core with two warehouses, and one paid order that the first of them is offered."""

    def __init__(self, core: HttpCore) -> None:
        self.core = core
        self.benches = {
            "hz-a": FloorAgent("hz-a", "hz"),
            "sz-a": FloorAgent("sz-a", "sz", epoch="00000000000000bb"),
        }

    async def sell(self) -> None:
        await self.hear()
        assert (await self.core.push(events(order_event("SHOP-1")))).status_code == 202
        await until(lambda: self.core.rows(t.shipment))
        assert self.shipment["agent"] == "hz-a"

    async def hear(self) -> None:
        """Both benches are there."""
        for name, bench in self.benches.items():
            await self.core.wired.committer.submit(c.GreetAgent(bench.site, name, bench.hello()))

    @property
    def shipment(self) -> dict[str, Any]:
        (row,) = self.core.rows(t.shipment)
        return row

    async def report(self, name: str, kind: str, body: Any) -> None:
        """A little later a bench says something; its line says it twice."""
        self.core.clock.advance(20)
        await self.hear()
        bench = self.benches[name]
        batch = bench.batch([bench.event(kind, body, self.core.clock.ms)])
        await self.core.wired.committer.submit(batch)
        await self.core.wired.committer.submit(batch)

    async def work(self, *kinds: str) -> None:
        """The owner's bench does these under its token."""
        row = self.shipment
        token, names = Token(row["token_epoch"], row["token_n"]), (row["order_id"], "demo-shop")
        bodies = {
            "offer.accepted": e.OfferAccepted(row["id"], token, *names, "SHOP-1", LINES),
            "task.started": e.TaskStarted(row["id"], token),
            "item.picked": e.ItemPicked(row["id"], token, "SKU-001", 1),
            "parcel.packed": e.ParcelPacked(row["id"], token, row["waybill"]),
            "parcel.handed_over": e.ParcelHandedOver(
                row["id"], token, row["waybill"], *names, "SHOP-1", LINES
            ),
        }
        for kind in kinds:
            await self.report(row["agent"], kind, bodies[kind])

    async def timeline(self) -> tuple[str, list[str]]:
        """The headline, and the steps from the newest to the oldest."""
        (order,) = self.core.rows(t.orders)
        page = await self.core.client.get(f"/t/{order['track_token']}")
        assert page.status_code == 200
        (headline,) = re.findall(r"<h1[^>]*>(.*?)</h1>", page.text, re.DOTALL)
        steps = re.findall(r"</time><p>(.*?)</p>", page.text)
        return unescape(headline).strip(), [unescape(step).strip() for step in steps]


@pytest.fixture
async def street(tmp_path: Path, database: str) -> AsyncIterator[Street]:
    core = HttpCore(tmp_path)
    core.fill()
    core.insert(t.warehouse, {"id": "SZ", "site": "sz", "name": "深圳仓", "carrier": "YS",
                              "priority": 900})  # fmt: skip
    core.insert(t.agent, {"id": "sz-a", "warehouse": "SZ"})
    core.insert(t.agent_state, {"agent": "sz-a", "online": 1, "seen_ms": NOW_MS})
    core.insert(t.stock, {"warehouse": "SZ", "sku": "SKU-001", "shelf": 100})
    core.insert(t.waybill, *({"number": f"YS000000000{n}", "carrier": "YS", "state": "free"}
                             for n in (1, 2)))  # fmt: skip
    write_openings(core.wired.engine)
    core.add_channel()
    async with core.started():
        found = Street(core)
        await found.sell()
        yield found


async def test_from_offer_to_hand_over_every_step_stands_there_once(street: Street) -> None:
    assert await street.timeline() == ("仓库准备中", ORDERED)
    shown = ORDERED
    for done, headline, step in (
        (("offer.accepted",), "仓库已接单", TAKEN),
        (("task.started", "item.picked", "item.picked"), "正在拣货", PICKING),
        (("parcel.packed", "parcel.packed"), "已打包，等待揽收", PACKED),
        (("parcel.handed_over", "parcel.handed_over"), "包裹已发出", LEFT),
    ):
        await street.work(*done)
        shown = [step, *shown]
        assert await street.timeline() == (headline, shown)


async def test_a_bench_that_only_picks_has_begun_all_the_same(street: Street) -> None:
    await street.work("offer.accepted", "item.picked")
    assert (await street.timeline())[1] == [PICKING, TAKEN, *ORDERED]


async def test_a_parcel_that_moves_to_another_warehouse_starts_again(street: Street) -> None:
    await street.work("offer.accepted", "task.started", "parcel.packed")
    old = street.shipment
    done = await street.core.client.post(
        f"/v1/shipments/{old['id']}/take-back", json={"reason": "仓库停电"},
        headers=street.core.key("write"),
    )  # fmt: skip
    assert (done.status_code, street.shipment["agent"]) == (200, "sz-a"), done.text
    moved = [MOVED, *ORDERED]
    assert await street.timeline() == ("仓库准备中", moved)
    under_old = Token(old["token_epoch"], old["token_n"])
    await street.report("hz-a", "parcel.packed",
                        e.ParcelPacked(old["id"], under_old, old["waybill"]))  # fmt: skip
    assert await street.timeline() == ("仓库准备中", moved), "that box goes nowhere"
    await street.work("offer.accepted")
    assert await street.timeline() == ("仓库已接单", [TAKEN, *moved])
    await street.work("parcel.packed")
    assert (await street.timeline())[1] == [PACKED, TAKEN, *moved], "the first bench's pick is past"
    await street.work("parcel.handed_over")
    assert await street.timeline() == ("包裹已发出", [LEFT, PACKED, TAKEN, *moved])


async def test_a_changed_address_at_the_bench_says_why_it_starts_again(street: Street) -> None:
    await street.work("offer.accepted", "item.picked", "item.picked")
    old = street.shipment
    place = {"name": "测试乙", "phone": "10000000002", "province": "浙江省", "city": "杭州市",
             "district": "西湖区", "detail": "演示路 9 号"}  # fmt: skip
    asked = await street.core.client.post(
        f"/v1/orders/{old['order_id']}/address", json={"receiver": place, "reason": "搬家"},
        headers=street.core.key("write") | {"idempotency-key": "k1"},
    )  # fmt: skip
    assert asked.status_code in (200, 202), asked.text
    assert (await street.timeline())[1] == [PICKING, TAKEN, *ORDERED]
    fence = Token(old["token_epoch"], old["token_n"] + 1)
    back = e.TaskStopped(old["id"], Token(old["token_epoch"], old["token_n"]), fence,
                         [e.PutBack("SKU-001", 2)], "pulled", "w1")  # fmt: skip
    await street.report("hz-a", "task.stopped", back)
    assert (await street.timeline())[1] == [MOVED_ADDRESS, *ORDERED]
    await street.work("offer.accepted", "task.started")
    assert (await street.timeline())[1] == [PICKING, TAKEN, MOVED_ADDRESS, *ORDERED]
