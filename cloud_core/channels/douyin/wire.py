"""The shapes of a Douyin push, as far as we read them; unknown fields are ignored.

The platform sends ids now as numbers, now as text, and leaves out what is empty. Amounts are fen,
times are seconds. The order attached as `shop_order_detail` has the shape of `order.orderDetail`;
it is put there by the relay that runs inside the platform's cloud, as a bare push carries only
the order's number.
"""

from __future__ import annotations

import msgspec

Id = int | str


class Message(msgspec.Struct):
    """One element of the push array; `data` is JSON as text."""

    tag: Id
    msg_id: Id = ""
    data: str = ""


class Named(msgspec.Struct):
    """A division or street."""

    name: str = ""
    id: Id = ""


class Address(msgspec.Struct):
    """`town` is the district, `street` the township."""

    province: Named | None = None
    city: Named | None = None
    town: Named | None = None
    street: Named | None = None
    detail: str = ""
    encrypt_detail: str = ""


class SkuOrder(msgspec.Struct):
    """One line of the order."""

    order_id: Id = ""
    out_sku_id: str = ""
    code: str = ""
    item_num: int = 0
    origin_amount: int = 0
    product_name: str = ""
    given_product_type: str = ""
    order_type: int = 0
    goods_type: int = 0


class OrderDetail(msgspec.Struct):
    """The order as `order.orderDetail` returns it."""

    order_id: Id = ""
    order_status: int = 0
    order_status_desc: str = ""
    order_type: int = 0
    pay_time: int = 0
    update_time: int = 0
    pay_amount: int = 0
    exp_ship_time: int = 0
    buyer_words: str = ""
    post_receiver: str = ""
    post_tel: str = ""
    post_addr: Address | None = None
    mask_post_receiver: str = ""
    mask_post_tel: str = ""
    mask_post_addr: Address | None = None
    encrypt_post_receiver: str = ""
    encrypt_post_tel: str = ""
    open_address_id: str = ""
    sku_order_list: list[SkuOrder] = []


class ReceiverMessage(msgspec.Struct):
    """The new receiver of tag 105; `addr` is JSON as text."""

    addr: str = ""
    name: str = ""
    tel: str = ""
    encrypt_name: str = ""
    encrypt_tel: str = ""
    open_address_id: str = ""


class Data(msgspec.Struct):
    """What `Message.data` holds, over all tags."""

    p_id: Id = ""
    order_status: int = 0
    pay_time: int = 0
    pay_amount: int = 0
    create_time: int = 0
    cancel_time: int = 0
    update_time: Id = 0
    apply_time: int = 0
    success_time: int = 0
    aftersale_id: Id = ""
    receiver_msg: ReceiverMessage | None = None
    shop_order_detail: OrderDetail | None = None
