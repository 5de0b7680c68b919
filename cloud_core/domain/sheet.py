"""A spreadsheet as plain rows of text: what CSV and XLSX have in common.

Read by `channels.spreadsheet`, understood by the order file dialect and by `domain.master_data`.
This module must not know file formats.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_ROWS = 20_000
MAX_COLUMNS = 64
MAX_CELL_CHARS = 1_000
MAX_HEADER_ROWS_SKIPPED = 20

_FORMULA_STARTS = ("=", "+", "-", "@")


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One row: its 1-based number in the file, and its cells as stripped text.

    `formulas` holds the 0-based columns whose cell is a formula in the file.
    """

    number: int
    cells: tuple[str, ...]
    formulas: frozenset[int] = frozenset()

    def cell(self, column: int) -> str:
        """The text at a 0-based column, "" beyond the row's end."""
        return self.cells[column] if column < len(self.cells) else ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """All rows of one sheet that hold anything, header lines included, in file order."""

    rows: tuple[SheetRow, ...]


def is_formula(text: str) -> bool:
    """Whether a spreadsheet program would run this text: it begins with `=`, `+`, `-` or `@`."""
    return text.startswith(_FORMULA_STARTS)


def header_key(text: str) -> str:
    """A header as it is compared: no blanks, stars or underscores, lower case."""
    folded = text.strip().strip("*＊").replace("（", "(").replace("）", ")").replace("：", "")
    return "".join(folded.split()).replace("_", "").lower()
