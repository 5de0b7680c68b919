"""The Douyin shop dialect: a push array, signed with MD5 over key, raw body and secret.

Receivers come masked and encrypted: we keep the masked values, hand the cipher texts and the
address token on, and route by province, city and district, which are in clear.
Source: Douyin shop open platform, message push and order.orderDetail.
This module must not know HTTP frameworks, SQL, a clock or another dialect.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from cloud_core.channels.douyin import orders, wire
from cloud_core.channels.douyin.tags import Tag, TagTable, shipped_tags
from cloud_core.domain import intake
from cloud_core.domain.json_guard import check_depth, check_size
from cloud_core.domain.shop_order import Parsed, RowProblem, ShopEvent, ShopEventKind
from cloud_core.domain.signing import check_signature, header, live_secrets, md5_hex
from cloud_core.ports import ChannelConfig, Divide
from protocols.errors import Rejected

MAX_BODY_BYTES = 5 * 1024 * 1024
MAX_MESSAGES = 500
SIGNATURE_HEADER = "event-sign"

_AT_PATH = re.compile(r" - at `\$\.?(.*)`$")
_T = TypeVar("_T")
# The platform's own test push when a URL is entered: it has no order.
_HEARTBEAT_TAG = "0"


class DouyinDialect:
    """Verifies and parses Douyin pushes; holds decoders and the tag table, no state."""

    name = "douyin"
    max_body_bytes = MAX_BODY_BYTES
    reports = False

    def __init__(self, table: TagTable | None = None) -> None:
        self._table = table or shipped_tags()
        self._body = msgspec.json.Decoder(list[msgspec.Raw])
        self._message = msgspec.json.Decoder(wire.Message)
        self._data = msgspec.json.Decoder(wire.Data)
        self._address = msgspec.json.Decoder(wire.Address)

    def verify(
        self,
        headers: Mapping[str, str],
        raw: bytes,
        secrets: Sequence[str],
        config: ChannelConfig,
        now_s: int,
    ) -> None:
        """Size, then MD5(app_key + raw body + app_secret) in header `event-sign`.

        A push carries no timestamp; a replay is stopped by its `msg_id`. Raises `Rejected`:
        `body_too_large`, `signature_missing|wrong`, `secret_not_configured`.
        """
        check_size(raw, self.max_body_bytes)
        given = header(headers, SIGNATURE_HEADER)
        app_key = config.app_key.encode()
        expected = [md5_hex(app_key, raw, secret.encode()) for secret in live_secrets(secrets)]
        check_signature(given, expected, field=SIGNATURE_HEADER)

    def parse(
        self, raw: bytes, config: ChannelConfig, received_at_ms: int, divide: Divide
    ) -> Parsed:
        """Events and refused messages of a push array; positions are 0-based.

        Raises `Rejected` when no message can be told apart: `body_too_large`, `json_too_deep`,
        `json_broken`, `events_missing`, `events_too_many`.
        """
        check_size(raw, self.max_body_bytes)
        check_depth(raw)
        events: list[ShopEvent] = []
        problems: list[RowProblem] = []
        digest = hashlib.sha256(raw).hexdigest()[:32]
        for position, part in enumerate(self._split(raw)):
            native_id = ""
            try:
                message = _decode(self._message, part, "")
                if str(message.tag) == _HEARTBEAT_TAG:
                    continue
                data = self._read_data(message)
                native_id = str(data.p_id)
                pushed = orders.Push(
                    channel=config.name,
                    dedupe_key=str(message.msg_id).strip() or f"{digest}:{position}",
                    received_at_ms=received_at_ms,
                    divide=divide,
                )
                events.append(self._shop_event(message, data, pushed))
            except Rejected as refused:
                problems.append(
                    intake.problem_of(
                        position, refused, prefix=f"[{position}].", native_id=native_id[:64]
                    )
                )
        return Parsed(tuple(events), tuple(problems))

    def reply_ok(self) -> bytes:
        """`{"code":0,"msg":"success"}`, or the platform sends the push again."""
        return b'{"code":0,"msg":"success"}'

    def _split(self, raw: bytes) -> list[msgspec.Raw]:
        try:
            messages = self._body.decode(raw)
        except msgspec.ValidationError as wrong:
            raise Rejected(
                "events_missing", "请求体必须是数组", "the body must be an array", field="body"
            ) from wrong
        except (msgspec.DecodeError, RecursionError) as broken:
            raise Rejected(
                "json_broken",
                "不是有效的 JSON（UTF-8）",
                f"the body is not valid JSON: {broken}",
                field="body",
            ) from broken
        if len(messages) > MAX_MESSAGES:
            raise Rejected(
                "events_too_many",
                f"每次推送最多 {MAX_MESSAGES} 条消息",
                f"a push holds at most {MAX_MESSAGES} messages",
                field="body",
            )
        return messages

    def _read_data(self, message: wire.Message) -> wire.Data:
        text = message.data.encode()
        try:
            check_depth(text)
        except Rejected as refused:
            raise Rejected(refused.code, refused.zh, refused.en, field="data") from refused
        return _decode(self._data, text, "data")

    def _shop_event(self, message: wire.Message, data: wire.Data, push: orders.Push) -> ShopEvent:
        tag = self._table.tags.get(str(message.tag))
        if tag is None:
            tag = Tag(ShopEventKind.UNMAPPED, str(message.tag)[:32], needs_detail=False)
        if tag.needs_detail:
            if data.shop_order_detail is None:
                raise Rejected(
                    "order_detail_missing",
                    "推送未附订单详情，无法处理",
                    "the push has no order attached",
                    field="data.shop_order_detail",
                )
            return orders.from_detail(tag, data, data.shop_order_detail, push, self._table)
        if tag.kind is ShopEventKind.ADDRESS_CHANGED:
            return self._address_changed(tag, data, push)
        return orders.from_push(tag, data, push)

    def _address_changed(self, tag: Tag, data: wire.Data, push: orders.Push) -> ShopEvent:
        receiver = data.receiver_msg
        if receiver is None:
            raise Rejected(
                "receiver_missing",
                "缺少收货信息",
                "the receiver is missing",
                field="data.receiver_msg",
            )
        address = _decode(self._address, receiver.addr.encode(), "data.receiver_msg.addr")
        return orders.from_new_receiver(tag, data, receiver, address, push)


def _decode(decoder: msgspec.json.Decoder[_T], part: bytes | msgspec.Raw, under: str) -> _T:
    try:
        return decoder.decode(part)
    except (msgspec.DecodeError, RecursionError) as wrong:
        path = _AT_PATH.search(str(wrong))
        field = ".".join(name for name in (under, path[1] if path else "") if name)
        if isinstance(wrong, msgspec.ValidationError):
            raise Rejected("field_type", "字段缺失或类型不正确", str(wrong), field=field) from wrong
        raise Rejected("json_broken", "不是有效的 JSON", "not valid JSON", field=field) from wrong
