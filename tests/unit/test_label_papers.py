"""Every kind of paper on every stock: it reads back, hides people, and says what it cannot do."""

import io
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from edge_agent import labels
from edge_agent.domain.label import (
    DrawnFields,
    LabelLine,
    PictureFields,
    RawFields,
    rows,
)
from edge_agent.labels import LabelPress, check
from edge_agent.labels.fonts import FontBook, FontFile, find_font
from edge_agent.labels.template import parse_template
from edge_agent.printers import escpos, raw, tspl
from protocols.errors import Rejected
from tests.support.labels import ROOT, TEMPLATE_FILE, fields, renderer
from virtual_warehouse.printer import read_codes

FOLDER = ROOT / "firmware_configs" / "labels"
FILES = sorted(FOLDER.glob("*.toml"))
SAMPLES = labels.SAMPLES
RETURN = labels.samples.RETURN_SAMPLE
NOTICE = labels.samples.NOTICE_SAMPLE


def read(image: Image.Image) -> set[str]:
    return {text for _kind, text in read_codes(image)}


def template_of(name: str) -> labels.Template:
    return labels.read_template(FOLDER / f"{name}.toml")


def ink(image: Image.Image) -> int:
    return image.convert("L").histogram()[0]


@pytest.mark.parametrize("file", FILES, ids=[path.stem for path in FILES])
def test_every_shipped_template_still_reads_when_printed_badly(file: Path) -> None:
    template = labels.read_template(file)
    assert template.name == file.stem
    assert template.kind == file.stem.rpartition("-")[0].replace("-", "_")
    assert check.codes_of(template, SAMPLES[template.kind])
    assert check.faults(renderer(), template, read) == []


def test_a_print_that_is_too_bad_is_seen_by_the_check() -> None:
    smeared: Any = lambda image: read(image.filter(ImageFilter.GaussianBlur(6)))  # noqa: E731
    found = check.faults(renderer(), template_of("waybill-76x130"), smeared)
    assert any("读不出 TEST0000000001" in line for line in found)


AT_300 = [(path, 300) for path in FILES]
AT_180 = [(path, 180) for path in FILES if path.stem.endswith("-80")]


@pytest.mark.parametrize(
    ("file", "dpi"), AT_300 + AT_180, ids=lambda given: getattr(given, "stem", given)
)
def test_every_paper_reads_at_other_resolutions(file: Path, dpi: int) -> None:
    template = labels.read_template(file)
    image = renderer().render(template, SAMPLES[template.kind], dpi)
    assert image.size[0] == template.width_mm * {180: 7, 300: 12}[dpi]
    assert check.codes_of(template, SAMPLES[template.kind]) <= read(image)


@pytest.mark.parametrize("stock", ["100x150", "76x130", "80"])
def test_a_return_ticket_shows_each_serial_number_in_a_row_of_its_own(stock: str) -> None:
    two = replace(RETURN, lines=(LabelLine("EAR", "耳机", 3, ("SN-A", "SN-B")),))
    assert [(line.qty, line.serials) for line in rows(two)] == [
        (1, ("SN-A",)),
        (1, ("SN-B",)),
        (1, ()),
    ]
    template = template_of(f"return-ticket-{stock}")
    plain = replace(two, lines=(LabelLine("EAR", "耳机", 3),))
    assert ink(renderer().render(template, two)) > ink(renderer().render(template, plain))


@pytest.mark.parametrize("stock", ["100x150", "76x130", "80"])
def test_a_long_ticket_number_becomes_a_qr_code_instead_of_no_paper(stock: str) -> None:
    long = replace(RETURN, ticket="RET-DB2026K7Q2M9XA-1")
    found = read_codes(renderer().render(template_of(f"return-ticket-{stock}"), long))
    assert ("QRCode", long.ticket) in found


def test_a_slip_on_a_roll_ends_below_its_last_line() -> None:
    template = template_of("notice-80")
    short = renderer().render(template, replace(NOTICE, lines=("一行",)))
    long = renderer().render(template, replace(NOTICE, lines=("一行",) * 12))
    full = renderer().render(template, replace(NOTICE, lines=("一行",) * 60))
    assert short.size[1] < long.size[1] < full.size[1] <= template.height_mm * 8


FREE = [("note", RETURN), ("reason", RETURN), ("title", NOTICE), ("qr_note", NOTICE)]


@pytest.mark.parametrize(("field", "paper"), FREE, ids=[name for name, _paper in FREE])
def test_no_paper_carries_a_whole_phone_number(field: str, paper: DrawnFields) -> None:
    bare: Any = replace(paper, **{field: "电话 10000000001"})
    with pytest.raises(Rejected) as refused:
        renderer().render(template_of(f"{paper.kind.replace('_', '-')}-100x150"), bare)
    assert (refused.value.code, refused.value.field) == ("label_not_masked", field)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"contact_name_masked": "测试甲"}, "contact_name_masked"),
        ({"contact_phone_masked": "10000000001"}, "contact_phone_masked"),
        ({"reason": "长" * 301}, "reason"),
        ({"lines": (LabelLine("A", "b", 1),) * 201}, "lines"),
        ({"ticket": "测"}, "barcode"),
    ],
)
def test_a_bad_return_ticket_names_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Rejected) as refused:
        renderer().render(template_of("return-ticket-100x150"), replace(RETURN, **change))
    assert refused.value.field == field


def press(language: str = "tspl", width_dots: int = 0) -> LabelPress:
    names = ("waybill-100x150", "return-ticket-100x150")
    framing = tspl.frame if language == "tspl" else partial(escpos.frame, echo=False)
    templates = [template_of(name) for name in names]
    return LabelPress(
        renderer(), templates, framing, language=language, raw=raw.frame, width_dots=width_dots
    )


def test_one_press_prints_every_kind_it_has_a_template_for() -> None:
    made = press()
    assert made.kinds == ("return_ticket", "waybill")
    assert made.framed(RETURN, "RT-1") != made.framed(SAMPLES["waybill"], "RT-1")
    with pytest.raises(Rejected) as refused:
        made.framed(NOTICE)
    assert (refused.value.code, refused.value.field) == ("label_no_template", "kind")


def test_a_picture_wider_than_the_print_head_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        press(width_dots=576).framed(RETURN)
    assert (refused.value.code, refused.value.field) == ("print_too_wide", "image")


def test_a_platforms_bytes_go_only_to_a_printer_of_their_language() -> None:
    ours = RawFields("tspl", b"SIZE 100 mm,150 mm\r\nPRINT 1\r\n")
    assert press().framed(ours) == ours.data
    with pytest.raises(Rejected) as refused:
        press("escpos").framed(ours)
    assert refused.value.field == "language"
    with pytest.raises(Rejected):
        press().preview_png(ours)
    cpcl = RawFields("cpcl", b"! 0 200 200 1200 1\r\nPRINT\r\n")
    assert press("raw").framed(cpcl) == cpcl.data, "a printer that only passes bytes on takes any"


def test_a_platforms_picture_is_framed_and_previewed_like_our_own() -> None:
    drawn = renderer().render(template_of("waybill-100x150"), SAMPLES["waybill"])
    file = io.BytesIO()
    drawn.save(file, "PNG")
    given = PictureFields(file.getvalue())
    assert press().framed(given, "J-1") == press().framed(SAMPLES["waybill"], "J-1")
    with Image.open(io.BytesIO(press().preview_png(given))) as shown:
        assert shown.convert("1").tobytes() == drawn.tobytes()


@given(st.text(max_size=60).filter(lambda text: not any(map(str.isnumeric, text))))
@settings(max_examples=25, deadline=None)
def test_any_text_in_any_place_draws_and_leaves_the_barcode_alone(text: str) -> None:
    slip = replace(NOTICE, title=text, lines=(text,), warehouse=text, qr_note=text, qr="")
    image = renderer().render(template_of("notice-76x130"), slip)
    assert ("Code128", NOTICE.code) in read_codes(image), "no text reaches into the barcode"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ('kind = "notice"|kind = "menu"', "kind"),
        ("trim = true|trim = 1", "trim"),
        ("{qr_note}|{waybill}", "box"),
        ('when = "code"|when = "phone"', "box"),
        ("lines = 2 }|lines = 9 }", "columns"),
        ('field = "name"|field = "price"', "columns"),
        ("or_qr = true|or_qr = 1", "or_qr"),
    ],
)
def test_a_bad_template_is_refused_by_name(change: str, field: str) -> None:
    old, new = change.split("|")
    text = (FOLDER / "notice-80.toml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(Rejected) as refused:
        parse_template(text.replace(old, new))
    assert field in refused.value.field


def test_a_template_draws_its_own_kind_only() -> None:
    with pytest.raises(Rejected) as refused:
        renderer().render(labels.read_template(TEMPLATE_FILE), RETURN)
    assert refused.value.field == "kind"


def test_characters_that_no_font_has_are_known_before_printing() -> None:
    """Row 13: a rare name is drawn, a character without glyph is named, never an empty box."""
    assert renderer().missing(fields(receiver_name_masked="𠮷㐀䶮*")) == {}
    gone = renderer().missing(fields(receiver_name_masked="\U000323af*"))
    assert gone == {"receiver_name_masked": "\U000323af"}


def test_a_missing_character_is_logged_without_the_character(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    press().framed(fields(receiver_name_masked="\U000323af*"))
    assert "label.glyph_missing kind=waybill field=receiver_name_masked count=1" in caplog.text
    assert "\U000323af" not in caplog.text


def test_a_fallback_font_fills_the_gaps_of_the_first(tmp_path: Path) -> None:
    noto = find_font(False)
    gaps = tmp_path / "gaps.otf"
    gaps.write_bytes(_without_glyphs(noto.path))
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font at all")
    poor = FontFile(gaps)
    assert FontBook(poor, poor).advance(False, "测") < 0
    book = FontBook(poor, poor, (FontFile(broken), noto))
    assert book.advance(False, "测") > 0
    assert book.glyph(False, 24, "测").mask is not None
    book.rest()


def _without_glyphs(font: Path) -> bytes:
    """The same font with a character map that leads nowhere: format 12 with no group."""
    data = bytearray(font.read_bytes())
    count = int.from_bytes(data[4:6], "big")
    for place in range(12, 12 + 16 * count, 16):
        if data[place : place + 4] == b"cmap":
            cmap = int.from_bytes(data[place + 8 : place + 12], "big")
            for record in range(cmap + 4, cmap + 4 + 8 * data[cmap + 3], 8):
                table = cmap + int.from_bytes(data[record + 4 : record + 8], "big")
                if data[table + 1] == 12:
                    data[table + 12 : table + 16] = bytes(4)
    return bytes(data)
