"""TSPL: what leaves for the printer is a picture and nothing else; what comes back is judged."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from edge_agent.domain.printer_status import PrinterLevel
from edge_agent.printers import tspl
from protocols.errors import Rejected
from tests.support.labels import FIELDS, fields, renderer, template
from virtual_warehouse.heard import Heard, Label, Nonsense
from virtual_warehouse.tspl_reader import TsplReader


def read_all(data: bytes, cuts: list[int] | None = None) -> list[Heard]:
    reader = TsplReader()
    edges = [0, *sorted(cuts or []), len(data)]
    found = [item for a, b in pairwise(edges) for item in reader.feed(data[a:b])]
    assert not reader.half_done
    return found


def test_a_label_survives_the_language_without_a_lost_dot() -> None:
    image = renderer().render(template(), FIELDS)
    (label,) = read_all(tspl.frame(image, 100, 150, job_tag="YT880001-1"))
    assert isinstance(label, Label)
    assert ImageChops.logical_xor(label.image, image).getbbox() is None
    assert (label.copies, label.remarks) == (1, ("YT880001-1",))


def test_golden_bytes_of_a_tiny_label() -> None:
    image = Image.new("1", (10, 2), 1)
    image.putpixel((0, 0), 0)
    image.putpixel((9, 1), 0)
    assert tspl.frame(image, 10, 5) == (
        b"\r\nSIZE 10 mm,5 mm\r\nGAP 2 mm,0 mm\r\nREFERENCE 0,0\r\nDIRECTION 0\r\nCLS\r\n"
        b"BITMAP 0,0,2,2,0,\x7f\xff\xff\xbf\r\nPRINT 1,1\r\n"
    ), "0 burns, and the six bits that pad each row stay white"


def test_a_clone_that_knows_no_status_question_still_gets_the_whole_label() -> None:
    image = Image.new("1", (80, 80), 1)
    heard = TsplReader().feed(b"~HS\x10\x04\x01" + tspl.frame(image, 10, 10))
    assert [type(item) for item in heard] == [Nonsense, Label]
    assert isinstance(heard[1], Label)
    assert heard[1].image.size == (80, 80), "SIZE was not swallowed with the leftovers"


hostile = st.text(
    st.one_of(
        st.characters(min_codepoint=1, max_codepoint=0x2FFF, exclude_categories=["Cs"]),
        st.sampled_from('\r\n\x1b!?"'),
    ),
    max_size=60,
).map(lambda text: "*\r\nPRINT 9,9\r\n\x1b!R" + text)


@given(hostile)
@settings(max_examples=40, deadline=None)
def test_no_text_can_become_a_command(text: str) -> None:
    image = renderer().render(
        template(),
        fields(
            receiver_name_masked=text,
            bag_name=text,
            sender_address=text,
            native_order_id=text,
            carrier_name=text,
        ),
    )
    framed = tspl.frame(image, 100, 150)
    (label,) = read_all(framed)
    assert isinstance(label, Label)
    assert label.copies == 1
    assert len(framed) == len(tspl.frame(Image.new("1", (800, 1200), 1), 100, 150))


@given(st.lists(st.integers(0, 1300), max_size=6), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_dots_in_any_pieces(cuts: list[int], seed: int) -> None:
    raster = random.Random(seed).randbytes(10 * 120)
    image = Image.frombytes("1", (80, 120), raster)
    data = tspl.frame(image, 10, 15)
    (label,) = read_all(data, [cut for cut in cuts if cut < len(data)])
    assert isinstance(label, Label)
    assert label.image.tobytes() == tspl.defused(raster)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"copies": 0}, "copies"),
        ({"copies": 99}, "copies"),
        ({"job_tag": "A\r\nPRINT 9"}, "job_tag"),
        ({"gap_mm": -1}, "gap_mm"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], field: str) -> None:
    with pytest.raises(Rejected) as refused:
        tspl.frame(Image.new("1", (80, 80), 1), 10, 10, **arguments)  # type: ignore[arg-type]
    assert refused.value.field == field


def test_only_one_bit_pictures() -> None:
    with pytest.raises(Rejected):
        tspl.frame(Image.new("L", (80, 80)), 10, 10)


@pytest.mark.parametrize(
    ("answer", "level", "code", "busy"),
    [
        (b"\x00", "ok", "", False),
        (b"\x20", "ok", "", True),
        (b"\x04", "error", "paper_out", False),
        (b"\x05", "error", "paper_out", False),
        (b"\x01", "error", "cover_open", False),
        (b"\x02", "error", "paper_jam", False),
        (b"\x08", "error", "ribbon_out", False),
        (b"\x10", "error", "paused", False),
        (b"\x80", "error", "printer_error", False),
        (b"\x00\x00", "unknown", "garbage", False),
        (b"\x40", "unknown", "garbage", False),
    ],
)
def test_the_one_byte_answer(answer: bytes, level: str, code: str, busy: bool) -> None:
    status = tspl.parse_byte(answer)
    assert status is not None
    assert (status.level, status.code, status.busy) == (level, code, busy)
    assert status.reason_zh or status.level is PrinterLevel.OK


@pytest.mark.parametrize(
    ("body", "level", "code", "busy"),
    [
        (b"@@@@", "ok", "", False),
        (b"P@@@", "ok", "", True),
        (b"W@@@", "ok", "", True),
        (b"`@@@", "error", "paused", False),
        (b"E@@A", "error", "paper_out", False),
        (b"E@@`", "error", "cover_open", False),
        (b"E@@B", "error", "paper_jam", False),
        (b"E@A@", "error", "head_hot", False),
        (b"E@@@", "error", "printer_error", False),
        (b"L@@@", "warn", "label_waiting", False),
        (b"@H@@", "warn", "buffer_full", True),
        (b"\x00@@@", "unknown", "garbage", False),
    ],
)
def test_the_eight_byte_answer(body: bytes, level: str, code: str, busy: bool) -> None:
    status = tspl.parse_full(b"\x02" + body + b"\x03\r\n")
    assert status is not None
    assert (status.level, status.code, status.busy) == (level, code, busy)


def test_half_an_answer_is_no_answer_yet() -> None:
    assert tspl.parse_byte(b"") is None
    assert tspl.parse_full(b"\x02@@") is None
    status = tspl.parse_full(b"@@")
    assert status is not None
    assert status.code == "garbage"


@given(st.binary(max_size=12))
def test_no_bytes_whatever_break_the_parsers(answer: bytes) -> None:
    for parse in (tspl.parse_byte, tspl.parse_full):
        status = parse(answer)
        assert status is None or status.level in PrinterLevel
