"""The eleven tables of master data: their columns, headers in Chinese and English, and keys.

A new column is one line here. This module must not know files, rows or SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloud_core.domain import master_data as md
from cloud_core.domain.master_data import MasterValue
from cloud_core.domain.master_fields import (
    Field,
    barcodes,
    code,
    cut_off,
    fen,
    grams,
    hours,
    number,
    one_of,
    pattern,
    phone,
    province,
    region,
    regions,
    site,
    tags,
    text,
    waybill_number,
    yes,
)


@dataclass(frozen=True, slots=True)
class TableKind:
    """One kind of table: its fields, how a value is made of them, and what identifies a row."""

    name: str
    title_zh: str
    fields: tuple[Field, ...]
    build: Callable[..., MasterValue]
    key: tuple[str, ...]


_WAREHOUSE = Field("warehouse", ("仓库编码", "仓库", "warehouse"), code, required=True)
_SKU = Field("sku", ("商品编码", "SKU", "sku编码", "货号"), code, required=True)
_CARRIER = Field(
    "carrier", ("快递编码", "承运商编码", "快递", "承运商", "carrier"), code, required=True
)
_ANY_WAREHOUSE = Field("warehouse", ("仓库编码", "仓库", "warehouse"), code)
_REGION = Field("region", ("地区", "目的地", "目的省", "省份", "区划代码", "region"), region)
_ENABLED = Field("enabled", ("启用", "是否启用", "enabled"), yes)

_BAND_G = grams(0, md.MAX_WEIGHT_G)
_STEP_G = grams(1, md.MAX_WEIGHT_G)
_PRICE = fen(0, md.MAX_FREIGHT_FEN)

KINDS: Mapping[str, TableKind] = {
    kind.name: kind
    for kind in (
        TableKind(
            "skus",
            "商品",
            (
                Field("id", ("商品编码", "SKU", "sku编码", "货号", "id"), code, required=True),
                Field("name", ("商品名称", "名称", "品名", "name"), text(), required=True),
                Field("barcodes", ("条码", "商品条码", "barcode", "barcodes"), barcodes),
                Field(
                    "weight_g",
                    ("重量(克)", "重量g", "重量", "weight g"),
                    number(0, md.MAX_WEIGHT_G),
                ),
                Field(
                    "volume_cm3",
                    ("体积(立方厘米)", "体积cm3", "体积", "volume cm3"),
                    number(0, md.MAX_VOLUME_CM3),
                ),
                Field("category", ("类目", "分类", "品类", "category"), text()),
                Field("serial", ("序列号管理", "管理序列号", "序列号", "serial"), yes),
                Field("tags", ("标签", "商品标签", "tags"), tags),
            ),
            md.Sku,
            ("id",),
        ),
        TableKind(
            "shelf_locations",
            "库位",
            (
                _WAREHOUSE,
                _SKU,
                Field("location", ("库位", "货位", "location"), text(), required=True),
            ),
            md.ShelfLocation,
            ("warehouse", "sku"),
        ),
        TableKind(
            "warehouses",
            "仓库",
            (
                Field("id", ("仓库编码", "编码", "id"), code, required=True),
                Field("site", ("站点", "site"), site),
                Field("name", ("仓库名称", "名称", "name"), text(), required=True),
                Field("division", ("区划代码", "行政区划", "division"), text(12)),
                Field("address", ("地址", "仓库地址", "发货地址", "address"), text()),
                Field("sender_name", ("发货人", "寄件人", "联系人", "sender name"), text()),
                Field("sender_phone", ("发货电话", "寄件电话", "电话", "sender phone"), phone),
                Field("priority", ("优先级", "priority"), number(0, md.MAX_PRIORITY)),
                Field("hours", ("作业时间", "工作时间", "营业时间", "hours"), hours),
                Field("carrier", ("默认快递", "快递编码", "快递", "carrier"), code),
                Field("print_on", ("打印时机", "print on"), one_of(md.PRINT_ON)),
                _ENABLED,
                Field(
                    "capacity_per_day",
                    ("日产能", "每日产能", "日发货上限", "capacity per day"),
                    number(0, md.MAX_CAPACITY_PER_DAY),
                ),
                Field("cut_off", ("截单时间", "cut off"), cut_off),
                Field("regions", ("发货地区", "覆盖地区", "regions"), regions),
            ),
            md.Warehouse,
            ("id",),
        ),
        TableKind(
            "agents",
            "工作台代理",
            (
                Field("id", ("代理编码", "编码", "id", "agent"), site, required=True),
                _WAREHOUSE,
                Field("name", ("名称", "代理名称", "name"), text()),
                _ENABLED,
            ),
            md.Agent,
            ("id",),
        ),
        TableKind(
            "stations",
            "工位",
            (
                Field("id", ("工位编码", "编码", "id", "station"), site, required=True),
                Field("agent", ("代理编码", "所属代理", "agent id"), site, required=True),
                Field("name", ("名称", "工位名称", "name"), text()),
            ),
            md.Station,
            ("id",),
        ),
        TableKind(
            "carriers",
            "快递公司",
            (
                Field("id", ("快递编码", "编码", "id", "carrier"), code, required=True),
                Field("name", ("快递名称", "名称", "name"), text(), required=True),
                Field("kind", ("取号方式", "kind"), one_of(md.CARRIER_KINDS)),
                Field(
                    "transit_days",
                    ("默认时效(天)", "时效天数", "时效", "transit days"),
                    number(0, md.MAX_TRANSIT_DAYS),
                ),
                Field("pattern", ("单号规则", "运单号规则", "pattern"), pattern),
            ),
            md.Carrier,
            ("id",),
        ),
        TableKind(
            "transit_days",
            "时效",
            (
                _CARRIER,
                _WAREHOUSE,
                Field("province", ("省份", "省", "目的省", "province"), province, required=True),
                Field(
                    "days",
                    ("天数", "时效(天)", "时效", "days"),
                    number(0, md.MAX_TRANSIT_DAYS),
                    required=True,
                ),
            ),
            md.TransitDays,
            ("carrier", "warehouse", "province"),
        ),
        TableKind(
            "carrier_service",
            "快递服务范围",
            (
                _CARRIER,
                _ANY_WAREHOUSE,
                _REGION,
                Field("served", ("是否送达", "送达", "可达", "served"), yes),
                Field(
                    "days",
                    ("天数", "时效(天)", "时效", "days"),
                    number(0, md.MAX_TRANSIT_DAYS),
                ),
            ),
            md.CarrierService,
            ("carrier", "warehouse", "region"),
        ),
        TableKind(
            "freight",
            "运费",
            (
                _CARRIER,
                _ANY_WAREHOUSE,
                _REGION,
                Field("from_g", ("起始重量(kg)", "起始重量(克)"), _BAND_G),
                Field("up_to_g", ("截止重量(kg)", "截止重量(克)"), _BAND_G),
                Field("first_g", ("首重(kg)", "首重(克)"), _STEP_G, required=True),
                Field("first_fen", ("首重价(元)", "首重价", "首重价(分)"), _PRICE, required=True),
                Field("step_g", ("续重(kg)", "续重(克)"), _STEP_G, required=True),
                Field("step_fen", ("续重价(元)", "续重价", "续重价(分)"), _PRICE, required=True),
            ),
            md.FreightBand,
            ("carrier", "warehouse", "region", "from_g"),
        ),
        TableKind(
            "opening_stock",
            "期初库存",
            (
                _WAREHOUSE,
                _SKU,
                Field(
                    "quantity",
                    ("数量", "期初数量", "库存", "quantity"),
                    number(0, md.MAX_STOCK),
                    required=True,
                ),
                Field("safety", ("安全库存", "safety"), number(0, md.MAX_STOCK)),
            ),
            md.OpeningStock,
            ("warehouse", "sku"),
        ),
        TableKind(
            "waybill_numbers",
            "运单号",
            (
                _CARRIER,
                Field(
                    "number",
                    ("运单号", "快递单号", "单号", "number"),
                    waybill_number,
                    required=True,
                ),
            ),
            md.WaybillNumber,
            ("number",),
        ),
    )
}
