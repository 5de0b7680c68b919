"""Master data through the REST door: dry run, report by row, references, repeats."""

from __future__ import annotations

import pytest

from cloud_core.store import schema as t
from tests.support.http_core import HttpCore

SKUS = [
    {"id": "SKU-101", "name": "演示雨伞", "barcodes": ["6900000001017", "RAIN-1"], "weight_g": 300},
    {"id": "SKU-102", "name": "演示手套", "serial": True},
]


async def send(core: HttpCore, kind: str, rows: object, **params: object) -> dict[str, object]:
    answer = await core.client.post(
        f"/v1/master/{kind}", json=rows, params=params, headers=core.key("write")
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_dry_run_tells_and_changes_nothing_then_it_is_done(core: HttpCore) -> None:
    before = len(core.rows(t.sku))
    dry = await send(core, "skus", SKUS, dry_run=True)
    assert (dry["created"], dry["dry_run"]) == (2, True)
    assert len(core.rows(t.sku)) == before
    assert (await send(core, "skus", SKUS))["created"] == 2
    assert (await send(core, "skus", SKUS))["same"] == 2
    changed = await send(core, "skus", [{**SKUS[0], "barcodes": ["6900000001024"]}])
    assert changed["changed"] == 1
    listed = await core.client.get("/v1/master/skus?limit=200", headers=core.key())
    row = next(row for row in listed.json()["items"] if row["id"] == "SKU-101")
    assert row["barcodes"] == ["6900000001024"]


async def test_bad_rows_are_named_and_good_ones_stored(core: HttpCore) -> None:
    await send(core, "skus", SKUS)
    report = await send(
        core, "skus",
        [
            {"id": "SKU-103", "name": "演示围巾", "barcodes": ["RAIN-1"]},
            {"id": "SKU-104"},
            {"id": "SKU-105", "name": "演示袜子", "weight_g": -1},
            {"id": "SKU-106", "name": "演示帽子", "colour": "红"},
            {"id": "SKU-107", "name": "演示皮带"},
        ],
    )  # fmt: skip
    assert (report["created"], report["refused"]) == (1, 4)
    problems = [(row["position"], row["code"], row["field"]) for row in report["problems"]]  # type: ignore[attr-defined]
    assert problems[0] == (0, "barcode_taken", "barcodes")
    assert [position for position, _, _ in problems] == [0, 1, 2, 3]
    assert problems[3][1:] == ("field_unknown", "colour")


async def test_references_must_exist(core: HttpCore) -> None:
    for kind, row, code in (
        ("agents", {"id": "sz-a", "warehouse": "NOPE"}, "warehouse_unknown"),
        ("stations", {"id": "s1", "agent": "nope"}, "agent_unknown"),
        ("stock", {"warehouse": "HZ", "sku": "NOPE", "quantity": 3}, "sku_unknown"),
        ("shelf-locations", {"warehouse": "HZ", "sku": "NOPE", "location": "A"}, "sku_unknown"),
        ("waybills", {"carrier": "NOPE", "number": "AB12345678"}, "carrier_unknown"),
        ("waybills", {"carrier": "YS", "number": "AB1"}, "waybill_shape"),
        ("transit-days", {"carrier": "NOPE", "warehouse": "HZ", "province": "浙江", "days": 2},
         "carrier_unknown"),
        ("warehouses", {"id": "HZ2", "site": "hz", "name": "二号仓"}, "site_taken"),
    ):  # fmt: skip
        report = await send(core, kind, [row])
        assert [p["code"] for p in report["problems"]] == [code], (kind, report)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"warehouse": "NOPE"}, "warehouse_unknown", "warehouse"),
        ({"sku": "NOPE"}, "sku_unknown", "sku"),
        ({"quantity": -1}, "number_range", "quantity"),
        ({"quantity": 10**9}, "number_range", "quantity"),
        ({"quantity": 10**30}, "number_broken", "quantity"),
        ({"quantity": "many"}, "number_broken", "quantity"),
        ({"safety": -1}, "number_range", "safety"),
    ],
)
async def test_an_impossible_count_names_its_field_and_the_next_row_goes_through(
    core: HttpCore, changed: dict[str, object], code: str, field: str
) -> None:
    good = {"warehouse": "HZ", "sku": "SKU-001", "quantity": 40}
    report = await send(core, "stock", [{**good, **changed}, {**good, "sku": "SKU-002"}])
    found = [(row["position"], row["code"], row["field"]) for row in report["problems"]]  # type: ignore[attr-defined]
    assert found == [(0, code, field)]
    assert [row["shelf"] for row in core.rows(t.stock)] == [100_000, 40]


async def test_stock_counts_are_movements_and_repeat_without_effect(core: HttpCore) -> None:
    rows = [{"warehouse": "HZ", "sku": "SKU-001", "quantity": 40, "safety": 2}]
    assert (await send(core, "stock", rows))["changed"] == 1
    assert (await send(core, "stock", rows))["same"] == 1
    row = next(row for row in core.rows(t.stock) if row["sku"] == "SKU-001")
    assert (row["shelf"], row["safety"]) == (40, 2)
    moved = [(m["d_shelf"], m["reason"]) for m in core.rows(t.movement) if m["sku"] == "SKU-001"]
    assert moved.count((40 - 100_000, "opening")) == 1


async def test_a_number_is_never_filled_twice_or_set_free_again(core: HttpCore) -> None:
    numbers = [{"carrier": "YS", "number": f"YS{n:010d}"} for n in range(3)]
    assert (await send(core, "waybills", numbers))["created"] == 3
    with core.wired.engine.begin() as connection:
        connection.execute(t.waybill.update().values(state="void"))
    assert (await send(core, "waybills", numbers))["same"] == 3
    assert {row["state"] for row in core.rows(t.waybill)} == {"void"}


async def test_a_spreadsheet_with_formulas_and_gaps(core: HttpCore) -> None:
    text = (
        "商品编码,商品名称,条码\nSKU-201,演示一号,690000000201\nSKU-202,=HYPERLINK(1),\n,无编码,\n"
    )
    answer = await core.client.post(
        "/v1/master/skus", files={"file": ("skus.csv", text.encode())}, headers=core.key("write")
    )
    report = answer.json()
    assert (report["created"], report["refused"]) == (1, 2)
    assert [row["position"] for row in report["problems"]] == [3, 4]


async def test_the_door_refuses_by_code(core: HttpCore) -> None:
    key = core.key("write")
    for answer, status, code in (
        (await core.client.post("/v1/master/ghosts", json=[], headers=key), 404,
         "kind_unknown_master"),
        (await core.client.post("/v1/master/skus", json={"id": 1}, headers=key), 422,
         "request_invalid"),
        (await core.client.post("/v1/master/skus", content=b"[{", headers={
            **key, "content-type": "application/json"}), 422, "json_broken"),
        (await core.client.post("/v1/master/skus", json=[], headers=core.key("read")), 403,
         "scope_needed"),
        (await core.client.get("/v1/master/ghosts", headers=key), 404, "kind_unknown_master"),
    ):  # fmt: skip
        assert answer.json()["code"] == code, answer.text
        assert answer.status_code in (status, 400)


async def test_new_master_data_is_used_at_once(core: HttpCore) -> None:
    """An order for a SKU that was imported a moment ago is routed, not quarantined."""
    from tests.support.http_core import events, order_event, until

    await send(core, "skus", SKUS)
    await send(core, "stock", [{"warehouse": "HZ", "sku": "SKU-101", "quantity": 4}])
    await core.push(events(order_event("S-1", lines=[{"sku": "SKU-101", "quantity": 1}])))
    (shipment,) = await until(lambda: core.rows(t.shipment))
    assert shipment["state"] == "offered"


async def test_every_kind_can_be_listed_in_pages(core: HttpCore) -> None:
    for kind in ("skus", "shelf-locations", "warehouses", "agents", "stations", "carriers",
                 "transit-days", "carrier-service", "freight", "stock", "waybills"):  # fmt: skip
        answer = await core.client.get(f"/v1/master/{kind}", headers=core.key())
        assert answer.status_code == 200, kind
    first = (await core.client.get("/v1/master/skus?limit=1", headers=core.key())).json()
    second = (
        await core.client.get(
            "/v1/master/skus", params={"limit": 1, "cursor": first["next"]}, headers=core.key()
        )
    ).json()
    assert [first["items"][0]["id"], second["items"][0]["id"]] == ["SKU-001", "SKU-002"]


async def test_two_objects_about_the_same_thing_are_named_not_a_failure_of_ours(
    core: HttpCore,
) -> None:
    report = await send(
        core, "skus",
        [
            {"id": "SKU-201", "name": "演示雨衣", "barcodes": ["COAT-1"]},
            {"id": "SKU-201", "name": "演示雨衣二"},
            {"id": "SKU-202", "name": "演示雨靴", "barcodes": ["COAT-1"]},
        ],
    )  # fmt: skip
    found = [(row["position"], row["code"], row["field"]) for row in report["problems"]]  # type: ignore[attr-defined]
    assert found == [(1, "duplicate_row", "id"), (2, "duplicate_barcode", "barcodes")]
    assert report["created"] == 1
