"""A person brings goods, warehouses and carriers in a spreadsheet and reads the report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

import virtual_warehouse
from cloud_core.channels.spreadsheet import read_sheet
from cloud_core.domain import master_data as md
from cloud_core.domain.master_fields import PROVINCES
from cloud_core.domain.master_kinds import KINDS
from cloud_core.domain.master_tables import TableRead, read_mapping, read_table
from cloud_core.store.divisions import load_divisions
from protocols.errors import Rejected
from virtual_warehouse import orders as made_up

SAMPLES = Path(virtual_warehouse.__path__[0], "samples")


def read(kind: str, *rows: Sequence[str], as_xlsx: bool = False) -> TableRead:
    raw = made_up.as_xlsx(rows) if as_xlsx else made_up.as_csv(rows)
    return read_table(kind, read_sheet(raw, "a.xlsx" if as_xlsx else "a.csv"))


@pytest.mark.parametrize("as_xlsx", [False, True])
def test_goods_with_several_barcodes_and_empty_cells(as_xlsx: bool) -> None:
    done = read(
        "skus",
        ("商品编码", "商品名称", "条码", "重量(克)", "体积(立方厘米)", "类目", "序列号管理"),
        ("SKU-1", "演示毛巾", "2000000000015|2000000010014", "350", "900", "家纺", "否"),
        ("SKU-2", "演示音箱", "", "", "", "", "是"),
        as_xlsx=as_xlsx,
    )
    assert done.problems == ()
    assert done.row_numbers == (2, 3)
    assert done.values == (
        md.Sku("SKU-1", "演示毛巾", ("2000000000015", "2000000010014"), 350, 900, "家纺", False),
        md.Sku("SKU-2", "演示音箱", serial=True),
    )


def test_english_headers_and_our_own_field_names() -> None:
    done = read("skus", ("ID", "Name", "Barcode", "weight_g"), ("A", "Towel", "2000000000015", "1"))
    assert done.values == (md.Sku("A", "Towel", ("2000000000015",), 1),)


def test_a_warehouse_gets_its_wire_id_from_its_code() -> None:
    done = read(
        "warehouses", ("仓库编码", "仓库名称", "作业时间"), ("HZ01", "华东仓", "9:00~18:00")
    )
    assert done.values == (md.Warehouse("HZ01", "hz01", "华东仓", hours="09:00-18:00"),)


def test_transit_days_by_a_provinces_name_short_name_or_code() -> None:
    header = ("快递编码", "仓库编码", "省份", "天数")
    rows = [("C", "W", province, "4") for province in ("新疆", "西藏自治区", "440000")]
    found = [v.province for v in read("transit_days", header, *rows).values
             if isinstance(v, md.TransitDays)]  # fmt: skip
    assert found == ["650000", "540000", "440000"]


def test_the_short_province_table_agrees_with_the_official_list() -> None:
    index = load_divisions()
    for name, code in PROVINCES.items():
        division = index.division(code)
        assert division is not None
        assert division.province.startswith(name)


BAD_CELLS = [
    ("skus", "商品编码", "", "cell_missing"),
    ("skus", "商品编码", "有 空格", "code_invalid"),
    ("skus", "商品编码", "S" * 65, "code_invalid"),
    ("skus", "商品名称", "", "cell_missing"),
    ("skus", "商品名称", "=HYPERLINK(1)", "formula_cell"),
    ("skus", "商品名称", "名" * 201, "text_too_long"),
    ("skus", "商品名称", "名" * 1001, "cell_too_long"),
    ("skus", "条码", "2.00E+12", "barcode_invalid"),
    ("skus", "条码", "条码", "barcode_invalid"),
    ("skus", "条码", "|".join(map(str, range(21))), "barcodes_too_many"),
    ("skus", "重量(克)", "-1", "number_range"),
    ("skus", "重量(克)", "一", "number_broken"),
    ("skus", "重量(克)", "1.5", "number_broken"),
    ("skus", "重量(克)", "9" * 40, "number_broken"),
    ("skus", "序列号管理", "也许", "yes_no_broken"),
    ("shelf_locations", "库位", "", "cell_missing"),
    ("warehouses", "作业时间", "全天", "hours_invalid"),
    ("warehouses", "作业时间", "25:00-26:00", "hours_invalid"),
    ("warehouses", "发货电话", "12", "phone_invalid"),
    ("warehouses", "打印时机", "later", "word_unknown"),
    ("warehouses", "优先级", "10001", "number_range"),
    ("agents", "代理编码", "HZ01-A", "wire_id_invalid"),
    ("agents", "代理编码", "core", "wire_id_invalid"),
    ("agents", "代理编码", "a/b", "wire_id_invalid"),
    ("stations", "所属代理", "", "cell_missing"),
    ("carriers", "单号规则", "(a+)+$", "pattern_invalid"),
    ("carriers", "单号规则", ".*", "pattern_invalid"),
    ("carriers", "单号规则", "[9-0]{2}", "pattern_invalid"),
    ("carriers", "默认时效(天)", "61", "number_range"),
    ("transit_days", "省份", "火星", "province_unknown"),
    ("skus", "标签", "长" * 65, "tag_invalid"),
    ("warehouses", "截单时间", "下午", "cut_off_invalid"),
    ("warehouses", "截单时间", "24:00", "cut_off_invalid"),
    ("warehouses", "日产能", "-1", "number_range"),
    ("warehouses", "发货地区", "浙江|火星", "region_unknown"),
    ("carrier_service", "地区", "99", "region_unknown"),
    ("carrier_service", "天数", "61", "number_range"),
    ("carrier_service", "是否送达", "也许", "yes_no_broken"),
    ("freight", "首重价(元)", "8.555", "number_broken"),
    ("freight", "首重价(元)", "-1", "number_broken"),
    ("freight", "首重(kg)", "0", "number_range"),
    ("freight", "续重(kg)", "1.2345", "number_broken"),
    ("freight", "续重价(元)", "", "cell_missing"),
    ("freight", "地区", "火星", "region_unknown"),
    ("opening_stock", "数量", "-5", "number_range"),
    ("opening_stock", "数量", "", "cell_missing"),
    ("waybill_numbers", "运单号", "YS 1", "waybill_invalid"),
    ("waybill_numbers", "运单号", "Y" * 41, "waybill_invalid"),
]
GOOD_ROWS = {
    "skus": {"商品编码": "A", "商品名称": "演示", "条码": "1", "重量(克)": "1", "序列号管理": "否",
             "标签": "易碎"},
    "shelf_locations": {"仓库编码": "W", "商品编码": "A", "库位": "A-01"},
    "warehouses": {"仓库编码": "W", "仓库名称": "样例仓", "作业时间": "08:00-20:00",
                   "发货电话": "10000008001", "打印时机": "pack", "优先级": "1",
                   "日产能": "300", "截单时间": "16:00", "发货地区": "浙江|31"},
    "agents": {"代理编码": "w-a", "仓库编码": "W"},
    "stations": {"工位编码": "w-a-1", "所属代理": "w-a"},
    "carriers": {"快递编码": "C", "快递名称": "样例", "单号规则": r"YS\d{12}", "默认时效(天)": "2"},
    "transit_days": {"快递编码": "C", "仓库编码": "W", "省份": "浙江", "天数": "1"},
    "carrier_service": {"快递编码": "C", "仓库编码": "W", "地区": "新疆", "是否送达": "是",
                        "天数": "6"},
    "freight": {"快递编码": "C", "仓库编码": "W", "地区": "全国", "首重(kg)": "1",
                "首重价(元)": "8.5", "续重(kg)": "0.5", "续重价(元)": "2"},
    "opening_stock": {"仓库编码": "W", "商品编码": "A", "数量": "5"},
    "waybill_numbers": {"快递编码": "C", "运单号": "YS000000000001"},
}  # fmt: skip
KEYS = {
    "skus": "商品编码", "shelf_locations": "商品编码", "warehouses": "仓库编码",
    "agents": "代理编码", "stations": "工位编码", "carriers": "快递编码",
    "transit_days": "快递编码", "carrier_service": "快递编码", "freight": "快递编码",
    "opening_stock": "商品编码", "waybill_numbers": "运单号",
}  # fmt: skip


def another(kind: str, number: int) -> dict[str, str]:
    """A good row about another thing than every other number's."""
    row = {**GOOD_ROWS[kind], KEYS[kind]: f"{GOOD_ROWS[kind][KEYS[kind]]}{number}"}
    if "条码" in row:
        row["条码"] = str(number)
    return row


@pytest.mark.parametrize(("kind", "header", "cell", "code"), BAD_CELLS)
def test_a_bad_cell_names_row_and_column_and_its_neighbours_go_through(
    kind: str, header: str, cell: str, code: str
) -> None:
    bad = {**another(kind, 1), header: cell}
    rows = [another(kind, 2), bad, another(kind, 3)]
    done = read(kind, list(bad), *(list(row.values()) for row in rows))
    assert len(done.values) == 2
    (problem,) = done.problems
    assert (problem.position, problem.code, problem.field) == (3, code, header)
    assert problem.message_zh


def test_two_rows_about_the_same_thing() -> None:
    good = list(GOOD_ROWS["opening_stock"].values())
    done = read("opening_stock", list(GOOD_ROWS["opening_stock"]), good, good)
    assert len(done.values) == 1
    assert [(p.position, p.code) for p in done.problems] == [(3, "duplicate_row")]


def test_a_barcode_belongs_to_one_sku() -> None:
    done = read("skus", ("商品编码", "商品名称", "条码"), ("A", "甲", "1;2"), ("B", "乙", "2"))
    assert [v.id for v in done.values if isinstance(v, md.Sku)] == ["A"]
    assert [(p.position, p.code, p.field) for p in done.problems] == [
        (3, "duplicate_barcode", "条码")
    ]


@pytest.mark.parametrize(
    ("kind", "header", "code", "field"),
    [
        ("skus", ("商品编码", "商品名称", "神秘列"), "header_unknown", "神秘列"),
        ("skus", ("商品编码", "SKU", "商品名称"), "header_twice", "SKU"),
        ("skus", ("商品编码", "条码"), "column_missing", "商品名称"),
        ("skus", ("甲", "乙"), "header_missing", "row 1"),
        ("nonsense", ("甲", "乙"), "kind_unknown", "kind"),
    ],
)
def test_a_table_without_the_right_columns_is_refused(
    kind: str, header: tuple[str, ...], code: str, field: str
) -> None:
    with pytest.raises(Rejected) as refused:
        read(kind, header, ("A", "B"))
    assert (refused.value.code, refused.value.field) == (code, field)


def test_one_value_through_the_rest_door() -> None:
    value = read_mapping("skus", {"id": "A", "name": "演示", "barcodes": "1,2", "serial": "1"})
    assert value == md.Sku("A", "演示", ("1", "2"), serial=True)
    with pytest.raises(Rejected, match="cell_missing") as refused:
        read_mapping("skus", {"id": "A"})
    assert refused.value.field == "name"
    with pytest.raises(Rejected, match="field_unknown"):
        read_mapping("skus", {"id": "A", "name": "x", "colour": "red"})


def samples(kind: str) -> TableRead:
    name = f"{kind}.csv"
    return read_table(kind, read_sheet(SAMPLES.joinpath(name).read_bytes(), name))


def test_the_samples_are_whole_and_fit_together() -> None:
    read_all = {kind: samples(kind) for kind in KINDS if kind != "waybill_numbers"}
    assert all(done.problems == () for done in read_all.values())
    ids = {kind: {getattr(v, "id", "") for v in done.values} for kind, done in read_all.items()}
    assert len(ids["skus"]) == 20
    assert ids["skus"] == set(made_up.SKUS)
    assert ids["warehouses"] == {"HZ01", "SZ01"}
    assert ids["agents"] == {"hz01-a", "sz01-a"}
    index = load_divisions()
    for done in read_all.values():
        for value in done.values:
            assert (getattr(value, "warehouse", "") or "HZ01") in ids["warehouses"]
            assert getattr(value, "sku", "SKU-001") in ids["skus"]
            assert (getattr(value, "carrier", "") or "YANSHI") in ids["carriers"]
            assert getattr(value, "agent", "hz01-a") in ids["agents"]
            if isinstance(value, md.Warehouse):
                assert index.division(value.division)


def test_a_generated_pool_is_read_back_and_fits_its_carrier() -> None:
    pool = [("YANSHI", number) for number in made_up.make_waybills("YS", 500)]
    done = read("waybill_numbers", ("快递编码", "运单号"), *pool)
    assert (len(done.values), done.problems) == (500, ())
    carrier = next(v for v in samples("carriers").values if isinstance(v, md.Carrier))
    assert all(re.fullmatch(carrier.pattern, getattr(v, "number", "")) for v in done.values)


def test_made_up_orders_are_the_same_for_the_same_seed() -> None:
    assert made_up.make_orders(50, 3) == made_up.make_orders(50, 3)
    assert made_up.make_orders(50, 3) != made_up.make_orders(50, 4)
    assert len({order["native_id"] for order in made_up.make_orders(500, 3)}) == 500


def test_weights_and_money_are_read_in_the_unit_the_header_says() -> None:
    kilograms = read("freight", ("快递编码", "首重(kg)", "首重价(元)", "续重(kg)", "续重价(元)"),
                     ("C", "1", "8.5", "0.5", "2.05"))  # fmt: skip
    grams = read("freight", ("carrier", "first_g", "first_fen", "step_g", "step_fen"),
                 ("C", "1000", "850", "500", "205"))  # fmt: skip
    band = md.FreightBand("C", "", "", 0, 0, 1000, 850, 500, 205)
    assert kilograms.values == grams.values == (band,)


def test_regions_are_division_prefixes_each_once() -> None:
    header = ("仓库编码", "仓库名称", "发货地区", "截单时间")
    rows = (("W", "样例仓", "浙江、310000 3301，浙江省", "9:30"), ("V", "样例仓", "全国", ""))
    found = [(v.regions, v.cut_off) for v in read("warehouses", header, *rows).values
             if isinstance(v, md.Warehouse)]  # fmt: skip
    assert found == [("31|33|3301", "09:30"), ("", "")]
