"""A label's layout as data: boxes in millimetres, read from TOML and checked before any use.

The design of a label lives in `firmware_configs/labels/*.toml`; this module only knows what boxes
exist and what a sound template is. Pure apart from `read_template`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

from edge_agent.domain.label import COMPUTED_FIELDS, TEXT_FIELDS_OF
from protocols.errors import Rejected

MIN_MODULE_DOTS = 3
MAX_BOXES = 200
MAX_MM = 320.0
DOTS_PER_MM = {180: 7, 203: 8, 300: 12, 600: 24}
_PLACE = re.compile(r"\{([a-z_]+)\}")
_ALIGNS = ("left", "center", "right")
_VALIGNS = ("top", "middle", "bottom")
_COLUMNS = ("no", "sku", "name", "qty", "serial")


@dataclass(frozen=True, slots=True)
class TextBox:
    """Text that shrinks from `size_mm` to `min_mm` (em height) and wraps to `lines`, then ends "…".

    `invert` draws white on black; `spacing_em` is added between characters; `when` names a field
    that must not be empty for the box to be drawn.
    """

    x: float
    y: float
    w: float
    h: float
    text: str
    size_mm: float
    min_mm: float = 2.25
    bold: bool = False
    align: str = "left"
    valign: str = "middle"
    lines: int = 1
    invert: bool = False
    spacing_em: float = 0.0
    when: str = ""


@dataclass(frozen=True, slots=True)
class BarcodeBox:
    """Code 128, centred; the widest module between `module_dots` (>= 3) and `max_dots` that fits.

    Misreads with a valid check character were seen at 2 dots and never at 3. `or_qr`: a text too
    long for the box at 3 dots becomes a QR code instead of an error (our own numbers only).
    """

    x: float
    y: float
    w: float
    h: float
    text: str
    module_dots: int = MIN_MODULE_DOTS
    max_dots: int = 4
    or_qr: bool = False
    when: str = ""


@dataclass(frozen=True, slots=True)
class QrBox:
    """A QR code in a `size` x `size` square, quiet zone of 4 modules included."""

    x: float
    y: float
    size: float
    text: str
    when: str = ""


@dataclass(frozen=True, slots=True)
class LineBox:
    """A straight horizontal or vertical line; `dash_mm` > 0 draws it dashed."""

    x: float
    y: float
    x2: float
    y2: float
    width_mm: float = 0.25
    dash_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class RectBox:
    x: float
    y: float
    w: float
    h: float
    width_mm: float = 0.25
    radius_mm: float = 0.0
    fill: bool = False
    when: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A table column: `field` is no, sku, name, qty or serial; `w` in mm; wraps to `lines`."""

    field: str
    title: str
    w: float
    align: str = "left"
    bold: bool = False
    lines: int = 1


@dataclass(frozen=True, slots=True)
class TableBox:
    """The goods: a head row and as many rows as fit; the rest is counted in a last row.

    `head = false` leaves the head row out (slips of text lines).
    """

    x: float
    y: float
    w: float
    h: float
    row_mm: float
    size_mm: float
    columns: tuple[Column, ...]
    min_mm: float = 2.25
    head: bool = True


Box = TextBox | BarcodeBox | QrBox | LineBox | RectBox | TableBox
_KINDS: dict[str, type[Any]] = {
    "text": TextBox,
    "code128": BarcodeBox,
    "qr": QrBox,
    "line": LineBox,
    "rect": RectBox,
    "table": TableBox,
}


@dataclass(frozen=True, slots=True)
class Template:
    """A checked layout. Sizes are whole millimetres so that they can be told to a printer.

    `kind` is the paper whose fields it may name; `trim` ends the paper below the last ink
    (continuous rolls).
    """

    name: str
    width_mm: int
    height_mm: int
    boxes: tuple[Box, ...]
    kind: str = "waybill"
    trim: bool = False


def read_template(path: Path) -> Template:
    """Load and check one template file. Raises `Rejected` naming the place that is wrong."""
    try:
        return parse_template(path.read_text(encoding="utf-8"))
    except OSError as missing:
        raise _bad(f"读不到面单模板 {path.name}", "template") from missing


def parse_template(toml_text: str) -> Template:
    """TOML text into a checked `Template`. Raises `Rejected` (code `label_template`)."""
    try:
        data = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as broken:
        raise _bad(f"模板不是合法的 TOML: {broken}", "template") from broken
    unknown = set(data) - {"name", "kind", "trim", "width_mm", "height_mm", "box"}
    if unknown:
        raise _bad("模板有不认识的键", sorted(unknown)[0])
    kind, trim = data.get("kind", "waybill"), data.get("trim", False)
    if kind not in TEXT_FIELDS_OF:
        raise _bad("不认识的纸张种类", "kind")
    if not isinstance(trim, bool):
        raise _bad("类型不对", "trim")
    width, height = data.get("width_mm"), data.get("height_mm")
    if not (isinstance(width, int) and isinstance(height, int) and 0 < width <= MAX_MM):
        raise _bad("模板缺少整毫米的宽高", "width_mm")
    if width * DOTS_PER_MM[203] % 8 or not 0 < height <= 1200:
        raise _bad("模板宽高超限", "height_mm")
    raw_boxes = data.get("box", [])
    if not isinstance(raw_boxes, list) or not 0 < len(raw_boxes) <= MAX_BOXES:
        raise _bad(f"模板要有 1 到 {MAX_BOXES} 个框", "box")
    boxes = tuple(_box(raw, f"box[{place}]") for place, raw in enumerate(raw_boxes))
    template = Template(str(data.get("name", "")), width, height, boxes, kind, trim)
    for place, box in enumerate(boxes):
        _lint(template, box, f"box[{place}]")
    return template


def first_place(text: str) -> str:
    """The first field a template text names, "" if it names none."""
    found = _PLACE.search(text)
    return found.group(1) if found else ""


def fill(text: str, values: dict[str, str]) -> str:
    """`{field}` places of a template text filled in; values are inserted once, never parsed."""
    return _PLACE.sub(lambda place: values[place.group(1)], text)


def _box(raw: Any, where: str) -> Box:
    kind = raw.get("kind") if isinstance(raw, dict) else None
    if kind not in _KINDS:
        raise _bad("不认识的框类型", f"{where}.kind")
    values = {key: value for key, value in raw.items() if key != "kind"}
    if kind == "table":
        columns = values.get("columns", [])
        values["columns"] = tuple(
            _build(Column, column, f"{where}.columns[{place}]")
            for place, column in enumerate(columns)
        )
    box: Box = _build(_KINDS[kind], values, where)
    return box


def _build(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    made: dict[str, Any] = {}
    for field in dataclass_fields(kind):
        if field.name not in values:
            if field.default is MISSING:
                raise _bad("缺少必填项", f"{where}.{field.name}")
            continue
        value = values[field.name]
        wanted: Any = {"float": (int, float), "int": int, "str": str, "bool": bool}.get(
            str(field.type), tuple
        )
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise _bad("类型不对", f"{where}.{field.name}")
        made[field.name] = value
    unknown = set(values) - set(made)
    if unknown:
        raise _bad("不认识的键", f"{where}.{sorted(unknown)[0]}")
    return kind(**made)


def _lint(template: Template, box: Box, where: str) -> None:
    right, bottom = _far_corner(box)
    if min(box.x, box.y) < 0 or right > template.width_mm or bottom > template.height_mm:
        raise _bad("框超出了纸面", where)
    names = _PLACE.findall(getattr(box, "text", ""))
    if when := getattr(box, "when", ""):
        names.append(when)
    for name in names:
        if name not in TEXT_FIELDS_OF[template.kind] and name not in COMPUTED_FIELDS:
            raise _bad(f"没有名为 {name} 的字段", where)
    if isinstance(box, BarcodeBox) and not MIN_MODULE_DOTS <= box.module_dots <= box.max_dots <= 8:
        raise _bad(f"条码模块不能小于 {MIN_MODULE_DOTS} 点", f"{where}.module_dots")
    if isinstance(box, TextBox):
        if box.align not in _ALIGNS or box.valign not in _VALIGNS:
            raise _bad("对齐方式不对", f"{where}.align")
        if not 1.5 <= box.min_mm <= box.size_mm <= 60 or not 1 <= box.lines <= 20:
            raise _bad("字号或行数超限", f"{where}.size_mm")
    if isinstance(box, TableBox):
        _lint_table(box, where)


def _lint_table(box: TableBox, where: str) -> None:
    for column in box.columns:
        known = column.field in _COLUMNS and column.align in _ALIGNS
        if not known or not 1 <= column.lines <= 4:
            raise _bad("表格列不对", f"{where}.columns")
    if sum(column.w for column in box.columns) > box.w + 0.01 or box.row_mm * 2 > box.h:
        raise _bad("表格放不下", where)


def _far_corner(box: Box) -> tuple[float, float]:
    if isinstance(box, LineBox):
        return max(box.x, box.x2), max(box.y, box.y2)
    if isinstance(box, QrBox):
        return box.x + box.size, box.y + box.size
    return box.x + box.w, box.y + box.h


def _bad(zh: str, field: str) -> Rejected:
    return Rejected("label_template", f"面单模板有误: {zh}", "bad label template", field=field)
