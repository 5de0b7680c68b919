"""The Douyin shop pushes orders whose receivers we may not read; we route them all the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloud_core.channels.douyin import DouyinDialect
from cloud_core.channels.douyin.tags import read_tags
from cloud_core.domain.shop_order import Parsed, ShopEvent, ShopEventKind
from protocols.errors import Rejected
from tests.support.shops import DOUYIN, NOW_MS, NOW_S, SECRET, matcher
from virtual_warehouse import orders as made_up

DIALECT = DouyinDialect()
ORDERS = made_up.make_orders(3, 5, prefix="69")


def parse(raw: bytes) -> Parsed:
    return DIALECT.parse(raw, DOUYIN, NOW_MS, matcher().match)


def push(*messages: object) -> bytes:
    return json.dumps(list(messages), ensure_ascii=False).encode()


def message(tag: object = "106", msg_id: object = "m-1", **data: Any) -> dict[str, Any]:
    return {"tag": tag, "msg_id": msg_id, "data": json.dumps({"p_id": 690005000001, **data})}


def one(raw: bytes) -> ShopEvent:
    parsed = parse(raw)
    assert parsed.problems == ()
    (event,) = parsed.events
    return event


def detail_of(order: dict[str, Any]) -> dict[str, Any]:
    data = json.loads(json.loads(made_up.douyin_body([order]))[0]["data"])
    detail: dict[str, Any] = data["shop_order_detail"]
    return detail


def test_the_published_signature_vector_holds() -> None:
    raw = b'[{"tag":"100"}]'
    config = type(DOUYIN)("douyin-a", "douyin", app_key="app")
    sign = "e0f00f1715a087454017a8f7b7bf9fa8"
    DIALECT.verify({"Event-Sign": sign}, raw, ["secret"], config, NOW_S)
    with pytest.raises(Rejected, match="signature_wrong"):
        DIALECT.verify({"event-sign": sign}, raw + b" ", ["secret"], config, NOW_S)
    with pytest.raises(Rejected, match="signature_missing"):
        DIALECT.verify({}, raw, ["secret"], config, NOW_S)
    with pytest.raises(Rejected, match="body_too_large"):
        DIALECT.verify({"event-sign": sign}, b" " * 6_000_000, ["secret"], config, NOW_S)


def test_two_live_secrets_while_one_is_changed() -> None:
    raw = made_up.douyin_body(ORDERS)
    headers = made_up.douyin_headers(raw, DOUYIN.app_key, SECRET)
    DIALECT.verify(headers, raw, ["the-new-one", SECRET], DOUYIN, NOW_S)


def test_a_paid_order_comes_in_masked_with_its_token_and_its_division() -> None:
    event = one(made_up.douyin_body(ORDERS[:1]))
    order = ORDERS[0]
    assert event.kind is ShopEventKind.PAID
    assert event.native_id == order["native_id"]
    assert event.amount_fen == order["amount_fen"]
    assert [(x.sku, x.quantity, x.price_fen) for x in event.lines] == [
        (x["sku"], x["quantity"], x["price_fen"]) for x in order["lines"]
    ]
    assert event.ship_deadline_ms is not None
    assert event.paid_at_ms is not None
    assert event.ship_deadline_ms - event.paid_at_ms == 48 * 3600 * 1000
    receiver = event.receiver
    assert receiver is not None
    assert (receiver.name, receiver.phone, receiver.detail) == ("", "", "")
    assert receiver.platform_token.startswith("oaid-")
    assert receiver.encrypted_phone.startswith("#")
    assert "*" in receiver.name_masked
    assert receiver.phone_masked.count("*") >= 6
    assert event.division is not None
    assert event.division.flag == ""


def test_a_receiver_in_clear_is_kept_for_sealing_and_masked() -> None:
    detail = detail_of(ORDERS[0])
    detail.update(post_receiver="测试甲", post_tel="10000000001")
    detail["post_addr"].update(detail="演示路1号2幢301室", street={"name": "五常街道", "id": 1})
    receiver = one(push(message("101", shop_order_detail=detail))).receiver
    assert receiver is not None
    assert (receiver.name, receiver.phone) == ("测试甲", "10000000001")
    assert receiver.detail == "五常街道演示路1号2幢301室"
    assert receiver.phone_masked == "100******01"


def test_a_gift_and_a_line_that_needs_no_shipping() -> None:
    detail = detail_of(ORDERS[0])
    line = detail["sku_order_list"][0]
    gift = {**line, "given_product_type": "FREE", "origin_amount": 0}
    voucher = {**line, "order_type": 4, "out_sku_id": ""}
    detail["sku_order_list"] = [line, gift, voucher]
    event = one(push(message("101", shop_order_detail=detail)))
    assert [(x.line_no, x.is_gift) for x in event.lines] == [(1, False), (2, True)]


def test_an_order_with_nothing_to_ship_only_leaves_its_state() -> None:
    detail = detail_of(ORDERS[0])
    detail["order_type"] = 2
    event = one(push(message("101", shop_order_detail=detail)))
    assert event.kind is ShopEventKind.NATIVE_STATUS
    assert "无需发货" in event.native_status


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        ("106", ShopEventKind.CANCELLED),
        (106, ShopEventKind.CANCELLED),
        ("200", ShopEventKind.REFUND_REQUESTED),
        ("201", ShopEventKind.NATIVE_STATUS),
        ("204", ShopEventKind.REFUND_REFUSED),
        ("206", ShopEventKind.REFUNDED),
        ("207", ShopEventKind.REFUND_REFUSED),
        ("102", ShopEventKind.NATIVE_STATUS),
        ("999", ShopEventKind.UNMAPPED),
    ],
)
def test_the_table_says_what_a_tag_means(tag: object, kind: ShopEventKind) -> None:
    event = one(push(message(tag, update_time=NOW_S, aftersale_id=77)))
    assert event.kind is kind
    assert event.native_id == "690005000001"
    assert event.refund_id == "77"
    assert event.version == event.occurred_at_ms == NOW_MS


def test_a_changed_receiver() -> None:
    addr = {
        "province": {"name": "上海市"}, "city": {"name": "上海市"}, "town": {"name": "浦东新区"},
        "street": {"name": "花木街道"}, "encrypt_detail": "#cipher#1##",
    }  # fmt: skip
    event = one(
        push(
            message(
                "105",
                update_time=NOW_S,
                receiver_msg={
                    "addr": json.dumps(addr), "name": "测**", "tel": "1********01",
                    "encrypt_name": "#n#1##", "encrypt_tel": "$t$1$$",
                },
            )
        )
    )  # fmt: skip
    assert event.kind is ShopEventKind.ADDRESS_CHANGED
    assert event.division is not None
    assert event.division.district_code == "310115"
    assert event.receiver is not None
    assert event.receiver.encrypted_detail == "#cipher#1##"


def test_a_message_without_an_id_is_still_told_from_its_neighbours() -> None:
    raw = push(message(msg_id=""), message(msg_id=""))
    keys = [event.dedupe_key for event in parse(raw).events]
    assert len(set(keys)) == 2
    assert [event.dedupe_key for event in parse(raw).events] == keys, "a repeat has the same key"


def bad_detail(path: str, value: object) -> dict[str, Any]:
    detail = detail_of(ORDERS[0])
    at: Any = detail
    *way, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for step in way:
        at = at[step]
    at[last] = value
    return message("101", shop_order_detail=detail)


@pytest.mark.parametrize(
    ("bad", "code", "field"),
    [
        (message("101"), "order_detail_missing", "[1].data.shop_order_detail"),
        (message("105"), "receiver_missing", "[1].data.receiver_msg"),
        (message("105", receiver_msg={"addr": "{"}), "json_broken", "[1].data.receiver_msg.addr"),
        ({"tag": "106", "msg_id": "m", "data": "{nope"}, "json_broken", "[1].data"),
        ({"tag": "106", "msg_id": "m", "data": "[" * 99}, "json_too_deep", "[1].data"),
        ({"tag": "106", "msg_id": "m", "data": "{}"}, "native_id_missing", "[1].data.p_id"),
        ({"tag": [], "msg_id": "m", "data": "{}"}, "field_type", "[1].tag"),
        (
            bad_detail("sku_order_list.0.item_num", -5),
            "quantity_range",
            "[1].data.shop_order_detail.sku_order_list[0].item_num",
        ),
        (
            bad_detail("sku_order_list.0.item_num", "5"),
            "field_type",
            "[1].data.shop_order_detail.sku_order_list[0].item_num",
        ),
        (
            bad_detail("sku_order_list.0.out_sku_id", ""),
            "sku_missing",
            "[1].data.shop_order_detail.sku_order_list[0].out_sku_id",
        ),
        (
            bad_detail("sku_order_list", []),
            "lines_missing",
            "[1].data.shop_order_detail.sku_order_list",
        ),
        (bad_detail("pay_amount", -1), "amount_range", "[1].data.shop_order_detail.pay_amount"),
        (bad_detail("pay_time", 5), "time_range", "[1].data.pay_time"),
    ],
)
def test_a_bad_message_names_its_field_and_its_neighbours_go_through(
    bad: dict[str, Any], code: str, field: str
) -> None:
    parsed = parse(push(message(msg_id="a"), bad, message(msg_id="b")))
    assert [event.dedupe_key for event in parsed.events] == ["a", "b"]
    (problem,) = parsed.problems
    assert (problem.code, problem.field) == (code, field)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{}", "events_missing"),
        (b"nope", "json_broken"),
        (b"[" * 100_000, "json_too_deep"),
        (b"[" + b"1," * 500 + b"1]", "events_too_many"),
    ],
)
def test_a_body_that_is_no_push_is_refused_as_a_whole(raw: bytes, code: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse(raw)
    assert refused.value.code == code


def test_the_platforms_test_push_is_answered_and_changes_nothing() -> None:
    assert parse(push({"tag": "0", "msg_id": "0", "data": "2026-11-21"})) == Parsed((), ())
    assert json.loads(DIALECT.reply_ok()) == {"code": 0, "msg": "success"}


def test_a_tag_table_is_data_and_a_broken_one_is_found() -> None:
    table = read_tags('[tags.7]\nkind="paid"\nname="付"\n[never_shipped]\n'
                      "order_types=[]\ngoods_types=[]\n")  # fmt: skip
    event = (
        DouyinDialect(table).parse(push(message("7")), DOUYIN, NOW_MS, matcher().match).events[0]
    )
    assert event.kind is ShopEventKind.PAID
    with pytest.raises(ValueError, match="nonsense"):
        read_tags('[tags.7]\nkind="nonsense"\nname="x"\n')
