"""Made-up orders, the same for the same seed, in every shape a shop can send them.

Used by the demo, the tests and the benchmarks as the shops at the start of the journey. Names,
phones (100-…, a prefix nobody has) and streets are invented; provinces to districts are real, so
that routing and transit times mean something. Knows nothing of the core's code: it signs and
writes the public formats by itself, so that both sides check each other.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

Order = dict[str, Any]

SKUS = tuple(f"SKU-{number:03d}" for number in range(1, 21))
PAID_MS = 1_795_226_400_000  # 2026-11-21T02:00:00Z, when a caller does not care
CHINA = timezone(timedelta(hours=8))

_STEMS = "甲乙丙丁戊己庚辛壬癸"
_FAMILY = ("测试", "演示", "样例", "模拟")
_STREETS = ("演示路", "样例街", "测试大道", "模拟巷", "虚拟路", "示范街")
_REMARKS = ("", "", "", "", "请放门口", "送前电话联系", "工作日送", "可延迟发货")
# province/city/district, `-` where the level does not exist
_PLACES_TEXT = """
浙江省/杭州市/余杭区 浙江省/杭州市/西湖区 浙江省/宁波市/鄞州区 上海市/上海市/浦东新区
上海市/上海市/静安区 江苏省/南京市/鼓楼区 江苏省/苏州市/姑苏区 安徽省/合肥市/蜀山区
福建省/厦门市/思明区 江西省/南昌市/红谷滩区 山东省/青岛市/市南区 北京市/北京市/海淀区
北京市/北京市/朝阳区 天津市/天津市/南开区 河北省/石家庄市/裕华区 辽宁省/沈阳市/和平区
广东省/深圳市/南山区 广东省/广州市/天河区 广东省/佛山市/顺德区 广东省/东莞市/-
广西壮族自治区/南宁市/青秀区 海南省/三亚市/吉阳区 湖南省/长沙市/岳麓区 湖北省/武汉市/洪山区
湖北省/-/仙桃市 河南省/郑州市/金水区 四川省/成都市/武侯区 重庆市/重庆市/渝中区
贵州省/贵阳市/南明区 云南省/昆明市/五华区 陕西省/西安市/雁塔区 甘肃省/兰州市/城关区
新疆维吾尔自治区/喀什地区/喀什市 内蒙古自治区/呼和浩特市/新城区
"""
_PLACES = [[n.replace("-", "") for n in place.split("/")] for place in _PLACES_TEXT.split()]


def make_orders(
    n: int,
    seed: int,
    *,
    prefix: str = "GN",
    paid_ms: int = PAID_MS,
    skus: Sequence[str] = SKUS,
) -> list[Order]:
    """`n` paid orders with 1 to 3 lines each, in the shape of the generic dialect's `order`.

    Order numbers are `{prefix}{seed:04d}{i:06d}`: one seed a channel keeps them apart. Payments
    are a second apart and end at `paid_ms`.
    """
    rng = random.Random(seed)
    return [_order(rng, f"{prefix}{seed:04d}{i:06d}", paid_ms - (n - 1 - i) * 1000, i, skus)
            for i in range(n)]  # fmt: skip


def generic_body(orders: Iterable[Order], *, kind: str = "paid", at_ms: int | None = None) -> bytes:
    """A request of the generic dialect; the event id is `{kind}-{native_id}`.

    For other kinds than `paid` and `created` give `at_ms`: when it happened, also the version.
    """
    events = []
    for order in orders:
        body = order if kind in ("paid", "created") else {"native_id": order["native_id"]}
        event: dict[str, Any] = {"id": f"{kind}-{order['native_id']}", "kind": kind, "order": body}
        if at_ms is not None:
            event["occurred_at"] = iso(at_ms)
            event["order"] = {**body, "version": at_ms}
        events.append(event)
    return json.dumps({"events": events}, ensure_ascii=False).encode()


def generic_headers(body: bytes, secret: str, now_s: int) -> dict[str, str]:
    """The signed headers of a generic request."""
    stamp = str(now_s)
    mac = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256)
    return {
        "content-type": "application/json",
        "x-packline-timestamp": stamp,
        "x-packline-signature": mac.hexdigest(),
    }


def douyin_body(orders: Iterable[Order], *, tag: str = "101", at_ms: int | None = None) -> bytes:
    """A push of the Douyin shop platform: receivers masked and encrypted, amounts in fen.

    Tag 100/101 carries the order, any other only its number and the time `at_ms`.
    """
    messages = []
    for order in orders:
        data: dict[str, Any] = {"p_id": order["native_id"], "shop_id": 1}
        if at_ms is not None:
            data["update_time"] = at_ms // 1000
        if tag in ("100", "101"):
            data["shop_order_detail"] = _douyin_detail(order)
        elif tag.startswith("20"):
            data["aftersale_id"] = f"AS{order['native_id']}"
        text = json.dumps(data, ensure_ascii=False)
        msg_id = hashlib.sha256(f"{tag}{text}".encode()).hexdigest()[:24]
        messages.append({"tag": tag, "msg_id": msg_id, "data": text})
    return json.dumps(messages, ensure_ascii=False).encode()


def douyin_headers(body: bytes, app_key: str, secret: str) -> dict[str, str]:
    """The signed headers of a Douyin push."""
    digest = hashlib.md5(app_key.encode() + body + secret.encode(), usedforsecurity=False)
    return {
        "content-type": "application/json",
        "app-id": app_key,
        "event-sign": digest.hexdigest(),
    }


FILE_HEADER = (
    "单号", "付款时间", "收货人姓名", "手机号", "收货地址", "商品编码", "商品名称", "数量", "单价",
    "金额", "备注",
)  # fmt: skip


def file_rows(orders: Iterable[Order]) -> list[tuple[str, ...]]:
    """Rows of an order file, header first, one row a line of an order, all cells text."""
    rows: list[tuple[str, ...]] = [FILE_HEADER]
    for order in orders:
        receiver = order["receiver"]
        paid = datetime.fromisoformat(order["paid_at"]).astimezone(CHINA)
        names = dict.fromkeys((receiver["province"], receiver["city"], receiver["district"]))
        rows.extend(
            (
                order["native_id"],
                paid.strftime("%Y-%m-%d %H:%M:%S"),
                receiver["name"],
                receiver["phone"],
                "".join(names) + receiver["detail"],
                line["sku"],
                line["title"],
                str(line["quantity"]),
                _yuan(line["price_fen"]),
                _yuan(order["amount_fen"]),
                order["remark"],
            )
            for line in order["lines"]
        )
    return rows


def as_csv(rows: Iterable[Sequence[str]], encoding: str = "utf-8-sig") -> bytes:
    """Rows as CSV; `utf-8-sig` is what spreadsheet programs write, `gb18030` what they wrote."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode(encoding)


def as_xlsx(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows as an XLSX file with one sheet, every cell text."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("订单")
    for row in rows:
        sheet.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def make_waybills(prefix: str, count: int, *, first: int = 1, digits: int = 12) -> list[str]:
    """`count` consecutive made-up waybill numbers, `{prefix}` and `digits` digits."""
    return [f"{prefix}{number:0{digits}d}" for number in range(first, first + count)]


def iso(time_ms: int) -> str:
    """Milliseconds UTC as ISO text in China's zone."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(CHINA).isoformat()


def _order(rng: random.Random, native_id: str, paid_ms: int, i: int, skus: Sequence[str]) -> Order:
    chosen = rng.sample(list(skus), min(len(skus), rng.choices((1, 2, 3), (6, 3, 1))[0]))
    lines: list[dict[str, Any]] = [
        {
            "sku": sku,
            "quantity": rng.choices((1, 2, 3), (7, 2, 1))[0],
            "price_fen": 100 * rng.randint(9, 299) + 90,
            "title": f"演示商品{sku[-3:]}",
            "is_gift": False,
        }
        for sku in chosen
    ]
    return {
        "native_id": native_id,
        "version": paid_ms,
        "paid_at": iso(paid_ms),
        "amount_fen": sum(line["quantity"] * line["price_fen"] for line in lines),
        "remark": rng.choice(_REMARKS),
        "lines": lines,
        "receiver": _receiver(rng, i),
    }


def _receiver(rng: random.Random, i: int) -> dict[str, str]:
    province, city, district = rng.choice(_PLACES)
    street = rng.choice(_STREETS)
    number, building, room = rng.randint(1, 999), rng.randint(1, 30), rng.randint(101, 2505)
    return {
        "name": rng.choice(_FAMILY) + rng.choice(_STEMS) + rng.choice(_STEMS),
        "phone": f"1000000{i % 10000:04d}",
        "province": province,
        "city": city,
        "district": district,
        "town": "",
        "detail": f"{street}{number}号{building}幢{room}室",
    }


def _douyin_detail(order: Order) -> dict[str, Any]:
    receiver = order["receiver"]
    paid_s = int(datetime.fromisoformat(order["paid_at"]).timestamp())
    name, phone = receiver["name"], receiver["phone"]
    place = {
        "province": {"name": receiver["province"], "id": "0"},
        "city": {"name": receiver["city"], "id": "0"},
        "town": {"name": receiver["district"], "id": "0"},
        "street": {"name": "", "id": "0"},
    }
    return {
        "order_id": order["native_id"],
        "order_status": 2,
        "order_status_desc": "待发货",
        "pay_time": paid_s,
        "update_time": paid_s,
        "pay_amount": order["amount_fen"],
        "exp_ship_time": paid_s + 48 * 3600,
        "buyer_words": order["remark"],
        "post_addr": {**place, "encrypt_detail": _cipher(receiver["detail"])},
        "mask_post_addr": {**place, "detail": receiver["detail"][:2] + "****"},
        "mask_post_receiver": name[0] + "*" * (len(name) - 1),
        "mask_post_tel": phone[:3] + "*" * 6 + phone[-2:],
        "encrypt_post_receiver": _cipher(name),
        "encrypt_post_tel": _cipher(phone),
        "open_address_id": "oaid-" + hashlib.sha256(phone.encode()).hexdigest()[:16],
        "sku_order_list": [
            {
                "order_id": f"{order['native_id']}{number}",
                "out_sku_id": line["sku"],
                "item_num": line["quantity"],
                "origin_amount": line["price_fen"],
                "product_name": line["title"],
                "given_product_type": "FREE" if line["is_gift"] else "",
            }
            for number, line in enumerate(order["lines"])
        ],
    }


def _cipher(text: str) -> str:
    """Looks like the platform's cipher text and hides as well: it cannot be turned back."""
    return f"#{hashlib.sha256(text.encode()).hexdigest()[:24]}#1##"


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"
