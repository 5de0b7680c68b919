"""Code 128: short, right, readable by an independent decoder."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from edge_agent.labels import code128
from protocols.errors import Rejected
from virtual_warehouse.printer import read_codes

printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=24)


def picture(text: str, module: int = 3) -> Image.Image:
    bars = code128.widths(text)
    quiet = code128.QUIET_MODULES * module
    image = Image.new("L", (sum(bars) * module + 2 * quiet, 60), 255)
    pen, x = ImageDraw.Draw(image), quiet
    for place, width in enumerate(bars):
        if place % 2 == 0:
            pen.rectangle((x, 0, x + width * module - 1, 59), fill=0)
        x += width * module
    return image


@given(printable)
@settings(max_examples=150, deadline=None)
def test_every_printable_text_reads_back(text: str) -> None:
    assert ("Code128", text) in read_codes(picture(text))


@pytest.mark.parametrize(
    ("text", "modules"),
    # 15-character express numbers take 145 modules, 14 digits 112 (published optimum).
    [("SF1040000123456", 145), ("YT8800012345678", 145), ("73144233224145", 112), ("A", 46)],
)
def test_as_few_modules_as_possible(text: str, modules: int) -> None:
    assert code128.modules(text) == modules


@given(st.text("0123456789AB", min_size=1, max_size=9))
@settings(max_examples=200, deadline=None)
def test_never_longer_than_any_choice_of_code_sets(text: str) -> None:
    def shortest(rest: str, in_c: bool) -> int:
        if not rest:
            return 0
        pair = len(rest) >= 2 and rest[:2].isdigit()
        as_b = 1 + shortest(rest[1:], False) + in_c
        as_c = 1 + shortest(rest[2:], True) + (not in_c) if pair else as_b
        return min(as_b, as_c)

    best = min(shortest(text, False), shortest(text, True))
    assert len(code128.values(text)) == best + 2


@pytest.mark.parametrize("text", ["", "中文", "A\nB", "é", "x" * 49])
def test_what_cannot_be_a_barcode_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        code128.values(text)
    assert refused.value.field == "barcode"
