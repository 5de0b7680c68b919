"""A packer's view of the waybill: it reads back, it fits, it never lies about a character."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageFilter

from edge_agent import labels
from edge_agent.domain.label import LabelLine
from edge_agent.labels.fonts import MAX_GLYPH_PIXELS, FontBook, find_font
from edge_agent.labels.layout import fit
from edge_agent.labels.template import parse_template
from protocols.errors import Rejected, Unavailable
from tests.support.labels import FIELDS, TEMPLATE_FILE, fields, renderer, template
from virtual_warehouse.printer import read_codes


def ink(image: Image.Image, box: tuple[int, int, int, int]) -> int:
    return image.crop(box).histogram()[0]


def test_barcode_and_qr_read_back_and_the_size_is_exact() -> None:
    image = renderer().render(template(), FIELDS)
    assert (image.mode, image.size) == ("1", (800, 1200))
    assert set(read_codes(image)) == {
        ("Code128", FIELDS.waybill),
        ("QRCode", FIELDS.tracking_url),
    }


def test_the_same_fields_give_the_same_dots_even_from_cold_caches() -> None:
    warm = renderer().render(template(), FIELDS)
    cold = labels.load().render(template(), FIELDS)
    assert warm.tobytes() == cold.tobytes()


def test_300_dpi_reads_back_too() -> None:
    image = renderer().render(template(), FIELDS, dpi=300)
    assert image.size == (1200, 1800)
    assert ("Code128", FIELDS.waybill) in read_codes(image)


def test_a_reprint_carries_its_mark_and_the_identical_barcode() -> None:
    first = renderer().render(template(), FIELDS)
    again = renderer().render(template(), fields(copy_mark="补打 1 · 10:32 · 台1"))
    changed = ImageChops.logical_xor(first, again).getbbox()
    assert changed is not None
    assert changed[3] <= 300, "the mark stays above the barcode zone"
    assert ("Code128", FIELDS.waybill) in read_codes(again)


@pytest.mark.parametrize("damage", ["dead dots", "blur", "bleed"])
def test_a_badly_printed_waybill_still_scans(damage: str) -> None:
    grey = renderer().render(template(), FIELDS).convert("L")
    if damage == "dead dots":
        for column in (151, 333, 587):
            grey.paste(255, (column, 0, column + 1, 1200))
    elif damage == "blur":
        grey = grey.filter(ImageFilter.GaussianBlur(1.2))
    else:
        grey = grey.filter(ImageFilter.MinFilter(3))
    assert ("Code128", FIELDS.waybill) in read_codes(grey)


def test_quiet_zones_of_the_waybill_are_empty() -> None:
    image = renderer().render(template(), FIELDS)
    row = ImageChops.invert(image.crop((24, 330, 776, 331)).convert("L"))
    bars = row.getbbox()
    assert bars is not None
    assert bars[0] >= 30
    assert row.size[0] - bars[2] >= 30


def test_rare_characters_print_and_unknown_ones_show_their_code_point() -> None:
    rare = renderer().render(template(), fields(receiver_name_masked="𠮷*㐀䶮"))
    gone = renderer().render(template(), fields(receiver_name_masked="\U000323af*"))
    book = FontBook(find_font(False), find_font(True))
    assert all(book.advance(True, char) > 0 for char in "㐀𠮷鿏䶮")
    assert book.advance(True, "\U000323af") < 0
    name_box = (120, 498, 392, 550)
    assert ink(rare, name_box) > 300
    assert ink(gone, name_box) > 300, "a box with U+323AF, not an empty space"


def test_commas_have_the_mainland_shape() -> None:
    book = FontBook(find_font(False), find_font(True))
    comma = book.glyph(False, 48, "，")
    assert comma.mask is not None
    assert comma.dx + comma.mask.size[0] < 24, "low left corner, not the middle of the em"


def test_long_texts_stay_inside_the_frame() -> None:
    image = renderer().render(
        template(),
        fields(
            carrier_name="演示速运" * 10,
            sort_code="W" * 60,
            bag_name="集" * 80,
            receiver_name_masked="测*" * 30,
            receiver_address_masked="演示路" * 90,
            native_order_id="N" * 200,
            lines=tuple(LabelLine(f"SKU-{n:03}", "名" * 80, n + 1) for n in range(40)),
        ),
    )
    assert ink(image, (0, 0, 16, 1200)) == 0
    assert ink(image, (784, 0, 800, 1200)) == 0
    assert ("Code128", FIELDS.waybill) in read_codes(image)


def test_more_goods_than_rows_are_counted_not_dropped() -> None:
    few = tuple(LabelLine(f"SKU-{n}", "茶", 1) for n in range(5))
    many = tuple(LabelLine(f"SKU-{n}", "茶", 1) for n in range(9))
    table = (24, 732, 776, 942)
    full = renderer().render(template(), fields(lines=few)).crop(table)
    cut = renderer().render(template(), fields(lines=many)).crop(table)
    last_row = (200, 170, 560, 206)
    assert ink(cut, last_row) > ink(full, last_row), "“另有 5 种 5 件” stands in the last row"


def test_a_waybill_that_does_not_fit_at_three_dots_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        renderer().render(template(), fields(waybill="ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    assert refused.value.field == "waybill"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("module_dots = 3|module_dots = 2", "module_dots"),
        ("{carrier_name}|{buyer_phone}", "box"),
        ('kind = "qr"|kind = "gif"', "kind"),
        ("x = 4.5|x = 90", "box"),
        ("width_mm = 100|width_mm = 100.5", "width_mm"),
        ("row_mm = 4.25|row_mmm = 4.25", "row_mm"),
        ('align = "right"|align = "diagonal"', "align"),
    ],
)
def test_a_bad_template_is_refused_by_name(change: str, field: str) -> None:
    old, new = change.split("|")
    text = TEMPLATE_FILE.read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(Rejected) as refused:
        parse_template(text.replace(old, new))
    assert field in refused.value.field


def test_no_font_says_what_to_do_in_chinese(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as missing:
        find_font(False, str(tmp_path / "none.otf"))
    assert "fonts-noto-cjk" in missing.value.zh


def test_importing_labels_does_not_import_pillow() -> None:
    code = "import sys, edge_agent.labels; sys.exit('PIL' in sys.modules or 'segno' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=TEMPLATE_FILE.parents[2]).returncode == 0
    )


def test_the_glyph_cache_is_bounded() -> None:
    book = FontBook(find_font(False), find_font(True))
    for code in range(0x4E00, 0x4E00 + 400):
        book.glyph(False, 128, chr(code))
    assert book._pixels <= MAX_GLYPH_PIXELS
    book.rest()
    assert not book._faces


def test_wrapping_keeps_punctuation_and_numbers_together() -> None:
    block = fit(
        "一二三四，五六 SF1234567890 七",
        100,
        400,
        size=24,
        least=24,
        max_lines=9,
        advance=lambda char: 0.5 if char.isascii() else 1.0,
    )
    rows = ["".join(char for char, _x in line.chars) for line in block.lines]
    assert not any(row[0] == "，" for row in rows)
    assert "".join(rows).replace(" ", "") == "一二三四，五六SF1234567890七"
    assert all(line.width <= 100 for line in block.lines)
