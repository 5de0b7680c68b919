"""The generic dialect: a documented JSON body in bulk, signed with HMAC-SHA256.

Raw bytes come in from the HTTP door, `Parsed` goes to ingestion. One bad event becomes a row of
the report that names its field (`events[3].order.lines[0].quantity`); the others go through.
This module must not know HTTP frameworks, SQL, a clock or another dialect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec

from cloud_core.channels.generic import wire
from cloud_core.domain import intake
from cloud_core.domain.address import detail_without_division
from cloud_core.domain.json_guard import check_depth, check_size
from cloud_core.domain.shop_order import (
    Division,
    Parsed,
    RowProblem,
    ShopEvent,
    ShopEventKind,
    ShopLine,
)
from cloud_core.domain.shop_order import Receiver as ShopReceiver
from cloud_core.domain.signing import (
    check_signature,
    check_timestamp,
    header,
    hmac_sha256_hex,
    live_secrets,
)
from cloud_core.ports import ChannelConfig, Divide
from protocols.errors import Rejected

MAX_BODY_BYTES = 5 * 1024 * 1024
MAX_EVENTS = 500
MAX_EVENT_ID_CHARS = 100
IGNORED_MAX = 10
IGNORED_CHARS = 64
"""Unknown fields of an event that are told, and how much of each path."""
TIMESTAMP_HEADER = "x-packline-timestamp"
SIGNATURE_HEADER = "x-packline-signature"

_KINDS: Mapping[str, ShopEventKind] = {
    kind.value: kind for kind in ShopEventKind if kind is not ShopEventKind.UNMAPPED
}
_WITH_LINES = frozenset({ShopEventKind.CREATED, ShopEventKind.PAID})
_WITH_RECEIVER = frozenset(
    {ShopEventKind.CREATED, ShopEventKind.PAID, ShopEventKind.ADDRESS_CHANGED}
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MISSING_FIELD = re.compile(r"missing required field `(\w+)`")
_AT_PATH = re.compile(r" - at `\$\.?(.*)`$")


class GenericDialect:
    """Verifies and parses the generic JSON body; holds decoders, no state."""

    name = "generic"
    max_body_bytes = MAX_BODY_BYTES
    reports = True

    def __init__(self) -> None:
        self._body = msgspec.json.Decoder(wire.Body)
        self._event = msgspec.json.Decoder(wire.Event)
        self._broken = msgspec.json.Decoder(wire.BrokenEvent)

    def verify(
        self,
        headers: Mapping[str, str],
        raw: bytes,
        secrets: Sequence[str],
        config: ChannelConfig,
        now_s: int,
    ) -> None:
        """Size, timestamp (±`tolerance_s`), then HMAC over timestamp, ".", raw body.

        Raises `Rejected`: `body_too_large`, `timestamp_missing|broken|stale`,
        `signature_missing|wrong`, `secret_not_configured`.
        """
        check_size(raw, self.max_body_bytes)
        stamp = header(headers, TIMESTAMP_HEADER)
        given = header(headers, SIGNATURE_HEADER)
        check_timestamp(stamp, now_s=now_s, tolerance_s=config.tolerance_s, field=TIMESTAMP_HEADER)
        expected = [
            hmac_sha256_hex(secret, stamp.encode(), b".", raw) for secret in live_secrets(secrets)
        ]
        check_signature(given, expected, field=SIGNATURE_HEADER)

    def parse(
        self, raw: bytes, config: ChannelConfig, received_at_ms: int, divide: Divide
    ) -> Parsed:
        """Events and refused rows of a body of 1..500 events; positions are 0-based.

        Raises `Rejected` when no event can be told apart: `body_too_large`, `json_too_deep`,
        `json_broken`, `events_missing`, `events_too_many`.
        """
        check_size(raw, self.max_body_bytes)
        check_depth(raw)
        events: list[ShopEvent] = []
        problems: list[RowProblem] = []
        for position, part in enumerate(self._split(raw)):
            try:
                event, ignored = self._decode(part)
                found = _shop_event(event, config.name, received_at_ms, divide)
                events.append(replace(found, ignored=ignored) if ignored else found)
            except Rejected as refused:
                problems.append(
                    intake.problem_of(
                        position,
                        refused,
                        prefix=f"events[{position}].",
                        native_id=self._native_id(part),
                    )
                )
        return Parsed(tuple(events), tuple(problems))

    def reply_ok(self) -> bytes:
        """`{"ok":true}`."""
        return b'{"ok":true}'

    def _split(self, raw: bytes) -> list[msgspec.Raw]:
        try:
            events = self._body.decode(raw).events
        except msgspec.ValidationError as wrong:
            raise Rejected(
                "events_missing",
                "请求体必须是含 events 数组的对象",
                f"the body must be an object with an array `events`: {wrong}",
                field="events",
            ) from wrong
        except (msgspec.DecodeError, RecursionError) as broken:
            raise Rejected(
                "json_broken",
                "不是有效的 JSON（UTF-8）",
                f"the body is not valid JSON: {broken}",
                field="body",
            ) from broken
        if not 1 <= len(events) <= MAX_EVENTS:
            raise Rejected(
                "events_too_many" if events else "events_missing",
                f"每次请求须有 1 到 {MAX_EVENTS} 个事件，收到 {len(events)} 个",
                f"a request holds 1 to {MAX_EVENTS} events, this one {len(events)}",
                field="events",
            )
        return events

    def _decode(self, part: msgspec.Raw) -> tuple[wire.Event, tuple[str, ...]]:
        """The event, and the paths of the fields it should not have; those refuse nothing."""
        try:
            return self._event.decode(part), ()
        except msgspec.ValidationError as wrong:
            if "unknown field" not in str(wrong):
                raise _refusal(str(wrong)) from wrong
        except (msgspec.DecodeError, RecursionError) as wrong:
            raise _refusal(str(wrong)) from wrong
        try:
            found = msgspec.json.decode(part)
            ignored = wire.without_unknown(found, wire.Event)
            cut = [intake.clean_text(path, IGNORED_CHARS) for path in ignored[:IGNORED_MAX]]
            return msgspec.convert(found, wire.Event), tuple(cut)
        except (msgspec.DecodeError, RecursionError) as wrong:
            raise _refusal(str(wrong)) from wrong

    def _native_id(self, part: msgspec.Raw) -> str:
        try:
            native_id = self._broken.decode(part).order.native_id
        except (msgspec.DecodeError, RecursionError):
            return ""
        return intake.clean_text(native_id, intake.MAX_NATIVE_ID_CHARS)


def _shop_event(event: wire.Event, channel: str, received_at_ms: int, divide: Divide) -> ShopEvent:
    kind = _KINDS.get(event.kind)
    if kind is None:
        raise Rejected(
            "kind_unknown",
            "事件类型不在支持的列表中",
            f"the kind is not one of {', '.join(_KINDS)}",
            field="kind",
        )
    order = event.order
    lines = _lines(order, required=kind in _WITH_LINES)
    receiver, division = _receiver(order, divide, required=kind in _WITH_RECEIVER)
    occurred_at_ms = _occurred_at_ms(event, received_at_ms)
    return ShopEvent(
        channel=channel,
        native_id=intake.clean_native_id(order.native_id, field="order.native_id"),
        dedupe_key=_event_id(event.id),
        kind=kind,
        version=_version(order.version) or occurred_at_ms,
        occurred_at_ms=occurred_at_ms,
        native_status=intake.clean_text(order.native_status, intake.MAX_TITLE_CHARS),
        paid_at_ms=_paid_at_ms(order, required=kind is ShopEventKind.PAID),
        amount_fen=_amount_fen(order, lines),
        lines=lines,
        receiver=receiver,
        division=division,
        remark=intake.clean_text(order.remark, intake.MAX_REMARK_CHARS),
        ship_deadline_ms=_time_ms(order.ship_deadline, "order.ship_deadline"),
        refund_id=intake.clean_text(event.refund_id, intake.MAX_NATIVE_ID_CHARS),
        hold=intake.clean_hold(order.hold, field="order.hold"),
    )


def _lines(order: wire.Order, *, required: bool) -> tuple[ShopLine, ...]:
    if order.lines or required:
        intake.check_line_count(len(order.lines), field="order.lines")
    lines = []
    for position, line in enumerate(order.lines):
        found = ShopLine(
            line_no=position + 1,
            sku=line.sku.strip(),
            quantity=line.quantity,
            price_fen=line.price_fen,
            title=intake.clean_text(line.title, intake.MAX_TITLE_CHARS),
            is_gift=line.is_gift,
        )
        at = f"order.lines[{position}]."
        intake.check_line(
            found,
            sku_field=f"{at}sku",
            quantity_field=f"{at}quantity",
            price_field=f"{at}price_fen",
        )
        lines.append(found)
    return tuple(lines)


def _receiver(
    order: wire.Order, divide: Divide, *, required: bool
) -> tuple[ShopReceiver | None, Division | None]:
    found = order.receiver
    if found is None:
        if required:
            raise Rejected(
                "receiver_missing",
                "缺少收货信息",
                "the receiver is missing",
                field="order.receiver",
            )
        return None, None
    division = divide(found.province, found.city, found.district, found.town, found.detail)
    detail = detail_without_division(found.detail, division)
    if found.town and not detail.startswith(found.town):
        detail = found.town + detail
    fields = intake.ReceiverFields(
        name=found.name, phone=found.phone, detail=detail, platform_token=found.platform_token
    )
    return intake.make_receiver(fields, prefix="order.receiver."), division


def _event_id(event_id: str) -> str:
    cleaned = event_id.strip()
    if not cleaned or len(cleaned) > MAX_EVENT_ID_CHARS or not cleaned.isprintable():
        raise Rejected(
            "event_id_invalid",
            f"事件编号须为 1 到 {MAX_EVENT_ID_CHARS} 个可见字符",
            f"the event id must have 1 to {MAX_EVENT_ID_CHARS} printable characters",
            field="id",
        )
    return cleaned


def _version(version: int) -> int:
    if not 0 <= version < 2**63:
        raise Rejected(
            "version_range",
            "版本号须为 0 到 2^63-1 的整数",
            "the version must be from 0 to 2^63-1",
            field="order.version",
        )
    return version


def _occurred_at_ms(event: wire.Event, received_at_ms: int) -> int:
    occurred = _time_ms(event.occurred_at, "occurred_at")
    return received_at_ms if occurred is None else occurred


def _paid_at_ms(order: wire.Order, *, required: bool) -> int | None:
    if order.paid_at is None and required:
        raise Rejected(
            "paid_at_missing", "缺少付款时间", "the payment time is missing", field="order.paid_at"
        )
    return _time_ms(order.paid_at, "order.paid_at")


def _amount_fen(order: wire.Order, lines: Sequence[ShopLine]) -> int:
    amount = intake.total_fen(lines) if order.amount_fen is None else order.amount_fen
    intake.check_amount(amount, field="order.amount_fen")
    return amount


def _time_ms(time: datetime | None, field: str) -> int | None:
    if time is None:
        return None
    return intake.check_time_ms((time - _EPOCH) // _MILLISECOND, field=field)


def _refusal(message: str) -> Rejected:
    """msgspec's words about a shape as a stable code and the path of the field."""
    path = _AT_PATH.search(message)
    field = path[1] if path else ""
    missing = _MISSING_FIELD.search(message)
    if missing:
        field = f"{field}.{missing[1]}" if field else missing[1]
        return Rejected("field_missing", "缺少必填字段", "a required field is missing", field=field)
    if "timezone" in message:
        return Rejected(
            "time_without_zone",
            "时间必须带时区，例如 2026-11-21T10:00:00+08:00",
            "a time must carry a zone, as in 2026-11-21T10:00:00+08:00",
            field=field,
        )
    if "RFC3339" in message or "datetime" in message:
        return Rejected("time_broken", "时间格式不正确", "this is not an ISO time", field=field)
    return Rejected(
        "field_type", "字段类型不正确", _AT_PATH.sub("", message) or "wrong type", field=field
    )
