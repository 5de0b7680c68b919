"""Papers that say nothing about anybody: test print, warm-up and template check."""

from __future__ import annotations

from edge_agent.domain.label import (
    BoxLabelFields,
    DrawnFields,
    LabelFields,
    LabelLine,
    NoticeFields,
    ReturnTicketFields,
)

SAMPLE = LabelFields(
    waybill="TEST0000000001",
    carrier_name="测试承运",
    sort_code="000-000-00 000",
    bag_name="测试集包地",
    receiver_name_masked="测*",
    receiver_phone_masked="100******00",
    receiver_address_masked="北京上海浙江江苏广东省市区县镇街道路弄号楼单元室测试一二三四五六七八九十*****",
    sender_name="测试仓",
    sender_phone="100******00",
    sender_address="测试省测试市测试区测试路 1 号",
    order_id="DB0000TEST0000",
    native_order_id="TEST-0123456789",
    lines=(LabelLine("TEST-01", "测试商品", 1),),
    created="2000-01-01 00:00",
    warehouse="测试仓",
    station="1 号台",
    tracking_url="https://example.test/t/0123456789",
    weight="0.00 kg",
)

RETURN_SAMPLE = ReturnTicketFields(
    ticket="RT20000101000001",
    order_id="DB0000TEST0000",
    native_order_id="TEST-0123456789",
    contact_name_masked="测*",
    contact_phone_masked="100******00",
    window="2000-01-02 14:00–16:00",
    lines=(
        LabelLine("TEST-01", "测试商品", 1, ("SN00000000000001",)),
        LabelLine("TEST-02", "测试配件", 2),
    ),
    created="2000-01-01 00:00",
    warehouse="测试仓",
    station="1 号台",
    reason="测试",
    accept_by="2000-01-01 04:00",
    waybill="TEST0000000002",
)
BOX_SAMPLE = BoxLabelFields(
    box="BX0000000001",
    title="测试周转箱",
    lines=(LabelLine("TEST-01", "测试商品", 12),),
    created="2000-01-01 00:00",
    warehouse="测试仓",
    station="1 号台",
    place="1/2",
    order_id="DB0000TEST0000",
    destination="测试目的地",
)
NOTICE_SAMPLE = NoticeFields(
    title="打印测试",
    lines=("这张纸不含任何人的信息", "条码和二维码应能扫出", "左右边框应完整, 文字清晰"),
    created="2000-01-01 00:00",
    warehouse="测试仓",
    code="TEST-0001",
    qr="https://example.test/t/0123456789",
    qr_note="扫码检查",
)
SAMPLES: dict[str, DrawnFields] = {
    sample.kind: sample for sample in (SAMPLE, RETURN_SAMPLE, BOX_SAMPLE, NOTICE_SAMPLE)
}
"""Kind of paper -> its sample."""
