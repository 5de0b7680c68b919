"""From the bytes of an uploaded file to rows of text, with every bound checked first.

What the file is decides its content, not its name. This module must not know what columns mean.
"""

from __future__ import annotations

from cloud_core.channels.spreadsheet import csv_text, xlsx
from cloud_core.domain.sheet import Sheet
from protocols.errors import Rejected

MAX_FILE_BYTES = 10 * 1024 * 1024

_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # .xls, and .xlsx with a password


def read_sheet(raw: bytes, file_name: str) -> Sheet:
    """All rows that hold anything of a CSV file, or of the first visible sheet of an XLSX file.

    Bounds: 10 MB, 20,000 rows, 64 columns; longer cells are kept and refused by row later.
    Raises `Rejected`: `file_too_large`, `file_empty`, `file_type`, `file_broken`, `zip_bomb`,
    `encoding_unknown`, `encoding_mixed`, `too_many_rows`, `too_many_columns`.
    """
    if len(raw) > MAX_FILE_BYTES:
        raise Rejected(
            "file_too_large",
            f"文件 {len(raw)} 字节，超过上限 {MAX_FILE_BYTES} 字节",
            f"the file has {len(raw)} bytes, the limit is {MAX_FILE_BYTES}",
            field="file",
        )
    if raw.startswith(_OLE) or file_name.lower().endswith((".xls", ".et", ".ods")):
        raise Rejected(
            "file_type",
            "只支持 CSV 与 XLSX（不带密码），请另存为 .xlsx 后重传",
            "only CSV and XLSX without a password are read; save the file as .xlsx",
            field="file",
        )
    if raw.startswith((_ZIP, _EMPTY_ZIP)) or file_name.lower().endswith(".xlsx"):
        rows = xlsx.read_rows(raw)
    else:
        rows = csv_text.read_rows(raw)
    if not rows:
        raise Rejected("file_empty", "文件没有内容", "the file is empty", field="file")
    return Sheet(tuple(rows))
