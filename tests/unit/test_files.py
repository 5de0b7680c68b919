"""People hand in order files as spreadsheets leave them; every row gets an answer."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

import pytest

from cloud_core.channels.generic import GenericDialect
from cloud_core.channels.spreadsheet import read_order_file, read_sheet
from cloud_core.domain.shop_order import Parsed, ShopEventKind
from cloud_core.ports import ChannelConfig
from protocols.errors import Rejected
from tests.support.shops import GENERIC, NOW_MS, matcher
from virtual_warehouse import orders as made_up

HEADER = ("单号", "收货人", "手机号", "地址", "SKU", "数量", "金额", "付款时间", "备注")
GOOD = ("S-1", "测试甲", "10000000001", "浙江省杭州市余杭区演示路1号", "SKU-001", "2", "39.80",
        "2026-11-21 10:00:00", "")  # fmt: skip
ORDERS = made_up.make_orders(20, 11)


def read(raw: bytes, name: str = "orders.csv", **columns: str) -> Parsed:
    config = ChannelConfig("own-shop", "spreadsheet", columns=columns)
    return read_order_file(raw, name, config, NOW_MS, matcher().match)


def csv_of(*rows: Sequence[str], header: Sequence[str] = HEADER, encoding: str = "utf-8") -> bytes:
    return made_up.as_csv([header, *rows], encoding)


def row(**changes: str) -> tuple[str, ...]:
    """The good row with some columns replaced, by header."""
    cells = dict(zip(HEADER, GOOD, strict=True))
    cells.update(changes)
    return tuple(cells[header] for header in HEADER)


def refusal(raw: bytes, name: str = "orders.csv", **columns: str) -> tuple[str, str]:
    with pytest.raises(Rejected) as refused:
        read(raw, name, **columns)
    assert refused.value.zh
    return refused.value.code, refused.value.field


# --- what goes through ---------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_csv_in_any_usual_encoding_is_the_same_order(encoding: str) -> None:
    parsed = read(csv_of(GOOD, encoding=encoding))
    assert parsed.problems == ()
    (order,) = parsed.events
    assert order.native_id == "S-1"
    assert order.kind is ShopEventKind.PAID
    assert order.amount_fen == 3980
    assert order.paid_at_ms == NOW_MS, "without a zone the time is China's"
    assert order.receiver is not None
    assert order.receiver.detail == "演示路1号"
    assert order.division is not None
    assert order.division.district_code == "330110"


def test_the_same_orders_by_webhook_by_csv_and_by_xlsx_are_the_same_orders() -> None:
    webhook = GenericDialect().parse(made_up.generic_body(ORDERS), GENERIC, NOW_MS, matcher().match)
    rows = made_up.file_rows(ORDERS)
    for raw, name in ((made_up.as_csv(rows), "a.csv"), (made_up.as_xlsx(rows), "a.xlsx")):
        from_file = read(raw, name)
        assert from_file.problems == ()
        for theirs, ours in zip(from_file.events, webhook.events, strict=True):
            assert theirs.channel == ours.channel
            assert theirs.native_id == ours.native_id
            assert theirs.paid_at_ms == ours.paid_at_ms
            assert theirs.amount_fen == ours.amount_fen
            assert theirs.receiver == ours.receiver
            assert theirs.division == ours.division
            assert theirs.lines == ours.lines


def test_uploading_a_file_again_has_the_same_keys_and_a_changed_row_another() -> None:
    keys = [e.dedupe_key for e in read(made_up.as_csv(made_up.file_rows(ORDERS))).events]
    again = [
        e.dedupe_key for e in read(made_up.as_xlsx(made_up.file_rows(ORDERS)), "x.xlsx").events
    ]
    assert again == keys
    assert len(set(keys)) == len(ORDERS)
    changed = read(csv_of(row(数量="3"))).events[0].dedupe_key
    assert changed != read(csv_of(GOOD)).events[0].dedupe_key


def test_rows_of_one_order_become_its_lines() -> None:
    parsed = read(csv_of(GOOD, row(SKU="SKU-002", 数量="1"), row(单号="S-2")))
    assert [(e.native_id, len(e.lines)) for e in parsed.events] == [("S-1", 2), ("S-2", 1)]
    assert [line.line_no for line in parsed.events[0].lines] == [1, 2]


def test_words_of_other_shops_and_titles_above_the_header_are_understood() -> None:
    header = (
        "订单编号",
        "买家昵称",
        "收件人手机",
        "收货省",
        "城市",
        "区县",
        "详细地址",
        "商家编码",
        "件数",
    )
    raw = made_up.as_csv(
        [
            ("# 每日订单导出",),
            ("-----",),
            ("门店：样例店", "2026-11-21"),
            header,
            ("P-1", "演示乙", "10000000002", "广东", "深圳", "南山", "样例街2号", "SKU-002", "1"),
        ]
    )
    (order,) = read(raw).events
    assert order.division is not None
    assert order.division.district_code == "440305"
    assert order.paid_at_ms == NOW_MS, "a hand-made order counts as paid when it is handed in"


def test_a_channels_own_mapping_comes_first_and_can_ignore_columns() -> None:
    header = (*HEADER, "店铺客服", "内部编号")
    raw = csv_of((*GOOD, "样例", "7"), header=header)
    assert refusal(raw) == ("header_unknown", "店铺客服")
    assert len(read(raw, 店铺客服="-", 内部编号="-").events) == 1
    assert len(read(raw, **{"*": "-"}).events) == 1
    own = csv_of(GOOD, header=("货单", *HEADER[1:]))
    assert read(own, 货单="native_id").events[0].native_id == "S-1"
    assert refusal(own, 货单="nonsense") == ("mapping_broken", "货单")


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("待发货", ShopEventKind.PAID),
        ("待付款", ShopEventKind.CREATED),
        ("已取消", ShopEventKind.CANCELLED),
        ("已退款", ShopEventKind.REFUNDED),
        ("已发货", ShopEventKind.NATIVE_STATUS),
        ("飞走了", ShopEventKind.UNMAPPED),
    ],
)
def test_a_state_column_is_mapped_by_table(word: str, kind: ShopEventKind) -> None:
    raw = csv_of((*GOOD, word), header=(*HEADER, "订单状态"))
    (order,) = read(raw).events
    assert order.kind is kind
    assert order.native_status == word


def test_an_xlsx_with_real_numbers_and_dates() -> None:
    from datetime import datetime

    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(HEADER)
    sheet.append(["S-1", "测试甲", 10000000001, GOOD[3], "SKU-001", 2, 39.8,
                  datetime(2026, 11, 21, 10), None])  # fmt: skip  # noqa: DTZ001
    sheet.append([123456789012345678, "测试甲", "10000000001", GOOD[3], "SKU-001", 2])
    out = io.BytesIO()
    book.save(out)
    parsed = read(out.getvalue(), "orders.xlsx")
    (order,) = parsed.events
    assert (order.amount_fen, order.paid_at_ms) == (3980, NOW_MS)
    assert order.receiver is not None
    assert order.receiver.phone == "10000000001"
    (problem,) = parsed.problems
    assert (problem.position, problem.code) == (3, "native_id_mangled")


# --- rows that are refused while their neighbours go through -------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"单号": ""}, "native_id_missing", "单号"),
        ({"单号": "6.92E+17"}, "native_id_mangled", "单号"),
        ({"单号": "=1+1"}, "formula_cell", "单号"),
        ({"收货人": "=cmd|' /C calc'!A0"}, "formula_cell", "收货人"),
        ({"收货人": "@SUM(A1)"}, "formula_cell", "收货人"),
        ({"收货人": ""}, "name_missing", "收货人"),
        ({"手机号": "123"}, "phone_invalid", "手机号"),
        ({"手机号": ""}, "phone_missing", "手机号"),
        ({"手机号": "=10000000001"}, "formula_cell", "手机号"),
        ({"地址": ""}, "detail_missing", "地址"),
        ({"地址": "路" * 1001}, "cell_too_long", "地址"),
        ({"地址": "路" * 301}, "text_too_long", "地址"),
        ({"SKU": ""}, "sku_missing", "SKU"),
        ({"SKU": "-SKU"}, "formula_cell", "SKU"),
        ({"数量": "-2"}, "quantity_range", "数量"),
        ({"数量": "99999"}, "quantity_range", "数量"),
        ({"数量": "1.5"}, "number_broken", "数量"),
        ({"数量": "两件"}, "number_broken", "数量"),
        ({"数量": "=1+1"}, "formula_cell", "数量"),
        ({"数量": ""}, "number_broken", "数量"),
        ({"金额": "-1"}, "amount_range", "金额"),
        ({"金额": "1.234"}, "number_broken", "金额"),
        ({"金额": "NaN"}, "number_broken", "金额"),
        ({"金额": "Infinity"}, "number_broken", "金额"),
        ({"金额": "1e99999999"}, "number_broken", "金额"),
        ({"付款时间": "昨天"}, "time_broken", "付款时间"),
        ({"付款时间": "2026-13-45 10:00"}, "time_broken", "付款时间"),
        ({"付款时间": "1999-01-01 10:00"}, "time_range", "付款时间"),
    ],
)
def test_a_bad_row_names_row_and_column_and_its_neighbours_go_through(
    changes: dict[str, str], code: str, field: str
) -> None:
    bad = row(**{"单号": "BAD", **changes})
    parsed = read(csv_of(row(单号="A"), bad, row(单号="B")))
    assert [event.native_id for event in parsed.events] == ["A", "B"]
    (problem,) = parsed.problems
    assert (problem.position, problem.code, problem.field) == (3, code, field)


@pytest.mark.parametrize("phone", ["+8610000000001", "+86 100 0000 0001", "10000000001-1234"])
def test_a_phone_may_begin_with_a_plus(phone: str) -> None:
    assert len(read(csv_of(row(手机号=phone))).events) == 1


@pytest.mark.parametrize(
    "paid",
    [
        "2026/11/21 10:00",
        "2026-11-21T10:00:00+08:00",
        "2026年11月21日 10:00",
        "2026-11-21T02:00:00Z",
        "2026-11-21 10:00:00.000",
        "２０２６-11-21 10:00",
    ],
)
def test_times_as_people_and_programs_write_them(paid: str) -> None:
    assert read(csv_of(row(付款时间=paid))).events[0].paid_at_ms == NOW_MS


def test_an_order_with_one_bad_row_is_not_taken_by_half() -> None:
    parsed = read(csv_of(GOOD, row(SKU="SKU-002", 数量="0"), row(单号="S-2")))
    assert [event.native_id for event in parsed.events] == ["S-2"]
    assert [(p.position, p.code) for p in parsed.problems] == [
        (2, "order_has_bad_rows"),
        (3, "quantity_range"),
    ]


def test_identical_rows_count_once_and_are_said() -> None:
    parsed = read(csv_of(GOOD, GOOD, row(单号="S-2")))
    assert [(e.native_id, len(e.lines)) for e in parsed.events] == [("S-1", 1), ("S-2", 1)]
    (problem,) = parsed.problems
    assert (problem.position, problem.code, problem.native_id) == (3, "duplicate_row", "S-1")
    assert "第 2 行" in problem.message_zh


def test_rows_of_one_order_must_agree_on_the_receiver() -> None:
    parsed = read(csv_of(GOOD, row(SKU="SKU-002", 手机号="10000000002")))
    assert parsed.events == ()
    assert [(p.position, p.code, p.field) for p in parsed.problems] == [
        (2, "order_has_bad_rows", "单号"),
        (3, "row_conflict", "手机号"),
    ]


def test_row_numbers_are_those_a_spreadsheet_shows() -> None:
    raw = csv_of(row(单号="A", 备注="第一行\n第二行"), (), row(单号="BAD", 数量="0"))
    (problem,) = read(raw).problems
    assert problem.position == 5, "a cell of two lines takes two, the empty row counts"


# --- files that are refused as a whole -----------------------------------------------------------


def test_a_glued_together_file_is_refused_with_the_line() -> None:
    raw = csv_of(GOOD) + "S-2,测试乙,10000000002,样例街\r\n".encode("gb18030")
    assert refusal(raw) == ("encoding_mixed", "row 3")
    assert (
        refusal(csv_of(GOOD, encoding="gb18030") + "样例街道\r\n".encode())[0] == "encoding_mixed"
    )
    assert refusal(b"\xef\xbb\xbf" + csv_of(GOOD, encoding="gb18030"))[0] == "encoding_mixed"


@pytest.mark.parametrize(
    ("raw", "name", "code"),
    [
        (b"", "a.csv", "file_empty"),
        (b"\r\n\r\n,,\r\n", "a.csv", "file_empty"),
        ("订单".encode("utf-16"), "a.csv", "encoding_unknown"),
        (b"a,b\x00c", "a.csv", "encoding_unknown"),
        (b"a,b\r\n\xff\xff\xff\r\n", "a.csv", "encoding_unknown"),
        (b'a,b\r\n"never closed\r\n', "a.csv", "file_broken"),
        (b"x" * (10 * 1024 * 1024 + 1), "a.csv", "file_too_large"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 100, "a.xlsx", "file_type"),
        (b"a,b", "a.xls", "file_type"),
        (b"PK\x03\x04 and nothing more", "a.xlsx", "file_broken"),
        (b"PK\x05\x06" + b"\x00" * 18, "a.xlsx", "file_broken"),
        (b"not a zip", "a.xlsx", "file_broken"),
        (b"nothing,we,know\r\n1,2,3\r\n", "a.csv", "header_missing"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(raw: bytes, name: str, code: str) -> None:
    assert refusal(raw, name)[0] == code


def test_headers_missing_twice_and_unknown_are_named() -> None:
    without = tuple(h for h in HEADER if h != "数量")
    assert refusal(csv_of(GOOD, header=without)) == ("column_missing", "数量")
    twice = (*HEADER[:-1], "订单号")
    assert refusal(csv_of(GOOD, header=twice)) == ("header_twice", "订单号")
    assert refusal(csv_of(GOOD, header=(*HEADER[:-1], "神秘列"))) == ("header_unknown", "神秘列")


def test_bounds_of_rows_and_columns() -> None:
    many = [row(单号=str(i)) for i in range(20_001)]
    assert refusal(csv_of(*many))[0] == "too_many_rows"
    assert len(read(csv_of(*many[:20_000])).events) == 20_000
    wide = csv_of(header=(*HEADER, *map(str, range(60))))
    assert refusal(wide)[0] == "too_many_columns"
    assert refusal(made_up.as_xlsx([[*HEADER, *map(str, range(60))]]), "a.xlsx")[0] == (
        "too_many_columns"
    )


# --- hostile archives ----------------------------------------------------------------------------


def xlsx_with(part: str, content: bytes, **replace: bytes) -> bytes:
    """A good XLSX with one part replaced or added, and the sheet's XML if given."""
    good = zipfile.ZipFile(io.BytesIO(made_up.as_xlsx([HEADER, GOOD])))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in good.namelist():
            if name != part:
                archive.writestr(name, replace.get(name, good.read(name)))
        archive.writestr(part, content)
    return out.getvalue()


def sheet_xml() -> bytes:
    good = zipfile.ZipFile(io.BytesIO(made_up.as_xlsx([HEADER, GOOD])))
    return good.read("xl/worksheets/sheet1.xml")


def test_a_zip_bomb_is_not_opened() -> None:
    bomb = xlsx_with("xl/media/image1.png", b"\0" * 30_000_000)
    assert len(bomb) < 100_000
    assert refusal(bomb, "a.xlsx") == ("zip_bomb", "file")


def test_a_thousand_entries_are_not_opened() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(201):
            archive.writestr(f"{number}.xml", b"x")
    assert refusal(out.getvalue(), "a.xlsx") == ("zip_bomb", "file")


def test_a_directory_that_lies_about_sizes_is_found() -> None:
    name = b"xl/media/image1.png"
    bomb = bytearray(xlsx_with(name.decode(), b"\0" * 30_000_000))
    entry = bomb.rindex(b"PK\x01\x02", 0, bomb.rindex(name))
    bomb[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    assert refusal(bytes(bomb), "a.xlsx")[0] == "file_broken"


def test_a_cell_at_the_end_of_the_grid_does_not_take_all_memory() -> None:
    far = sheet_xml().replace(b"</sheetData>", b'<row r="1048576"><c r="A1048576" t="inlineStr">'
                              b"<is><t>x</t></is></c></row></sheetData>")  # fmt: skip
    assert refusal(xlsx_with("xl/worksheets/sheet1.xml", far), "a.xlsx")[0] == "too_many_rows"
    wide = sheet_xml().replace(b'r="A2"', b'r="XFD2"')
    assert refusal(xlsx_with("xl/worksheets/sheet1.xml", wide), "a.xlsx")[0] == "too_many_columns"


def test_entities_and_doctypes_are_refused() -> None:
    evil = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]>' + sheet_xml()
    assert refusal(xlsx_with("xl/worksheets/sheet1.xml", evil), "a.xlsx")[0] == "file_broken"
    book = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><workbook/>'
    assert refusal(xlsx_with("xl/workbook.xml", book), "a.xlsx")[0] == "file_broken"


def test_a_formula_in_xlsx_is_refused_by_row_even_when_its_value_looks_good() -> None:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(HEADER)
    sheet.append(list(row(单号="A")))
    sheet.append([*row(单号="BAD")[:5], "=1+1", *GOOD[6:]])
    sheet.append(list(row(单号="B")))
    out = io.BytesIO()
    book.save(out)
    parsed = read(out.getvalue(), "a.xlsx")
    assert [event.native_id for event in parsed.events] == ["A", "B"]
    (problem,) = parsed.problems
    assert (problem.position, problem.code, problem.field) == (3, "formula_cell", "数量")


def code_of(raw: bytes) -> str:
    try:
        read(raw, "a.xlsx")
    except Rejected as refused:
        return refused.code
    return ""


def test_truncated_and_flipped_files_never_raise_anything_else() -> None:
    good = made_up.as_xlsx(made_up.file_rows(ORDERS[:2]))
    for cut in range(0, len(good), 97):
        for raw in (good[:cut], good[:cut] + bytes([good[cut] ^ 0xFF]) + good[cut + 1 :]):
            codes = {"", "file_broken", "file_empty", "header_missing", "zip_bomb"}
            assert code_of(raw) in codes


def test_a_hidden_first_sheet_is_passed_over() -> None:
    from openpyxl import Workbook

    book = Workbook()
    hidden = book.active
    assert hidden is not None
    hidden.append(["说明"])
    hidden.sheet_state = "hidden"
    shown = book.create_sheet("订单")
    shown.append(HEADER)
    shown.append(GOOD)
    out = io.BytesIO()
    book.save(out)
    assert len(read(out.getvalue(), "a.xlsx").events) == 1


def test_the_sample_files_are_good() -> None:
    from pathlib import Path

    import virtual_warehouse

    samples = Path(virtual_warehouse.__path__[0], "samples")
    for name, orders in (("orders_daily.xlsx", 12), ("orders_dealer_gb18030.csv", 8)):
        parsed = read(samples.joinpath(name).read_bytes(), name)
        assert (len(parsed.events), parsed.problems) == (orders, ())
    assert read_sheet(csv_of(GOOD), "x.csv").rows[1].number == 2
