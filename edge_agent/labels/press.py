"""Fields in, printer bytes out: one printer's templates, resolution and language.

Implements `ports.LabelMaker`. The language is a function handed in by bootstrap, so that drawing
never knows which printer stands behind it.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from edge_agent.domain.label import PaperFields, PictureFields, RawFields
from edge_agent.labels.draw import Renderer
from edge_agent.labels.picture import opened
from edge_agent.labels.samples import SAMPLES
from edge_agent.labels.template import DOTS_PER_MM, Template
from protocols.errors import Rejected

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)


class Framing(Protocol):
    """A printer language's picture command, e.g. `printers.tspl.frame`."""

    def __call__(
        self, image: Image, width_mm: int, height_mm: int, *, job_tag: str = ""
    ) -> bytes: ...


class LabelPress:
    """One printer's papers. Not thread-safe: it shares the renderer's caches.

    The first template gives the size of the stock. `raw` passes on finished bytes of `language`
    (of any, to a printer that only passes bytes on); `width_dots` is what the print head reaches
    (0 = not known).
    """

    def __init__(
        self,
        renderer: Renderer,
        templates: Template | Sequence[Template],
        framing: Framing,
        dpi: int = 203,
        *,
        language: str = "",
        raw: Callable[[bytes], bytes] | None = None,
        width_dots: int = 0,
    ) -> None:
        given = (templates,) if isinstance(templates, Template) else tuple(templates)
        self._renderer = renderer
        self._stock = given[0]
        self._templates = {template.kind: template for template in reversed(given)}
        self._framing = framing
        self._dpi = dpi
        self._language = language
        self._raw = raw
        self._width_dots = width_dots

    @property
    def stock_kind(self) -> str:
        """The kind of the template that gives the stock's size."""
        return self._stock.kind

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of paper this printer has a template for."""
        return tuple(sorted(self._templates))

    def framed(self, fields: PaperFields, job_tag: str = "") -> bytes:
        """See `ports.LabelMaker.framed`."""
        if isinstance(fields, RawFields):
            return self._passed_on(fields)
        image = self.drawn(fields)
        if self._width_dots and image.size[0] > self._width_dots:
            raise Rejected(
                "print_too_wide",
                f"图宽 {image.size[0]} 点, 打印头只有 {self._width_dots} 点",
                "picture is wider than the print head",
                field="image",
            )
        dots = DOTS_PER_MM[self._dpi]
        size = -(-image.size[0] // dots), -(-image.size[1] // dots)
        return self._framing(image, *size, job_tag=job_tag)

    def drawn(self, fields: PaperFields) -> Image:
        """The picture, mode "1". Raises `Rejected` for a kind without template or a bad picture."""
        if isinstance(fields, RawFields):
            raise Rejected(
                "label_raw", "原始打印数据没有预览图", "raw has no picture", field="data"
            )
        if isinstance(fields, PictureFields):
            dots = DOTS_PER_MM[self._dpi]
            room = self._stock.width_mm * dots, self._stock.height_mm * dots
            return opened(fields.png, *room)
        template = self._templates.get(fields.kind)
        if template is None:
            raise Rejected(
                "label_no_template",
                f"这台打印机没有“{fields.kind}”的模板",
                "this printer has no template for it",
                field="kind",
            )
        for name, chars in self._renderer.missing(fields).items():
            # Not the characters themselves: a rare one may be somebody's name.
            log.warning(
                "label.glyph_missing kind=%s field=%s count=%d", fields.kind, name, len(chars)
            )
        return self._renderer.render(template, fields, self._dpi)

    def preview_png(self, fields: PaperFields) -> bytes:
        """See `ports.LabelMaker.preview_png`."""
        file = io.BytesIO()
        self.drawn(fields).save(file, "PNG")
        return file.getvalue()

    def warm(self) -> None:
        """Load Pillow, the fonts and the usual glyphs before the first real label (~130 ms)."""
        self._renderer.render(self._stock, SAMPLES[self._stock.kind], self._dpi)

    def _passed_on(self, fields: RawFields) -> bytes:
        if self._raw is None or self._language not in (fields.language, "raw"):
            raise Rejected(
                "print_raw_language",
                f"打印数据是 {fields.language}, 这台打印机用 {self._language or '别的语言'}",
                "raw data of another language",
                field="language",
            )
        return self._raw(fields.data)
