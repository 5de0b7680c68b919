"""Cards and sheets to print on an office printer: codes with a line of words, as one web page.

Each code is a Code 128 symbol as SVG, so that a one-line scanner reads it too. Knows no scanner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from edge_agent.labels import code128

MODULE_MM = 0.375
"""Three dots at 203 dpi: at two, blurred symbols were misread with a valid checksum."""
QUIET_MODULES = 10
HEIGHT_MM = 14


@dataclass(frozen=True, slots=True)
class Card:
    """One code (1..48 printable ASCII characters, "" for a line of text only) and its words."""

    title_zh: str
    code: str = ""
    small_zh: str = ""


def page(title_zh: str, cards: Sequence[Card]) -> str:
    """A whole HTML page, A4, nothing fetched from anywhere. Raises `Rejected` for a bad code."""
    body = "\n".join(_card(one) for one in cards)
    return (
        f'<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>{escape(title_zh)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title_zh)}</h1><main>\n{body}\n</main></html>\n"
    )


def _card(card: Card) -> str:
    code = f"{_symbol(card.code)}<code>{escape(card.code)}</code>" if card.code else ""
    small = f"<p>{escape(card.small_zh)}</p>" if card.small_zh else ""
    return f"<section><h2>{escape(card.title_zh)}</h2>{code}{small}</section>"


def _symbol(text: str) -> str:
    """The symbol with its quiet zones, in real millimetres."""
    bars, at, dark = [], QUIET_MODULES, True
    for width in code128.widths(text):
        if dark:
            bars.append(f"M{at} 0h{width}v1h-{width}z")
        at, dark = at + width, not dark
    total = at + QUIET_MODULES
    return (
        f'<svg width="{total * MODULE_MM:.2f}mm" height="{HEIGHT_MM}mm" viewBox="0 0 {total} 1" '
        f'preserveAspectRatio="none" shape-rendering="crispEdges"><path d="{"".join(bars)}"/></svg>'
    )


_STYLE = (
    "@page{size:A4;margin:12mm}body{font-family:sans-serif;margin:0}h1{font-size:16pt}"
    "main{display:flex;flex-wrap:wrap;gap:6mm}"
    "section{border:1px solid #999;padding:3mm;break-inside:avoid;min-width:80mm}"
    "h2{font-size:13pt;margin:0 0 2mm}p{margin:1mm 0;font-size:10pt;max-width:110mm}"
    "svg{display:block}code{font-size:10pt}"
)
