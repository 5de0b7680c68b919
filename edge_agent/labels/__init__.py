"""Draws waybills, tickets and slips. `load()` once per process, then `Renderer.render(...)`, or a
`LabelPress` that also frames the picture for one printer.

Importing this package is cheap: Pillow and segno come in with the first label. Nothing here knows
printers, jobs or the journal.
"""

from __future__ import annotations

from edge_agent.labels.draw import Renderer
from edge_agent.labels.fonts import FontBook, find_fallbacks, find_font
from edge_agent.labels.press import LabelPress
from edge_agent.labels.samples import SAMPLE, SAMPLES
from edge_agent.labels.template import Template, parse_template, read_template

__all__ = [
    "SAMPLE",
    "SAMPLES",
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
    fonts = find_font(False, regular_font), find_font(True, bold_font)
    return Renderer(FontBook(*fonts, find_fallbacks()))
