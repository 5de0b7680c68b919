"""Fields in, printer bytes out: one template, one resolution, one printer language.

Implements `ports.LabelMaker`. The language is a function handed in by bootstrap, so that drawing
never knows which printer stands behind it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Protocol

from edge_agent.domain.label import LabelFields, LabelLine
from edge_agent.labels.draw import Renderer
from edge_agent.labels.template import Template

if TYPE_CHECKING:
    from PIL.Image import Image


class Framing(Protocol):
    """A printer language's picture command, e.g. `printers.tspl.frame`."""

    def __call__(
        self, image: Image, width_mm: int, height_mm: int, *, job_tag: str = ""
    ) -> bytes: ...


class LabelPress:
    """One printer's labels. Not thread-safe: it shares the renderer's caches."""

    def __init__(
        self, renderer: Renderer, template: Template, framing: Framing, dpi: int = 203
    ) -> None:
        self._renderer = renderer
        self._template = template
        self._framing = framing
        self._dpi = dpi

    def framed(self, fields: LabelFields, job_tag: str = "") -> bytes:
        """See `ports.LabelMaker.framed`."""
        image = self._renderer.render(self._template, fields, self._dpi)
        size = self._template.width_mm, self._template.height_mm
        return self._framing(image, *size, job_tag=job_tag)

    def preview_png(self, fields: LabelFields) -> bytes:
        """See `ports.LabelMaker.preview_png`."""
        file = io.BytesIO()
        self._renderer.render(self._template, fields, self._dpi).save(file, "PNG")
        return file.getvalue()

    def warm(self) -> None:
        """Load Pillow, the fonts and the usual glyphs before the first real label (~130 ms)."""
        self._renderer.render(self._template, SAMPLE, self._dpi)


SAMPLE = LabelFields(
    waybill="TEST0000000001",
    carrier_name="测试承运",
    sort_code="000-000-00 000",
    bag_name="测试集包地",
    receiver_name_masked="测*",
    receiver_phone_masked="100******00",
    receiver_address_masked="北京上海浙江江苏广东省市区县镇街道路弄号楼单元室测试一二三四五六七八九十*****",
    sender_name="测试仓",
    sender_phone="100******00",
    sender_address="测试省测试市测试区测试路 1 号",
    order_id="DB0000TEST0000",
    native_order_id="TEST-0123456789",
    lines=(LabelLine("TEST-01", "测试商品", 1),),
    created="2000-01-01 00:00",
    warehouse="测试仓",
    station="1 号台",
    tracking_url="https://example.test/t/0123456789",
    weight="0.00 kg",
)
"""A label that says nothing about anybody: test print, warm-up and template check."""
