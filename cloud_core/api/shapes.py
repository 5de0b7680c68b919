"""What the answers look like, for the OpenAPI document: models, examples, refusals by status.

Answers are encoded with msgspec; these models describe them and a test holds the two together.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from cloud_core.api.errors import STATUS
from cloud_core.api.event_shapes import EVENT_BODY, EVENT_EXAMPLE

Responses = dict[int | str, dict[str, Any]]


class Refusal(BaseModel):
    """Every refusal: a stable code, the field it is about, two languages."""

    code: str
    field: str
    message_zh: str
    message_en: str
    details: list[Any]


class Problem(BaseModel):
    """Why one row or event of many was refused; the others went through."""

    position: int
    code: str
    field: str
    message_zh: str
    message_en: str
    native_id: str
    status: int


class Intake(BaseModel):
    """What became of a request with many events or rows."""

    ok: bool
    raw_id: int
    duplicate: bool
    dry_run: bool
    accepted: int
    refused: int
    problems: list[Problem]
    ignored: list[dict[str, Any]] = []
    """Orders with fields that nobody here knows: taken, without those."""


class MasterReport(BaseModel):
    """What an import of master data did, or on a dry run would do."""

    kind: str
    dry_run: bool
    created: int
    changed: int
    same: int
    refused: int
    problems: list[Problem]


class Listing(BaseModel):
    """A page of rows, newest first; `next` fetches the page after it, empty on the last."""

    items: list[dict[str, Any]]
    next: str


class OrderDetail(BaseModel):
    """An order with everything known of it; personal data is masked."""

    id: str
    channel: str
    native_id: str
    state: str
    stop: str
    created_ms: int
    paid_ms: int | None
    ship_by_ms: int | None
    expected_ms: int | None
    amount_fen: int
    track_url: str
    contact: dict[str, Any] | None
    lines: list[dict[str, Any]]
    shipments: list[dict[str, Any]]
    gifts: list[dict[str, Any]]
    incidents: list[dict[str, Any]]
    trail: list[dict[str, Any]]


class ShipmentDetail(BaseModel):
    """A shipment with its owner, token, lines, milestones and trail."""

    id: str
    order_id: str
    state: str
    stop: str
    warehouse: str
    agent: str
    token_epoch: int
    token_n: int
    waybill: str
    lines: list[dict[str, Any]]
    milestones: list[dict[str, Any]]
    trail: list[dict[str, Any]]


class Stopped(BaseModel):
    """The stop state of an order after a cancel: requested, cancelled or intercept."""

    order_id: str
    stop: str
    shipments: list[dict[str, Any]]


class Resolved(BaseModel):
    """An incident that a person closed."""

    incident_id: int
    resolved: bool


class Health(BaseModel):
    """Whether the core can answer: the database reads, the write queue runs."""

    ok: bool
    checks: dict[str, str]


_MESSAGES = {
    "order_stopped": ("order_id", "订单已取消或退款", "the order is stopped"),
    "shipment_left": ("order_id", "包裹已交接发运，不能改地址", "the parcel has left"),
    "address_packed": ("approved_by", "包裹已打包，改地址须主管批准", "a manager must approve"),
    "address_flagged": ("receiver", "收货地址不能确定到区县", "no certain district"),
    "phone_invalid": ("receiver.phone", "电话格式不正确", "this is no phone number"),
    "return_unknown": ("return_id", "没有这个退货单", "there is no such return"),
    "return_arrived": ("id", "退货已签收，不能作废", "the goods have arrived"),
    "return_not_shipped": ("order_id", "订单还没有发出，请用取消", "nothing was sent"),
    "return_too_late": ("approved_by", "发出已超过 15 天，须主管批准", "a manager must approve"),
    "return_opened": ("approved_by", "商品已拆封，须主管批准", "a manager must approve"),
    "return_empty": ("lines", "没有可退的商品", "nothing is left to return"),
    "return_sku_unknown": ("lines[0].sku", "订单没有发过商品 SKU-404", "was not sent"),
    "return_too_many": ("lines[0].quantity", "SKU-001 最多还可退 1 件", "at most 1 of SKU-001"),
    "return_serial_unknown": ("lines[0].serials", "序列号不是本单发出的", "was not sent"),
    "return_no_agent": ("warehouse", "仓库没有可用的边缘代理", "the warehouse has no agent"),
    "window_invalid": ("window_to_ms", "取件时段须有先后，且不能已过去", "must lie ahead"),
    "signature_wrong": ("x-packline-signature", "签名不正确，或内容被改动过",
                        "the signature does not fit the body"),
    "timestamp_stale": ("x-packline-timestamp", "时间戳与服务器时间相差超过 300 秒",
                        "the timestamp is more than 300 s away from the server's time"),
    "json_broken": ("body", "不是有效的 JSON（UTF-8）", "the body is not valid JSON"),
    "events_refused": ("events[0].order.lines[0].quantity", "没有一条可以接收",
                       "nothing was accepted"),
    "id_reused": ("events[0].id", "消息编号已用于另一条消息",
                  "this id was used for another message"),
    "body_too_large": ("body", "请求体超过上限 5000000 字节",
                       "the body is larger than 5000000 bytes"),
    "channel_unknown": ("channel", "没有渠道 demo", "there is no channel demo"),
    "channel_disabled": ("channel", "渠道 demo 已停用", "channel demo is disabled"),
    "rate_limited": ("", "请求过于频繁，每分钟最多 60 次",
                     "too many requests, at most 60 a minute"),
    "key_missing": ("authorization", "缺少接口密钥", "an API key is needed"),
    "scope_needed": ("authorization", "该密钥没有 write 权限",
                     "this key does not hold the scope write"),
    "order_unknown": ("order_id", "没有这个订单", "there is no such order"),
    "warehouse_unknown": ("warehouse", "没有仓库 HZ99", "there is no warehouse HZ99"),
    "breaker_mode": ("mode", "熔断只能设为 open、closed 或 auto",
                     "a breaker is set to open, closed or auto"),
    "reason_missing": ("reason", "请写明原因", "a reason is needed, people will ask"),
    "until_invalid": ("until_ms", "截止时间须在现在之后、30 天以内；auto 没有截止时间",
                      "until must lie in the next 30 days; auto takes none"),
    "notify_unknown": ("name", "没有通知对象 hz-head", "there is no target hz-head"),
    "notify_exists": ("name", "通知对象 hz-head 已存在", "target hz-head exists"),
    "notify_filter": ("kinds", "没有这个类别或仓库", "no such kind or warehouse"),
    "notify_kind": ("kind", "类型只能是 log、webhook、dingtalk、wecom",
                    "the kind is one of log, webhook, dingtalk, wecom"),
    "notify_url": ("url", "机器人地址缺少 access_token=…",
                   "the robot's address lacks access_token=…"),
    "notify_secret": ("secret", "webhook 需要至少 8 个字符的签名密钥",
                      "a web hook needs a signing secret of 8 characters or more"),
    "shipment_stopped": ("shipment_id", "发货单已取消", "the shipment is stopped"),
    "shipment_not_owned": ("shipment_id", "发货单不在任何仓库手中，或已交接",
                           "no warehouse has the shipment, or it has left"),
    "stock_effect_invalid": ("stock_effect", "库存处理须为 put_back、shipped 或 lost",
                             "stock_effect is one of put_back, shipped, lost"),
    "stock_effect_missing": ("stock_effect", "请说明货物去向：put_back、shipped 或 lost",
                             "say what became of the goods: put_back, shipped or lost"),
    "shipment_unknown": ("shipment_id", "没有这个发货单", "there is no such shipment"),
    "check_unknown": ("id", "没有这个外部审核", "there is no such check"),
    "verdict_unknown": ("verdict", "答复须为 accept 或 refuse", "accept or refuse"),
    "incident_unknown": ("id", "没有这个未处理的异常", "no such open incident"),
    "rules_version_unknown": ("version", "没有这一版规则", "no such version"),
    "rule_unreachable": (
        "喀什超 3 公斤: when.ends", "规则永远不会生效：结束时间不晚于开始时间",
        "the rule can never match: it ends before it starts",
    ),
    "channel_exists": ("channel", "渠道 demo-shop 已存在", "channel demo-shop exists"),
    "channel_name": ("name", "渠道名只能用小写字母、数字、- 和 _，最多 48 个字符",
                     "a channel name has 1 to 48 of a-z, 0-9, -, _"),
    "dialect_unknown": ("dialect", "没有方言 martian，可选：douyin、generic",
                        "no dialect martian; one of douyin, generic"),
    "secret_short": ("secret", "密钥至少 8 个字符", "the secret is too short"),
    "url_invalid": ("write_back_url", "回传地址须为 http(s)://主机…",
                    "a write-back address is http(s)://host…"),
    "mapping_broken": ("columns.单号", "没有字段 numbre", "no field numbre"),
    "change_empty": ("body", "没有要修改的内容", "nothing is to be changed"),
    "kind_unknown_master": ("kind", "没有这种主数据", "no such kind of master data"),
    "header_missing": ("row 1", "找不到“商品”表的表头行", "no header line was found"),
    "request_invalid": ("limit", "请求参数不正确", "a parameter is not valid"),
    "file_too_large": ("file", "文件超过上限", "the file is too large"),
    "queue_full": ("", "写入队列已满，请稍后重试", "the write queue is full"),
    "recovering": ("", "系统恢复中，暂不能预占库存", "recovering from a backup"),
    "too_many_streams": ("", "库存推送连接已达上限 200", "at most 200 streams of changes"),
    "stock_unknown": ("sku", "没有商品 SKU-404", "there is no SKU SKU-404"),
    "sku_unknown": ("lines[0].sku", "商品编码 SKU-404 不存在", "unknown SKU SKU-404"),
    "sku_missing": ("sku", "至少要一个 sku 参数", "a parameter sku is needed"),
    "sku_duplicate": ("lines[1].sku", "商品 SKU-001 与第 1 行重复，请合并数量",
                      "SKU SKU-001 stands in lines[0] already; add the quantities up"),
    "skus_too_many": ("sku", "一次最多 200 个商品", "at most 200 SKUs a request"),
    "quantity_range": ("lines[0].quantity", "数量须为 1 到 9999 的整数",
                       "the quantity must be from 1 to 9999"),
    "ttl_range": ("ttl_s", "有效期须为 10 到 3600 秒",
                  "the time to live must be from 10 to 3600 s"),
    "holds_too_many": ("holds", "每次须有 1 到 500 个预占", "1 to 500 holds a request"),
    "stock_short": ("lines[0].quantity", "库存不足：SKU-002",
                    "there is not enough stock: SKU-002"),
    "idempotency_key_missing": ("idempotency-key", "缺少请求头 Idempotency-Key",
                                "the header Idempotency-Key is needed"),
    "idempotency_key_invalid": ("idempotency-key",
                                "Idempotency-Key 须为 1 到 128 个可见 ASCII 字符",
                                "an Idempotency-Key has 1 to 128 visible ASCII characters"),
    "idempotency_conflict": ("idempotency-key", "该 Idempotency-Key 已用于另一个请求",
                             "this Idempotency-Key was used for another request"),
    "hold_unknown": ("id", "没有这个预占", "there is no such hold"),
    "hold_expired": ("id", "预占已过期", "the hold has expired"),
    "hold_released": ("id", "预占已释放", "the hold was released"),
    "hold_lost": ("id", "盘点后库存不足，预占已取消",
                  "a count did not find the goods; the hold is gone"),
    "hold_confirmed": ("id", "预占已确认（已付款），不能释放", "the hold is confirmed and stays"),
    "hold_moved": ("id", "预占已转入订单", "an order has taken the hold"),
}  # fmt: skip


def refusals(*codes: str) -> Responses:
    """The refusals of a route by status, each code with an example."""
    found: Responses = {}
    for code in codes:
        field, zh, en = _MESSAGES[code]
        status = STATUS.get(code, 503 if code == "queue_full" else 422)
        entry = found.setdefault(
            status,
            {
                "model": Refusal,
                "description": "",
                "content": {"application/json": {"examples": {}}},
            },
        )
        entry["content"]["application/json"]["examples"][code] = {
            "value": {
                "code": code, "field": field, "message_zh": zh, "message_en": en, "details": [],
            }
        }  # fmt: skip
        entry["description"] = "、".join(entry["content"]["application/json"]["examples"])
    return found


def answers(
    status: int, model: type[BaseModel], example: Any, description: str, *codes: str
) -> dict[str, Any]:
    """Keyword arguments of a route: its success with an example, then its refusals."""
    success = {
        "model": model,
        "description": description,
        "content": {"application/json": {"example": example}},
    }
    return {"responses": {status: success, **refusals(*codes)}, "status_code": status}


_PROBLEM = {
    "position": 3, "code": "quantity_range", "field": "events[3].order.lines[0].quantity",
    "message_zh": "数量必须是 1 到 9999 的整数",
    "message_en": "the quantity must be a whole number from 1 to 9999",
    "native_id": "SHOP-0004", "status": 422,
}  # fmt: skip
_INTAKE = {
    "ok": True, "raw_id": 17, "duplicate": False, "dry_run": False, "accepted": 499, "refused": 1,
    "problems": [_PROBLEM],
    "ignored": [{"native_id": "SHOP-20261121-0002", "fields": ["order.hold_id"]}],
}  # fmt: skip
EVENTS: dict[str, Any] = {
    **answers(
        202, Intake, _INTAKE, "已存储，随后处理；平台方言返回平台要求的应答。Stored.",
        "json_broken", "signature_wrong", "timestamp_stale", "channel_disabled", "channel_unknown",
        "id_reused", "body_too_large", "events_refused", "rate_limited", "queue_full",
    ),
    "openapi_extra": {
        "parameters": [
            {
                "name": "x-packline-timestamp", "in": "header", "required": False,
                "schema": {"type": "string"}, "example": "1795226400",
                "description": "秒级时间戳（generic）",
            },
            {
                "name": "x-packline-signature", "in": "header", "required": False,
                "schema": {"type": "string"}, "example": "9f86d081884c7d65…",
                "description": 'HMAC-SHA256(密钥, 时间戳 + "." + 原始请求体) 的十六进制（generic）',
            },
            {
                "name": "event-sign", "in": "header", "required": False,
                "schema": {"type": "string"}, "example": "5d41402abc4b2a76…",
                "description": "MD5(app_key + 原始请求体 + app_secret)（douyin）",
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": EVENT_BODY, "example": EVENT_EXAMPLE}},
        },
    },
}  # fmt: skip
EVENTS["responses"][200] = {
    "model": Intake,
    "description": "重复的请求，没有第二次效果。The same bytes came before; no second effect.",
    "content": {"application/json": {"example": {**_INTAKE, "duplicate": True}}},
}


def upload(example_name: str) -> dict[str, Any]:
    """The request body of a route that takes a file."""
    part = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": part, "example": {"file": example_name}},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    }


FILES: dict[str, Any] = {
    **answers(
        202, Intake, _INTAKE, "已存储，随后处理，附逐行报告。Stored, with a report by row.",
        "key_missing", "scope_needed", "channel_disabled", "channel_unknown", "body_too_large",
        "header_missing", "rate_limited", "queue_full",
    ),
    "openapi_extra": upload("orders.xlsx"),
}  # fmt: skip

_MASTER_REPORT = {
    "kind": "skus", "dry_run": True, "created": 98, "changed": 1, "same": 0, "refused": 1,
    "problems": [{**_PROBLEM, "code": "barcode_taken", "field": "barcodes", "position": 12,
                  "message_zh": "条码 690000000012 已属于商品 SKU-002",
                  "message_en": "barcode 690000000012 belongs to SKU SKU-002", "native_id": ""}],
}  # fmt: skip
_SKU_EXAMPLE = [
    {"id": "SKU-001", "name": "演示毛巾", "barcodes": ["690000000011"], "weight_g": 120}
]
MASTER_POST: dict[str, Any] = {
    **answers(
        200, MasterReport, _MASTER_REPORT, "逐行报告。A report by row.",
        "json_broken", "key_missing", "scope_needed", "kind_unknown_master", "body_too_large",
        "header_missing", "rate_limited", "queue_full",
    ),
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "array", "items": {"type": "object"}},
                    "example": _SKU_EXAMPLE,
                },
                **upload("skus.csv")["requestBody"]["content"],
            },
        }
    },
}  # fmt: skip


def listing(item: dict[str, Any], *codes: str) -> dict[str, Any]:
    """A route that answers a page of rows."""
    example = {"items": [item], "next": ""}
    return answers(
        200, Listing, example, "一页，最新在前。A page, newest first.",
        "key_missing", "scope_needed", "request_invalid", "rate_limited", *codes,
    )  # fmt: skip


ORDER_ROW = {
    "id": "DB2026K7M2Q9XA", "channel": "demo-shop", "native_id": "SHOP-20261121-0001",
    "state": "picking", "stop": "", "created_ms": 1795226405000, "paid_ms": 1795226400000,
    "ship_by_ms": 1795312800000, "expected_ms": 1795572000000, "amount_fen": 12900,
}  # fmt: skip
SHIPMENT_ROW = {
    "id": "DB2026K7M2Q9XA-1", "order_id": "DB2026K7M2Q9XA", "state": "picking", "stop": "",
    "warehouse": "WH-HZ", "agent": "hz-bench-1", "token_epoch": 1, "token_n": 1,
    "waybill": "YS0000000001", "lines": [{"sku": "SKU-001", "quantity": 2, "picked": 1}],
    "milestones": [{"at_ms": 1795226500000, "code": "granted", "text": ""}],
    "trail": [{"at_ms": 1795226500000, "change": "offered>granted", "actor": "agent:hz-bench-1"}],
}  # fmt: skip
ORDER_DETAIL = {
    **ORDER_ROW,
    "track_url": "http://127.0.0.1:8080/t/AbCdEfGhIjKlMnOpQrStUv",
    "contact": {"name_masked": "测*甲", "phone_masked": "100******01",
                "address_masked": "演示路*号*幢*室", "purged_ms": None},
    "lines": [{"line_no": 1, "sku": "SKU-001", "quantity": 2, "price_fen": 6450}],
    "shipments": [SHIPMENT_ROW],
    "gifts": [],
    "incidents": [],
    "trail": [{"at_ms": 1795226405000, "subject": "DB2026K7M2Q9XA", "change": "created>paid",
               "actor": "channel:demo-shop"}],
}  # fmt: skip
ALARM_ROW = {
    "id": 4, "kind": "waybill_pool_empty", "key": "YS", "opened_ms": 1795226500000,
    "closed_ms": None, "count": 3, "text": "承运商 YS 的运单号池已空，已接单的发货单在等待",
}  # fmt: skip
INCIDENT_ROW = {
    "id": 2, "at_ms": 1795226500000, "kind": "handed_over_after_stop",
    "shipment_id": "DB2026K7M2Q9XA-1", "warehouse": "WH-HZ", "token_epoch": 1, "token_n": 2,
    "stock_effect": "", "detail": "stop:refund", "resolved_ms": None, "resolved_by": "",
}  # fmt: skip
QUARANTINE_ROW = {
    "id": 9, "at_ms": 1795226500000, "source": "channel:demo-shop", "code": "sku_unknown",
    "field": "lines[0].sku", "message": "商品编码 SKU-999 不存在", "ref": "raw:17#3",
    "body_bytes": None, "resolved_ms": None,
}  # fmt: skip
AGENT_ROW = {
    "id": "hz-bench-1", "warehouse": "WH-HZ", "name": "杭州一号台", "enabled": 1, "online": 1,
    "seen_ms": 1795226500000, "queued": 0, "oldest_ms": 0, "sw": "0.1.0", "detail": {},
    "replay_missing": False,
}  # fmt: skip
AUDIT_ROW = {
    "id": 31, "at_ms": 1795226500000, "actor": "key:k4f2", "source": "127.0.0.1",
    "action": "order.cancel", "target": "DB2026K7M2Q9XA", "detail": "",
}  # fmt: skip
