"""Draws one paper to a 1-bit picture: the same picture is printed, previewed and tested.

Takes a checked template and masked fields, gives back dots. Knows no printer and no job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge_agent.domain.label import (
    DrawnFields,
    LabelLine,
    assert_masked,
    clean,
    rows,
    text_values,
)
from edge_agent.labels import code128
from edge_agent.labels.fonts import FontBook
from edge_agent.labels.layout import MISSING_EM, Block, fit
from edge_agent.labels.template import (
    DOTS_PER_MM,
    BarcodeBox,
    Box,
    LineBox,
    QrBox,
    RectBox,
    TableBox,
    Template,
    TextBox,
    fill,
    first_place,
)
from protocols.errors import Rejected

if TYPE_CHECKING:
    from PIL.Image import Image

BLACK, WHITE = 0, 1
ASCENT_EM = 0.88
QR_QUIET_MODULES = 4
TRIM_MARGIN_MM = 3


class Renderer:
    """Fonts and caches of one process; not thread-safe, give it to one worker."""

    def __init__(self, fonts: FontBook) -> None:
        self._fonts = fonts

    def render(self, template: Template, fields: DrawnFields, dpi: int = 203) -> Image:
        """Picture of one paper, mode "1", 0 = black; 800 x 1200 for 100 x 150 mm at 203 dpi.

        Deterministic. Raises `Rejected` if a person is not masked, a barcode does not fit at
        3 dots a module, the template is for another kind, or `dpi` is not 180, 203, 300 or 600.
        """
        from PIL import Image, ImageDraw

        if fields.kind != template.kind:
            raise Rejected(
                "label_kind", "模板与单据种类不符", "template kind differs", field="kind"
            )
        assert_masked(fields)
        if dpi not in DOTS_PER_MM:
            raise Rejected("label_dpi", "不支持的打印精度", "unsupported dpi", field="dpi")
        dots = DOTS_PER_MM[dpi]
        image = Image.new("1", (template.width_mm * dots, template.height_mm * dots), WHITE)
        canvas = _Canvas(image, ImageDraw.Draw(image), self._fonts, dots)
        values = text_values(fields)
        table = rows(fields)
        try:
            for box in template.boxes:
                when = getattr(box, "when", "")
                if not when or values[when]:
                    canvas.draw(box, values, table)
        finally:
            self._fonts.rest()
        return _trimmed(image, TRIM_MARGIN_MM * dots) if template.trim else image

    def missing(self, fields: DrawnFields) -> dict[str, str]:
        """Field -> its characters that no font has; they would print as their code points."""
        texts = text_values(fields)
        for line in rows(fields):
            texts["lines"] = texts.get("lines", "") + clean(line.sku + line.name)
        return {
            name: "".join(gone)
            for name, text in texts.items()
            if (gone := sorted({char for char in text if self._fonts.advance(False, char) < 0}))
        }


def _trimmed(image: Image, margin: int) -> Image:
    """Cut below the last ink, so that a short slip wastes no paper."""
    from PIL import ImageChops

    ink = ImageChops.invert(image.convert("L")).getbbox()
    bottom = min(image.size[1], (ink[3] if ink else 0) + margin)
    return image.crop((0, 0, image.size[0], bottom))


class _Canvas:
    """One picture being drawn; millimetres in, dots out."""

    def __init__(self, image: Image, pen: Any, fonts: FontBook, dots: int) -> None:
        self._image = image
        self._pen = pen
        self._fonts = fonts
        self._dots = dots

    def draw(self, box: Box, values: dict[str, str], lines: tuple[LabelLine, ...]) -> None:
        match box:
            case TextBox():
                self._text_box(box, fill(box.text, values))
            case BarcodeBox():
                self._barcode(box, fill(box.text, values))
            case QrBox():
                self._qr(box, fill(box.text, values))
            case LineBox():
                self._line(box)
            case RectBox():
                self._rect(box)
            case TableBox():
                self._table(box, lines)

    def _at(self, mm: float) -> int:
        return round(mm * self._dots)

    def _area(self, x: float, y: float, w: float, h: float) -> tuple[int, int, int, int]:
        """Inclusive corners as Pillow wants them."""
        return self._at(x), self._at(y), self._at(x + w) - 1, self._at(y + h) - 1

    def _advance(self, bold: bool) -> Callable[[str], float]:
        return lambda char: self._fonts.advance(bold, char)

    def _text_box(self, box: TextBox, text: str) -> None:
        if box.invert:
            self._pen.rectangle(self._area(box.x, box.y, box.w, box.h), fill=BLACK)
        if not text.strip():
            return
        block = fit(
            text,
            box.w * self._dots,
            box.h * self._dots,
            size=box.size_mm * self._dots,
            least=box.min_mm * self._dots,
            max_lines=box.lines,
            advance=self._advance(box.bold),
            spacing_em=box.spacing_em,
        )
        self._block(block, box)

    def _block(self, block: Block, box: TextBox) -> None:
        spare = box.h * self._dots - block.height
        drop = {"top": 0.0, "middle": spare / 2, "bottom": spare}[box.valign]
        ink = WHITE if box.invert else BLACK
        for row, line in enumerate(block.lines):
            room = box.w * self._dots - line.width
            indent = {"left": 0.0, "center": room / 2, "right": room}[box.align]
            left = box.x * self._dots + indent
            baseline = box.y * self._dots + drop + row * block.line_height + block.size * ASCENT_EM
            for char, x in line.chars:
                self._char(char, round(left + x), round(baseline), block.size, box.bold, ink)

    def _char(self, char: str, x: int, y: int, size: int, bold: bool, ink: int) -> None:
        if self._fonts.advance(bold, char) < 0:
            self._missing(char, x, y, size, bold, ink)
            return
        glyph = self._fonts.glyph(bold, size, char)
        if glyph.mask is not None:
            self._image.paste(ink, (x + glyph.dx, y + glyph.dy), glyph.mask)

    def _missing(self, char: str, x: int, y: int, size: int, bold: bool, ink: int) -> None:
        """No silent empty box: the code point is written, so that a person can still read it."""
        width, top = round(MISSING_EM * size * 0.96), round(y - ASCENT_EM * size)
        self._pen.rectangle((x, top, x + width - 1, top + size - 1), outline=ink)
        block = fit(
            f"U+{ord(char):04X}",
            width - 4,
            size - 2,
            size=size * 0.6,
            least=12,
            max_lines=1,
            advance=self._advance(bold),
        )
        for line in block.lines:
            left = x + (width - line.width) / 2
            baseline = round(top + size / 2 + block.size * 0.37)
            for letter, shift in line.chars:
                self._char(letter, round(left + shift), baseline, block.size, bold, ink)

    def _barcode(self, box: BarcodeBox, text: str) -> None:
        bars = code128.widths(text)
        total = sum(bars) + 2 * code128.QUIET_MODULES
        room = int(box.w * self._dots)
        # A dot is finer at 300 dpi: there a module may have more of them, as wide on paper.
        most = max(box.max_dots * self._dots // DOTS_PER_MM[203], box.module_dots)
        module = min(most, room // total)
        if module < box.module_dots and box.or_qr:
            side = min(box.w, box.h)
            self._qr(QrBox(box.x + (box.w - side) / 2, box.y, side, box.text), text)
            return
        if module < box.module_dots:
            raise Rejected(
                "barcode_too_long",
                f"条码放不下: 需要 {total * box.module_dots} 点, 只有 {room} 点",
                "barcode does not fit",
                field=first_place(box.text) or "barcode",
            )
        x = self._at(box.x) + (room - sum(bars) * module) // 2
        top, bottom = self._at(box.y), self._at(box.y + box.h) - 1
        for place, width in enumerate(bars):
            if place % 2 == 0:
                self._pen.rectangle((x, top, x + width * module - 1, bottom), fill=BLACK)
            x += width * module

    def _qr(self, box: QrBox, text: str) -> None:
        import segno

        matrix = segno.make(text, error="m", micro=False).matrix
        room = int(box.size * self._dots)
        module = room // (len(matrix) + 2 * QR_QUIET_MODULES)
        if module < 2:
            raise Rejected(
                "qr_too_long",
                "二维码内容太长",
                "QR text too long",
                field=first_place(box.text) or "qr",
            )
        spare = (room - len(matrix) * module) // 2
        left, top = self._at(box.x) + spare, self._at(box.y) + spare
        small = _bits(matrix)
        side = len(matrix) * module
        self._image.paste(small.resize((side, side)), (left, top))

    def _line(self, box: LineBox) -> None:
        thick = max(1, self._at(box.width_mm))
        x, y, x2, y2 = (self._at(mm) for mm in (box.x, box.y, box.x2, box.y2))
        across = x2 - x >= y2 - y
        length = max(x2 - x, y2 - y)
        dash = self._at(box.dash_mm) or length
        for start in range(0, length, dash * 2):
            stop = min(start + dash, length) - 1
            if across:
                self._pen.rectangle((x + start, y, x + stop, y + thick - 1), fill=BLACK)
            else:
                self._pen.rectangle((x, y + start, x + thick - 1, y + stop), fill=BLACK)

    def _rect(self, box: RectBox) -> None:
        area = self._area(box.x, box.y, box.w, box.h)
        inner = BLACK if box.fill else None
        width = max(1, self._at(box.width_mm))
        radius = self._at(box.radius_mm)
        self._pen.rounded_rectangle(area, radius, fill=inner, outline=BLACK, width=width)

    def _table(self, box: TableBox, lines: tuple[LabelLine, ...]) -> None:
        top = 1 if box.head else 0
        room = int(box.h / box.row_mm + 1e-6) - top
        shown = lines if len(lines) <= room else lines[: room - 1]
        if box.head:
            self._row(box, 0, {column.field: column.title for column in box.columns}, head=True)
        for place, line in enumerate(shown):
            cells = {
                "no": str(place + 1),
                "sku": clean(line.sku),
                "name": clean(line.name),
                "qty": f"×{line.qty}" if line.qty else "",
                "serial": clean(", ".join(line.serials)),
            }
            self._row(box, place + top, cells)
        hidden = lines[len(shown) :]
        if hidden:
            pieces = sum(line.qty for line in hidden)
            more = (
                f"另有 {len(hidden)} 种 {pieces} 件, 见拣货单"
                if pieces
                else f"另有 {len(hidden)} 行"
            )
            self._row(box, len(shown) + top, {"name": more})

    def _row(self, box: TableBox, row: int, cells: dict[str, str], head: bool = False) -> None:
        x = box.x
        for column in box.columns:
            cell = TextBox(
                x=x + 0.5,
                y=box.y + row * box.row_mm,
                w=column.w - 1,
                h=box.row_mm,
                text="",
                size_mm=box.min_mm + 0.25 if head else box.size_mm,
                min_mm=box.min_mm,
                bold=column.bold and not head,
                align=column.align,
                lines=1 if head else column.lines,
            )
            self._text_box(cell, cells.get(column.field, ""))
            x += column.w
        if head:
            y = box.y + box.row_mm
            self._line(LineBox(box.x, y - 0.25, box.x + box.w, y - 0.25, 0.125))


def _bits(matrix: Any) -> Image:
    from PIL import Image

    side = len(matrix)
    small = Image.new("1", (side, side), WHITE)
    small.putdata([BLACK if dark else WHITE for row in matrix for dark in row])
    return small
