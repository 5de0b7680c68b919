"""Price lists and service areas through the REST door: whole or not at all, and by row."""

from __future__ import annotations

from typing import Any

from cloud_core.store import schema as t
from cloud_core.store.snapshot import load_master
from tests.support.http_core import HttpCore


async def send(core: HttpCore, kind: str, rows: object, **params: object) -> dict[str, Any]:
    answer = await core.client.post(
        f"/v1/master/{kind}", json=rows, params=params, headers=core.key("write")
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def row(region: str = "*", **values: object) -> dict[str, object]:
    return {"carrier": "YS", "warehouse": "HZ", "region": region, "first_g": 1000,
            "first_fen": 800, "step_g": 1000, "step_fen": 200, **values}  # fmt: skip


async def test_a_table_with_holes_or_overlaps_is_refused_by_row(core: HttpCore) -> None:
    report = await send(core, "freight", [
        row(), row("浙江", up_to_g=3000), row("浙江", from_g=4000), row("江苏", carrier="NOPE"),
    ])  # fmt: skip
    found = [(p["position"], p["code"], p["field"]) for p in report["problems"]]
    assert found == [
        (1, "freight_region_refused", "region"), (2, "freight_hole", "from_g"),
        (3, "carrier_unknown", "carrier"),
    ]  # fmt: skip
    assert [(r["region"], r["first_fen"]) for r in core.rows(t.freight)] == [("", 800)]


async def test_a_list_without_every_served_province_is_refused(core: HttpCore) -> None:
    report = await send(core, "freight", [row("浙江")])
    assert [p["code"] for p in report["problems"]] == ["freight_region_hole"]
    await send(core, "carrier-service", [{"carrier": "YS", "region": "浙江"}])
    assert (await send(core, "freight", [row("浙江")]))["created"] == 1


async def test_the_bands_of_a_region_come_as_a_whole(core: HttpCore) -> None:
    await send(core, "freight", [row(up_to_g=3000), row(from_g=3000), row("浙江")])
    same = await send(core, "freight", [row(up_to_g=3000), row(from_g=3000)])
    assert (same["same"], same["refused"]) == (2, 0)
    dry = await send(core, "freight", [row()], dry_run=True)
    assert (dry["changed"], len(core.rows(t.freight))) == (1, 3)
    assert (await send(core, "freight", [row()]))["changed"] == 1
    found = [(r["region"], r["from_g"], r["up_to_g"]) for r in core.rows(t.freight)]
    assert sorted(found) == [("", 0, 0), ("33", 0, 0)]


async def test_the_snapshot_knows_them(core: HttpCore) -> None:
    await send(core, "carrier-service", [
        {"carrier": "YS", "warehouse": "HZ", "region": "653100", "served": False},
        {"carrier": "YS", "region": "全国", "days": 3},
    ])  # fmt: skip
    await send(core, "freight", [row()])
    await send(core, "warehouses", [{
        "id": "HZ", "site": "hz", "name": "样例仓", "carrier": "YS", "capacity_per_day": 50,
        "cut_off": "16:00", "regions": ["浙江", "31"],
    }])  # fmt: skip
    await send(core, "skus", [{"id": "SKU-301", "name": "演示杯", "category": "杯",
                               "tags": ["易碎", "礼盒"]}])  # fmt: skip
    with core.wired.engine.connect() as connection:
        master = load_master(connection, 1)
    assert [(s.carrier, s.warehouse, s.region, s.served, s.days) for s in master.services] == [
        ("YS", "", "", True, 3), ("YS", "HZ", "6531", False, -1),
    ]  # fmt: skip
    assert [(b.warehouse, b.first_fen) for b in master.freight] == [("HZ", 800)]
    hz = master.warehouses["HZ"]
    assert (hz.capacity_per_day, hz.cut_off, hz.regions) == (50, "16:00", ("31", "33"))
    assert (master.skus["SKU-301"].category, master.skus["SKU-301"].tags) == (
        "杯",
        ("易碎", "礼盒"),
    )
