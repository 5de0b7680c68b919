"""Master data from spreadsheets: eleven kinds of table, headers in Chinese or English.

`read_table` takes rows of text and gives values and a report that names row and column; good rows
go through whatever stands beside them. Whether a row refers to something that exists is the
store's to say. This module must not know file formats or SQL.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloud_core.domain import master_data as md
from cloud_core.domain.master_data import MasterValue
from cloud_core.domain.master_fields import Field, site
from cloud_core.domain.master_kinds import KINDS, TableKind
from cloud_core.domain.sheet import (
    MAX_CELL_CHARS,
    MAX_HEADER_ROWS_SKIPPED,
    Sheet,
    SheetRow,
    header_key,
    is_formula,
)
from cloud_core.domain.shop_order import RowProblem
from protocols.errors import Rejected


@dataclass(frozen=True, slots=True)
class TableRead:
    """The values of the good rows with their row numbers, and why the others were refused."""

    values: tuple[MasterValue, ...]
    row_numbers: tuple[int, ...]
    problems: tuple[RowProblem, ...]
    titles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """How the file calls its columns, by our names."""


def read_table(kind: str, sheet: Sheet) -> TableRead:
    """The values of one table; `kind` is a key of `KINDS`.

    Raises `Rejected` for the whole table: `kind_unknown`, `header_missing`, `header_unknown`,
    `header_twice`, `column_missing`. Row codes: `formula_cell`, `cell_too_long`, `cell_missing`,
    `duplicate_row`, `duplicate_barcode` and those of `master_fields`.
    """
    table = KINDS.get(kind)
    if table is None:
        raise Rejected(
            "kind_unknown",
            f"没有这种主数据：{kind[:40]}",
            f"no such kind of master data; one of {', '.join(KINDS)}",
            field="kind",
        )
    header, columns = _find_header(table, sheet)
    values: list[MasterValue] = []
    numbers: list[int] = []
    problems: list[RowProblem] = []
    seen: dict[tuple[str, ...], int] = {}
    for row in sheet.rows:
        if row.number <= header.number:
            continue
        try:
            value = _read_row(table, row, header, columns)
            check_new(kind, value, row.number, seen, lambda name: header.cells[columns[name]])
        except Rejected as refused:
            problems.append(_problem(row, refused))
        else:
            values.append(value)
            numbers.append(row.number)
    titles = {name: header.cells[at] for name, at in columns.items()}
    return TableRead(tuple(values), tuple(numbers), tuple(problems), titles)


def read_mapping(kind: str, fields: Mapping[str, str]) -> MasterValue:
    """One value from field names and texts: what the REST door hands over.

    Raises `Rejected` naming the field.
    """
    table = KINDS.get(kind)
    if table is None:
        raise Rejected("kind_unknown", "没有这种主数据", "no such kind", field="kind")
    known = {field.name for field in table.fields}
    for name in fields:
        if name not in known:
            raise Rejected("field_unknown", "没有这个字段", "no such field", field=name[:40])
    given: dict[str, object] = {}
    for field in table.fields:
        value = _read_cell(field, fields.get(field.name, ""), field.name)
        if value is not None:
            given[field.name] = value
    return _build(table, given)


def _find_header(table: TableKind, sheet: Sheet) -> tuple[SheetRow, dict[str, int]]:
    names = {header_key(word): field.name for field in table.fields for word in field.headers}
    names.update({header_key(field.name): field.name for field in table.fields})
    for row in sheet.rows[: MAX_HEADER_ROWS_SKIPPED + 1]:
        known = [names[key] for key in map(header_key, row.cells) if key in names]
        if len(set(known)) >= min(2, len(table.fields)) and not row.cell(0).startswith("#"):
            return row, _columns_of(table, row, names)
    raise Rejected(
        "header_missing",
        f"找不到“{table.title_zh}”表的表头行",
        f"no header line of a {table.name} table was found",
        field="row 1",
    )


def _columns_of(table: TableKind, row: SheetRow, names: Mapping[str, str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for at, header in enumerate(row.cells):
        if not header:
            continue
        name = names.get(header_key(header))
        if name is None:
            raise Rejected(
                "header_unknown",
                f"“{table.title_zh}”表不认识列名“{header[:40]}”",
                f"unknown header {header[:40]!r} in a {table.name} table",
                field=header[:40],
            )
        if name in columns:
            raise Rejected(
                "header_twice",
                f"列“{header[:40]}”出现两次",
                f"{header[:40]!r} is there twice",
                field=header[:40],
            )
        columns[name] = at
    missing = [f.headers[0] for f in table.fields if f.required and f.name not in columns]
    if missing:
        raise Rejected(
            "column_missing",
            f"缺少列：{'、'.join(missing)}",
            f"missing columns: {', '.join(missing)}",
            field=missing[0],
        )
    return columns


def _read_row(
    table: TableKind, row: SheetRow, header: SheetRow, columns: Mapping[str, int]
) -> MasterValue:
    given: dict[str, object] = {}
    for field in table.fields:
        at = columns.get(field.name)
        if at is None:
            continue
        title = header.cells[at]
        if at in row.formulas:
            raise _formula(title)
        value = _read_cell(field, row.cell(at), title)
        if value is not None:
            given[field.name] = value
    return _build(table, given)


def _read_cell(field: Field, cell: str, title: str) -> object | None:
    """The value of a cell, None when it is empty and the field's default holds."""
    stripped = cell.strip()
    if not stripped:
        if field.required:
            raise Rejected("cell_missing", "此列必填", "this column must be filled", field=title)
        return None
    if is_formula(stripped) and not (stripped[0] in "+-" and stripped[1:2].isdigit()):
        raise _formula(title)
    if len(stripped) > MAX_CELL_CHARS:
        raise Rejected(
            "cell_too_long",
            f"单元格超过 {MAX_CELL_CHARS} 个字符",
            f"the cell is longer than {MAX_CELL_CHARS} characters",
            field=title,
        )
    return field.read(stripped, title)


def _build(table: TableKind, given: dict[str, object]) -> MasterValue:
    if table.build is md.Warehouse and "site" not in given:
        given["site"] = site(str(given["id"]).lower(), "id")
    return table.build(**given)


def check_new(
    kind: str,
    value: MasterValue,
    number: int,
    seen: dict[tuple[str, ...], int],
    title_of: Callable[[str], str],
) -> None:
    """Note in `seen` what row `number` is about; `title_of` is how the sender calls a field.

    Raises `Rejected` `duplicate_row`, `duplicate_barcode` when an earlier row was about it.
    """
    table = KINDS[kind]
    keys = {tuple(str(getattr(value, name)) for name in table.key): table.key[0]}
    if isinstance(value, md.Sku):
        keys.update({("barcode", barcode): "barcodes" for barcode in value.barcodes})
    for key, name in keys.items():
        if key in seen:
            is_barcode = name == "barcodes"
            raise Rejected(
                "duplicate_barcode" if is_barcode else "duplicate_row",
                f"与第 {seen[key]} 行重复",
                f"the same as in row {seen[key]}",
                field=title_of(name),
            )
    seen.update(dict.fromkeys(keys, number))


def _formula(title: str) -> Rejected:
    return Rejected(
        "formula_cell",
        "单元格是公式，或以 = + - @ 开头，拒绝导入",
        "the cell is a formula or begins with = + - @",
        field=title,
    )


def _problem(row: SheetRow, refused: Rejected) -> RowProblem:
    return RowProblem(row.number, refused.code, refused.field, refused.zh, refused.en)
