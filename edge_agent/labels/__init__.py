"""Draws waybills. `load()` once per process, then `Renderer.render(template, fields)`,
or a `LabelPress` that also frames the picture for one printer.

Importing this package is cheap: Pillow and segno come in with the first label. Nothing here knows
printers, jobs or the journal.
"""

from __future__ import annotations

from edge_agent.labels.draw import Renderer
from edge_agent.labels.fonts import FontBook, find_font
from edge_agent.labels.press import SAMPLE, LabelPress
from edge_agent.labels.template import Template, parse_template, read_template

__all__ = [
    "SAMPLE",
    "LabelPress",
    "Renderer",
    "Template",
    "load",
    "parse_template",
    "read_template",
]


def load(regular_font: str = "", bold_font: str = "") -> Renderer:
    """A renderer with the configured fonts ("" = look for them).

    Raises `Unavailable` (code `label_font`) with the fix in Chinese when there is no font.
    """
    return Renderer(FontBook(find_font(False, regular_font), find_font(True, bold_font)))
