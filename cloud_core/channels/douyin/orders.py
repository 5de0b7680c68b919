"""From a Douyin push to our words: one function for each way a push tells of an order.

Called by `dialect` on decoded values. This module must not know bytes or signatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloud_core.channels.douyin import wire
from cloud_core.channels.douyin.tags import Tag, TagTable
from cloud_core.domain import intake
from cloud_core.domain.shop_order import Division, Receiver, ShopEvent, ShopEventKind, ShopLine
from cloud_core.ports import Divide
from protocols.errors import Rejected

GIFT = "FREE"
_DETAIL = "data.shop_order_detail."
_CIPHER_MARKS = ("#", "$", "~")


@dataclass(frozen=True, slots=True)
class Push:
    """What is known of a message beside its data."""

    channel: str
    dedupe_key: str
    received_at_ms: int
    divide: Divide


def from_detail(
    tag: Tag, data: wire.Data, detail: wire.OrderDetail, push: Push, table: TagTable
) -> ShopEvent:
    """A created or paid order; one with nothing to ship becomes a `native_status`."""
    native_id = _native_id(data.p_id or detail.order_id)
    if _needs_no_shipping(detail, table):
        nothing = Tag(ShopEventKind.NATIVE_STATUS, f"{tag.name}·无需发货", needs_detail=False)
        return from_push(nothing, data, push)
    lines = _lines(detail.sku_order_list, table)
    receiver, division = _receiver(detail, push.divide)
    paid_at_ms = _time_ms(detail.pay_time or data.pay_time, "pay_time")
    if tag.kind is ShopEventKind.PAID and paid_at_ms is None:
        raise Rejected(
            "paid_at_missing",
            "缺少付款时间",
            "the payment time is missing",
            field=f"{_DETAIL}pay_time",
        )
    amount_fen = detail.pay_amount or data.pay_amount
    intake.check_amount(amount_fen, field=f"{_DETAIL}pay_amount")
    occurred_at_ms = _occurred_at_ms(data, push)
    return ShopEvent(
        channel=push.channel,
        native_id=native_id,
        dedupe_key=push.dedupe_key,
        kind=tag.kind,
        version=_time_ms(detail.update_time, "update_time") or occurred_at_ms,
        occurred_at_ms=occurred_at_ms,
        native_status=detail.order_status_desc or str(detail.order_status or data.order_status),
        paid_at_ms=paid_at_ms,
        amount_fen=amount_fen,
        lines=lines,
        receiver=receiver,
        division=division,
        remark=intake.clean_text(detail.buyer_words, intake.MAX_REMARK_CHARS),
        ship_deadline_ms=_time_ms(detail.exp_ship_time, "exp_ship_time"),
    )


def from_push(tag: Tag, data: wire.Data, push: Push) -> ShopEvent:
    """A message that only names its order: cancel, after-sale, a state of the platform's."""
    occurred_at_ms = _occurred_at_ms(data, push)
    return ShopEvent(
        channel=push.channel,
        native_id=_native_id(data.p_id),
        dedupe_key=push.dedupe_key,
        kind=tag.kind,
        version=occurred_at_ms,
        occurred_at_ms=occurred_at_ms,
        native_status=tag.name,
        refund_id=str(data.aftersale_id),
    )


def from_new_receiver(
    tag: Tag, data: wire.Data, message: wire.ReceiverMessage, address: wire.Address, push: Push
) -> ShopEvent:
    """A changed receiver (tag 105)."""
    division = _divide(address, push.divide)
    fields = intake.ReceiverFields(
        name=_clear(message.name),
        phone=_clear(message.tel),
        detail=_with_street(address, _clear(address.detail)),
        name_masked=message.name,
        phone_masked=message.tel,
        detail_masked=address.detail,
        platform_token=message.open_address_id,
        encrypted_name=message.encrypt_name,
        encrypted_phone=message.encrypt_tel,
        encrypted_detail=address.encrypt_detail,
    )
    occurred_at_ms = _occurred_at_ms(data, push)
    return ShopEvent(
        channel=push.channel,
        native_id=_native_id(data.p_id),
        dedupe_key=push.dedupe_key,
        kind=tag.kind,
        version=occurred_at_ms,
        occurred_at_ms=occurred_at_ms,
        native_status=tag.name,
        receiver=intake.make_receiver(fields, prefix="data.receiver_msg."),
        division=division,
    )


def _needs_no_shipping(detail: wire.OrderDetail, table: TagTable) -> bool:
    lines = detail.sku_order_list
    virtual = detail.order_type in table.unshipped_order_types
    return virtual or (bool(lines) and not any(_ships(line, table) for line in lines))


def _ships(line: wire.SkuOrder, table: TagTable) -> bool:
    return (
        line.order_type not in table.unshipped_order_types
        and line.goods_type not in table.unshipped_goods_types
    )


def _lines(all_lines: Sequence[wire.SkuOrder], table: TagTable) -> tuple[ShopLine, ...]:
    intake.check_line_count(len(all_lines), field=f"{_DETAIL}sku_order_list")
    lines = []
    for position, line in enumerate(all_lines):
        if not _ships(line, table):
            continue
        found = ShopLine(
            line_no=position + 1,
            sku=(line.out_sku_id or line.code).strip(),
            quantity=line.item_num,
            price_fen=line.origin_amount,
            title=intake.clean_text(line.product_name, intake.MAX_TITLE_CHARS),
            is_gift=line.given_product_type == GIFT,
        )
        at = f"{_DETAIL}sku_order_list[{position}]."
        intake.check_line(
            found,
            sku_field=f"{at}out_sku_id",
            quantity_field=f"{at}item_num",
            price_field=f"{at}origin_amount",
        )
        lines.append(found)
    return tuple(lines)


def _receiver(detail: wire.OrderDetail, divide: Divide) -> tuple[Receiver, Division]:
    address = detail.post_addr or detail.mask_post_addr
    if address is None:
        raise Rejected(
            "receiver_missing", "缺少收货地址", "no address", field=f"{_DETAIL}post_addr"
        )
    masked = detail.mask_post_addr or address
    fields = intake.ReceiverFields(
        name=_clear(detail.post_receiver),
        phone=_clear(detail.post_tel),
        detail=_with_street(address, _clear(address.detail)),
        name_masked=detail.mask_post_receiver or _shown(detail.post_receiver),
        phone_masked=detail.mask_post_tel or _shown(detail.post_tel),
        detail_masked=_shown(masked.detail),
        platform_token=detail.open_address_id,
        encrypted_name=detail.encrypt_post_receiver,
        encrypted_phone=detail.encrypt_post_tel,
        encrypted_detail=address.encrypt_detail,
    )
    return intake.make_receiver(fields, prefix=_DETAIL), _divide(address, divide)


def _divide(address: wire.Address, divide: Divide) -> Division:
    return divide(
        _name(address.province),
        _name(address.city),
        _name(address.town),
        _name(address.street),
        _clear(address.detail),
    )


def _with_street(address: wire.Address, detail: str) -> str:
    street = _name(address.street)
    return detail if not detail or detail.startswith(street) else street + detail


def _name(named: wire.Named | None) -> str:
    return named.name if named else ""


def _clear(text: str) -> str:
    """The text if a person can read all of it: neither masked nor a cipher (`#…#1##`, `$…$1$$`)."""
    return "" if "*" in text or text.startswith(_CIPHER_MARKS) else text


def _shown(text: str) -> str:
    """The text unless it is a cipher: what a person may see of it."""
    return "" if text.startswith(_CIPHER_MARKS) else text


def _native_id(native_id: wire.Id) -> str:
    return intake.clean_native_id(str(native_id), field="data.p_id")


def _occurred_at_ms(data: wire.Data, push: Push) -> int:
    """The newest time the message names, which is when it happened; else when it came."""
    update = data.update_time if isinstance(data.update_time, int) else 0
    times = (update, data.pay_time, data.cancel_time, data.apply_time, data.success_time)
    newest_s = max((*times, data.create_time))
    return _time_ms(newest_s, "update_time") or push.received_at_ms


def _time_ms(seconds: int, field: str) -> int | None:
    if not seconds:
        return None
    return intake.check_time_ms(seconds * 1000, field=f"data.{field}")
