"""XLSX: the archive is inspected before a reader opens it, formulas are found, then rows read.

An XLSX file is a zip of XML (ECMA-376): a small one can unpack to gigabytes, and one cell at the
last row and column makes a reader allocate the whole grid. Both are refused on the directory and
on the cells' coordinates. This module must not know what columns mean.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from datetime import date, datetime, time, timedelta
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from python_calamine import CalamineError, CalamineWorkbook

from cloud_core.channels.spreadsheet.csv_text import too_many_columns, too_many_rows
from cloud_core.domain.sheet import MAX_COLUMNS, MAX_ROWS, SheetRow
from protocols.errors import Rejected

MAX_UNPACKED_BYTES = 100 * 1024 * 1024
MAX_RATIO = 200
MAX_ENTRIES = 200
RATIO_FREE_BYTES = 1024 * 1024  # small files may compress as well as they like
MAX_EXACT_INTEGER = 10**15  # a spreadsheet keeps 15 digits; longer numbers were already rounded

_WORKBOOK = "xl/workbook.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_STRICT = "{http://purl.oclc.org/ooxml/spreadsheetml/main}"
_REL_ID = re.compile(r"\}id$")
_ROW = re.compile(rb'<(?:\w+:)?row\b[^<>]*?\br="(\d+)"')
_CELL = re.compile(rb'<(?:\w+:)?c\b[^<>]*?\br="([A-Z]+)(\d+)"')
_CELL_START = re.compile(rb"<(?:\w+:)?c[ />]")
_FORMULA_CELL = re.compile(rb'<(?:\w+:)?c\b[^<>]*?\br="([A-Z]+)(\d+)"[^<>]*>\s*<(?:\w+:)?f\b')
_FORMULA = re.compile(rb"<(?:\w+:)?f[ />]")

Value = int | float | str | bool | time | date | datetime | timedelta


def read_rows(raw: bytes) -> list[SheetRow]:
    """The rows that hold anything of the first visible sheet, cells as text.

    Numbers come as the shortest text, whole ones without a point; dates as `YYYY-MM-DD HH:MM:SS`.
    Raises `Rejected`: `file_broken`, `zip_bomb`, `too_many_rows`, `too_many_columns`,
    `formula_cell` when a formula's place cannot be told.
    """
    parts = _unpack(raw)
    name, sheet_xml = _first_sheet(parts)
    _check_grid(sheet_xml)
    formulas = _formula_cells(sheet_xml)
    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(raw)) as book:
            sheet = book.get_sheet_by_name(name)
            values = sheet.to_python(skip_empty_area=False)
    except (CalamineError, ValueError, OSError) as broken:
        raise _broken(str(broken)) from broken
    rows = []
    for number, line in enumerate(values, start=1):
        cells = tuple(_text(value) for value in line[:MAX_COLUMNS])
        in_row = formulas.get(number, frozenset())
        if any(cells) or in_row:
            rows.append(SheetRow(number, cells, in_row))
    if len(rows) > MAX_ROWS + 1:
        raise too_many_rows()
    return rows


def _unpack(raw: bytes) -> dict[str, bytes]:
    """Every entry, read within the sizes its directory promised. Refuses bombs before reading."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            _check_directory(entries)
            # Reading stops at the promised size and checks the sum: a directory that lies about
            # sizes is found here, not in the reader that would believe the stream.
            return {entry.filename: archive.read(entry) for entry in entries}
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
        OSError,
    ) as broken:  # fmt: skip
        raise _broken(str(broken)) from broken


def _check_directory(entries: list[zipfile.ZipInfo]) -> None:
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    too_dense = unpacked > RATIO_FREE_BYTES and unpacked > packed * MAX_RATIO
    if len(entries) > MAX_ENTRIES or unpacked > MAX_UNPACKED_BYTES or too_dense:
        raise Rejected(
            "zip_bomb",
            f"压缩包展开后过大（{unpacked} 字节、{len(entries)} 个条目），拒绝打开",
            f"the archive unpacks to {unpacked} bytes in {len(entries)} entries; not opened",
            field="file",
        )


def _first_sheet(parts: dict[str, bytes]) -> tuple[str, bytes]:
    """Name and XML of the first visible sheet, found as the standard says: id, then relation."""
    try:
        book = fromstring(parts[_WORKBOOK], forbid_dtd=True)
        relations = fromstring(parts[_RELATIONS], forbid_dtd=True)
        targets = {r.get("Id"): r.get("Target") or "" for r in relations}
        for sheet in [*book.iter(f"{_MAIN}sheet"), *book.iter(f"{_STRICT}sheet")]:
            if sheet.get("state", "visible") == "visible":
                rel_id = next(v for k, v in sheet.attrib.items() if _REL_ID.search(k))
                target = targets[rel_id]
                path = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
                return sheet.attrib["name"], parts[path]
    except (KeyError, StopIteration, ParseError, DefusedXmlException) as broken:
        raise _broken(str(broken)) from broken
    raise _broken("no visible sheet")


def _check_grid(sheet_xml: bytes) -> None:
    if b"<!DOCTYPE" in sheet_xml or b"<!ENTITY" in sheet_xml:
        raise _broken("a document type in a sheet")
    if len(_CELL_START.findall(sheet_xml)) > (MAX_ROWS + 1) * MAX_COLUMNS:
        raise too_many_rows()
    cells = _CELL.findall(sheet_xml)
    last_row = max((int(number[:9]) for number in _ROW.findall(sheet_xml)), default=0)
    last_row = max(last_row, max((int(number[:9]) for _, number in cells), default=0))
    if last_row > MAX_ROWS * 2:  # blank rows between are allowed, the grid is allocated whole
        raise too_many_rows()
    widest = max((_column(letters) for letters in {letters for letters, _ in cells}), default=0)
    if widest >= MAX_COLUMNS:
        raise too_many_columns(f"column {widest + 1}")


def _formula_cells(sheet_xml: bytes) -> dict[int, frozenset[int]]:
    """0-based columns that hold a formula, by 1-based row."""
    found: dict[int, set[int]] = {}
    count = 0
    for match in _FORMULA_CELL.finditer(sheet_xml):
        found.setdefault(int(match[2][:9]), set()).add(_column(match[1]))
        count += 1
    if len(_FORMULA.findall(sheet_xml)) != count:
        raise Rejected(
            "formula_cell",
            "文件含有公式，请把公式粘贴为数值后重传",
            "the file holds formulas; paste them as values",
            field="file",
        )
    return {row: frozenset(columns) for row, columns in found.items()}


def _column(letters: bytes) -> int:
    """0-based column of `A`, `AB`…; more than three letters count as far beyond any limit."""
    if len(letters) > 3:
        return 1 << 20
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number_text(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return str(value)


def _number_text(value: float) -> str:
    """Whole numbers without a point; from 16 digits on in scientific notation: digits are lost."""
    if value.is_integer() and abs(value) < MAX_EXACT_INTEGER:
        return str(int(value))
    if abs(value) >= MAX_EXACT_INTEGER:
        return f"{value:.5E}"
    return repr(value)


def _broken(why: str) -> Rejected:
    return Rejected(
        "file_broken",
        "文件已损坏或不是有效的 XLSX",
        f"the file is damaged or not a valid XLSX: {why[:200]}",
        field="file",
    )
