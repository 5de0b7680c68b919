"""Which column of an order file is which of our fields: a table of words, and the channel's own.

The header line is looked for, because exports put titles and remarks above it. A header that
nobody knows is an error that names it: an order file with a column we silently dropped is worse
than one that is refused. This module must not know what the cells mean.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from cloud_core.domain.sheet import MAX_HEADER_ROWS_SKIPPED, Sheet, SheetRow, header_key
from cloud_core.domain.shop_order import ShopEventKind
from protocols.errors import Rejected

IGNORED = "-"
ALL_OTHERS = "*"
REQUIRED = ("native_id", "name", "phone", "sku", "quantity")
_MIN_KNOWN_HEADERS = 2
_NOT_A_HEADER = re.compile(r"^[#-]")


@dataclass(frozen=True, slots=True)
class Words:
    """The shipped table: field by header key, the label of a field, kind by state word."""

    fields: Mapping[str, str]
    labels: Mapping[str, str]
    kinds: Mapping[str, ShopEventKind]


@dataclass(frozen=True, slots=True)
class Columns:
    """Where each field stands: its 0-based column, and its header as the file writes it."""

    at: Mapping[str, int]
    headers: Mapping[str, str]
    header_row: int

    def header(self, field: str) -> str:
        """The header of a field as the sender wrote it; our own label for a missing column."""
        return self.headers.get(field) or shipped_words().labels.get(field, field)


@cache
def shipped_words() -> Words:
    """The table that comes with this dialect."""
    text = resources.files("cloud_core.channels.spreadsheet").joinpath("columns.toml")
    source = tomllib.loads(text.read_text("utf-8"))
    return Words(
        fields={header_key(h): field for field, hs in source["headers"].items() for h in hs},
        labels=source["labels"],
        kinds={w: ShopEventKind(kind) for kind, ws in source["status"].items() for w in ws},
    )


def mappable_fields() -> frozenset[str]:
    """What a channel's mapping may name: our fields, and `-` for a column to ignore."""
    return frozenset(shipped_words().fields.values()) | {IGNORED}


def find_columns(sheet: Sheet, own: Mapping[str, str]) -> Columns:
    """The columns of an order file. `own` maps headers to fields, `-` ignores, `*` is the rest.

    Raises `Rejected`: `header_missing`, `header_unknown` naming it, `header_twice`,
    `column_missing` naming the field, `mapping_broken` when `own` names no field of ours.
    """
    words = shipped_words()
    mapping = dict(words.fields)
    known = mappable_fields()
    for header, target in own.items():
        if target not in known:
            raise Rejected(
                "mapping_broken",
                f"渠道的列映射指向不存在的字段：{target}",
                f"the channel's mapping names no field of ours: {target}",
                field=header,
            )
        mapping[ALL_OTHERS if header == ALL_OTHERS else header_key(header)] = target
    row = _header_row(sheet, mapping)
    columns = _read_header(row, mapping)
    _check_required(columns)
    return columns


def _header_row(sheet: Sheet, mapping: Mapping[str, str]) -> SheetRow:
    """The first of the leading rows with the most headers we know, at least two."""
    best: SheetRow | None = None
    best_known = _MIN_KNOWN_HEADERS - 1
    for row in sheet.rows[: MAX_HEADER_ROWS_SKIPPED + 1]:
        if _NOT_A_HEADER.match(row.cell(0)):
            continue
        known = len({mapping[key] for key in map(header_key, row.cells) if key in mapping})
        if known > best_known:
            best, best_known = row, known
    if best is None:
        raise Rejected(
            "header_missing",
            "找不到表头行（至少要有单号、商品编码、数量等列）",
            "no header line was found",
            field="row 1",
        )
    return best


def _read_header(row: SheetRow, mapping: Mapping[str, str]) -> Columns:
    at: dict[str, int] = {}
    headers: dict[str, str] = {}
    for column, header in enumerate(row.cells):
        if not header:
            continue
        field = mapping.get(header_key(header)) or mapping.get(ALL_OTHERS)
        if field is None:
            raise Rejected(
                "header_unknown",
                f"不认识的列名“{header[:40]}”，请在渠道的列映射中指定或忽略它",
                f"unknown header {header[:40]!r}: map or ignore it in the channel's mapping",
                field=header[:40],
            )
        if field == IGNORED:
            continue
        if field in at:
            raise Rejected(
                "header_twice",
                f"“{headers[field]}”与“{header[:40]}”是同一个字段",
                f"{headers[field]!r} and {header[:40]!r} are the same field",
                field=header[:40],
            )
        at[field], headers[field] = column, header[:40]
    return Columns(at, headers, row.number)


def _check_required(columns: Columns) -> None:
    missing = [field for field in REQUIRED if field not in columns.at]
    if "address" not in columns.at and "detail" not in columns.at:
        missing.append("address")
    if missing:
        names = "、".join(columns.header(field) for field in missing)
        raise Rejected(
            "column_missing", f"缺少列：{names}", f"missing columns: {missing}", field=names
        )
