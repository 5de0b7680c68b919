"""CSV text: UTF-8 with or without a mark, or GB18030, never a mixture of both.

GB18030 reads almost any bytes as some Chinese, so a file that was glued together from two
encodings would come in as nonsense without a word: lines are compared first.
This module must not know what columns mean.
"""

from __future__ import annotations

import csv
import io
import re

from cloud_core.domain.sheet import MAX_COLUMNS, MAX_ROWS, SheetRow
from protocols.errors import Rejected

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_CHINESE = re.compile(r"[一-鿿]")
_DELIMITERS = (",", "\t", ";")
_SNIFFED_LINES = 20


def read_rows(raw: bytes) -> list[SheetRow]:
    """The rows that hold anything; row numbers are physical lines where a row begins.

    Raises `Rejected`: `encoding_unknown`, `encoding_mixed`, `file_broken`, `too_many_rows`,
    `too_many_columns`.
    """
    text = decode(raw)
    rows: list[SheetRow] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    started_at = 1
    try:
        for cells in reader:
            stripped = tuple(cell.strip() for cell in cells)
            if any(stripped):
                _check_shape(len(rows), stripped, started_at)
                rows.append(SheetRow(started_at, stripped[:MAX_COLUMNS]))
            started_at = reader.line_num + 1
    except csv.Error as broken:
        raise Rejected(
            "file_broken",
            f"CSV 从第 {started_at} 行起无法解析（多半是引号不成对）",
            f"the CSV cannot be read from line {started_at} on: {broken}",
            field=f"row {started_at}",
        ) from broken
    return rows


def decode(raw: bytes) -> str:
    """The text of a CSV file. Raises `Rejected` `encoding_unknown` or `encoding_mixed`."""
    if raw.startswith(_UTF16_MARKS) or b"\x00" in raw:
        raise _unknown("文件是 UTF-16 或二进制内容", "the file is UTF-16 or not text")
    try:
        return raw.removeprefix(_UTF8_MARK).decode("utf-8")
    except UnicodeDecodeError as not_utf8:
        if raw.startswith(_UTF8_MARK):
            raise _mixed(raw, not_utf8.start + len(_UTF8_MARK)) from not_utf8
    mixed_at = _first_mixed_byte(raw)
    if mixed_at is not None:
        raise _mixed(raw, mixed_at)
    try:
        return raw.decode("gb18030")
    except UnicodeDecodeError as broken:
        line = raw.count(b"\n", 0, broken.start) + 1
        raise _unknown(
            f"第 {line} 行既不是 UTF-8 也不是 GB18030",
            f"line {line} is neither UTF-8 nor GB18030",
            line=line,
        ) from broken


def _first_mixed_byte(raw: bytes) -> int | None:
    """Where the first line of the minority begins when some lines are UTF-8 Chinese, some not."""
    at = 0
    utf8_at: int | None = None
    other_at: int | None = None
    for line in raw.split(b"\n"):
        if not line.isascii():
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                other_at = at if other_at is None else other_at
            else:
                if _CHINESE.search(text):
                    utf8_at = at if utf8_at is None else utf8_at
        at += len(line) + 1
    if utf8_at is None or other_at is None:
        return None
    return max(utf8_at, other_at)


def _delimiter(text: str) -> str:
    """The candidate that appears most often in the first lines; a comma if none does."""
    head = "".join(text.splitlines(keepends=True)[:_SNIFFED_LINES])
    return max(_DELIMITERS, key=head.count)


def _check_shape(rows_before: int, cells: tuple[str, ...], number: int) -> None:
    if rows_before >= MAX_ROWS + 1:
        raise too_many_rows()
    if len(cells) > MAX_COLUMNS and any(cells[MAX_COLUMNS:]):
        raise too_many_columns(f"row {number}")


def too_many_rows() -> Rejected:
    """The refusal of a file that is too long."""
    return Rejected(
        "too_many_rows",
        f"超过 {MAX_ROWS} 行，请拆成多个文件",
        f"more than {MAX_ROWS} rows; split the file",
        field="file",
    )


def too_many_columns(field: str) -> Rejected:
    """The refusal of a file that is too wide."""
    return Rejected(
        "too_many_columns",
        f"超过 {MAX_COLUMNS} 列",
        f"more than {MAX_COLUMNS} columns",
        field=field,
    )


def _mixed(raw: bytes, at: int) -> Rejected:
    line = raw.count(b"\n", 0, at) + 1
    return Rejected(
        "encoding_mixed",
        f"文件混用了 UTF-8 与 GB18030 编码，从第 {line} 行起不一致",
        f"the file mixes UTF-8 and GB18030, first seen on line {line}",
        field=f"row {line}",
    )


def _unknown(zh: str, en: str, line: int = 1) -> Rejected:
    return Rejected("encoding_unknown", f"{zh}，请存为 UTF-8", en, field=f"row {line}")
