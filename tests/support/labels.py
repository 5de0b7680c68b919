"""Labels for tests: obviously made-up people, one template, one renderer for the whole run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from edge_agent import labels
from edge_agent.domain.label import LabelFields, LabelLine

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE_FILE = ROOT / "firmware_configs" / "labels" / "waybill-100x150.toml"

FIELDS = LabelFields(
    waybill="YT8800012345678",
    carrier_name="演示速运",
    sort_code="342-081-00 052",
    bag_name="华东集散 上海浦东",
    receiver_name_masked="测**",
    receiver_phone_masked="100******01",
    receiver_address_masked="上海市浦东新区演示街道测试路*号*幢*室，请放门口",
    sender_name="演示仓发货部",
    sender_phone="400-000-0000",
    sender_address="浙江省杭州市余杭区演示镇测试大道 1 号",
    order_id="DB2026K7Q2M9XA",
    native_order_id="demo-20260102-0001",
    lines=(
        LabelLine("TEA-LJ-250", "龙井绿茶 250g 礼盒装", 2),
        LabelLine("CUP-01", "白瓷盖碗 150ml", 1),
    ),
    created="2026-01-02 10:32",
    warehouse="演示一仓",
    station="3 号台",
    tracking_url="https://track.example.test/t/AbCdEf0123456789",
    weight="1.25 kg",
)


def fields(**changes: Any) -> LabelFields:
    """The sample label with some fields changed."""
    return replace(FIELDS, **changes)


@cache
def template() -> labels.Template:
    return labels.read_template(TEMPLATE_FILE)


@cache
def renderer() -> labels.Renderer:
    return labels.load()
