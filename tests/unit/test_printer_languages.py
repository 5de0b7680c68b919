"""Every printer language: what leaves is a picture and nothing else; what comes back is judged."""

import importlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from edge_agent.domain.printer_status import PrinterLevel, PrinterStatus
from edge_agent.labels.picture import opened
from edge_agent.printers import escpos, escpos_devices, raw, tspl, zpl
from edge_agent.printers.device import port_status_of
from protocols.errors import Rejected
from tests.support.labels import FIELDS, fields, renderer, template
from virtual_warehouse.heard import Heard, Label, Mark, Nonsense, Question
from virtual_warehouse.voices import reader_of


@dataclass(frozen=True)
class Language:
    """One way to say a picture, and the reader that was written from the manual."""

    name: str
    frame: Callable[..., bytes]
    defused: Callable[[bytes], bytes] = bytes
    inverted: bool = False

    def heard(self, data: bytes, cuts: list[int] | None = None) -> list[Heard]:
        reader = reader_of(self.name, 8)
        edges = [0, *sorted(cut for cut in cuts or [] if cut < len(data)), len(data)]
        found = [item for a, b in pairwise(edges) for item in reader.feed(data[a:b])]
        assert not reader.feed(b"\r\n" if self.name == "zpl" else b"")
        assert not reader.half_done
        return found

    def printed(self, data: bytes, cuts: list[int] | None = None) -> Label:
        """The one paper that comes out; a mark behind it may be, anything else may not."""
        paper, *rest = self.heard(data, cuts)
        assert isinstance(paper, Label), paper
        assert all(isinstance(item, Mark) for item in rest), rest
        return paper


TSPL = Language("tspl", tspl.frame, tspl.defused)
ESCPOS = Language("escpos", escpos.frame, escpos.defused, inverted=True)
LANGUAGES = [
    TSPL,
    ESCPOS,
    Language("escpos", partial(escpos.frame, strip_rows=24, cut=False), escpos.defused, True),
    *(Language("zpl", partial(zpl.frame, encoding=one)) for one in zpl.ENCODINGS),
]
NAMES = ["tspl", "escpos", "escpos-plain", "z64", "acs", "hex"]
every_language = pytest.mark.parametrize("language", LANGUAGES, ids=NAMES)


@cache
def waybill() -> Image.Image:
    return renderer().render(template(), FIELDS)


@every_language
def test_a_label_survives_the_language_without_a_lost_dot(language: Language) -> None:
    label = language.printed(language.frame(waybill(), 100, 150, job_tag="YT880001-1"))
    differing = ImageChops.logical_xor(label.image, waybill()).convert("L").histogram()[255]
    assert differing <= 3, "at most the dots that would have spelt a command"
    assert label.copies == 1


@every_language
@given(cuts=st.lists(st.integers(0, 4_000), max_size=5), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_any_dots_in_any_pieces(language: Language, cuts: list[int], seed: int) -> None:
    raster = random.Random(seed).randbytes(10 * 152)
    image = Image.frombytes("1", (80, 152), raster)
    label = language.printed(language.frame(image, 10, 19), cuts)
    wanted = bytes(255 - byte for byte in raster) if language.inverted else raster
    wanted = language.defused(wanted)
    got = label.image.tobytes()
    assert (bytes(255 - byte for byte in got) if language.inverted else got) == wanted


@every_language
def test_a_width_that_is_no_whole_byte_gets_no_black_edge(language: Language) -> None:
    image = Image.new("1", (13, 20), 1)
    image.putpixel((12, 19), 0)
    label = language.printed(language.frame(image, 2, 3))
    burnt = [place for place, dot in enumerate(label.image.convert("L").tobytes()) if not dot]
    assert len(burnt) == 1, "row 11 of the research list: pad bits are white in every language"


hostile = st.text(
    st.one_of(
        st.characters(min_codepoint=1, max_codepoint=0x2FFF, exclude_categories=["Cs"]),
        st.sampled_from('\r\n\x1b\x10\x04\x14\x1d^~!?"'),
    ),
    max_size=40,
).map(lambda text: "*^XZ~JA^XA\r\nPRINT 9,9\r\n\x1b!R\x1b@\x10\x04\x01\x1dV\x00" + text)


@given(text=hostile)
@settings(max_examples=12, deadline=None)
def test_no_text_can_become_a_command(text: str) -> None:
    hidden = fields(
        receiver_name_masked=text,
        bag_name=text,
        sender_address=text,
        native_order_id=text,
        carrier_name=text,
    )
    image = renderer().render(template(), hidden)
    for language in LANGUAGES:
        label = language.printed(language.frame(image, 100, 150))
        assert (label.copies, label.remarks) == (1, ())
        assert label.image.size == (800, 1200)


@every_language
@given(tag=st.one_of(hostile, st.sampled_from(["", "A" * 41, "YT1-1\n", "测", "A B", "^XZ"])))
@settings(max_examples=25, deadline=None)
def test_no_tag_can_become_a_command(language: Language, tag: str) -> None:
    if tag == "":
        return
    with pytest.raises(Rejected) as refused:
        language.frame(Image.new("1", (16, 16), 1), 2, 2, job_tag=tag)
    assert refused.value.field == "job_tag"


@pytest.mark.parametrize("command", [b"\x10\x04\x01", b"\x10\x05\x02", b"\x10\x14\x08"])
def test_dots_that_spell_a_real_time_command_lose_their_meaning(command: bytes) -> None:
    black = command + bytes(7)
    image = Image.frombytes("1", (80, 1), bytes(255 - byte for byte in black))
    heard = ESCPOS.heard(escpos.frame(image, 10, 1))
    assert [type(item) for item in heard] == [Label, Mark], "no question, no drawer, no reset"
    told = TSPL.heard(tspl.frame(Image.frombytes("1", (80, 1), b"\x1b!R" + bytes(7)), 10, 1))
    assert [type(item) for item in told] == [Label]
    assert b"\x1b!" not in tspl.frame(Image.frombytes("1", (80, 1), b"\x1b!R" + bytes(7)), 10, 1)


def test_tall_pictures_leave_in_low_strips() -> None:
    """Row 10 of the research list: tall rasters overflow cheap firmware into metres of garbage."""
    data = escpos.frame(waybill(), 100, 150)
    heights = [
        int.from_bytes(data[at + 6 : at + 8], "little")
        for at in range(len(data))
        if data[at : at + 4] == b"\x1dv0\x00" and data[at + 4 : at + 6] == b"\x64\x00"
    ]
    assert sum(heights) == 1200
    assert max(heights) <= 128


def test_golden_bytes_of_tiny_labels() -> None:
    image = Image.new("1", (10, 2), 1)
    image.putpixel((0, 0), 0)
    image.putpixel((9, 1), 0)
    assert zpl.frame(image, 10, 5, encoding="hex", job_tag="J-1") == (
        b"^XA^FX J-1^FS^PW10^LL2^LH0,0^LS0^PON^FO0,0^GFA,4,4,2,80000040^FS^PQ1^XZ\r\n"
    ), "1 burns, and the six bits that pad each row stay white"
    assert escpos.frame(image, 10, 5, echo=False) == (
        b"\x1b@\x1dv0\x00\x02\x00\x02\x00\x80\x00\x00\x40\x1dVB\x00"
    )


def test_python_escpos_says_the_same_picture_to_our_reader() -> None:
    """An encoder that knows nothing of ours: the reader is no mirror of our own mistakes."""
    escpos_devices.load()
    dummy = importlib.import_module("escpos.printer").Dummy()
    image = waybill().crop((0, 0, 576, 600))
    dummy.image(image, impl="bitImageRaster", fragment_height=128)
    dummy.cut()
    paper, *_rest = reader_of("escpos", 8).feed(dummy.output)
    assert isinstance(paper, Label)
    assert paper.image.tobytes() == image.tobytes()


def test_z64_is_a_fraction_of_hex() -> None:
    sizes = {one: len(zpl.frame(waybill(), 100, 150, encoding=one)) for one in zpl.ENCODINGS}
    assert sizes["z64"] < sizes["acs"] < sizes["hex"]
    assert sizes["z64"] < sizes["hex"] / 5


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"copies": 0}, "copies"),
        ({"copies": 9}, "copies"),
        ({"width_mm": 0}, "width_mm"),
        ({"height_mm": 2_000}, "width_mm"),
        ({"image": Image.new("L", (8, 8))}, "image"),
        ({"image": Image.new("1", (2_600, 8))}, "image"),
        ({"image": Image.new("1", (8, 9_700))}, "image"),
    ],
)
@every_language
def test_bad_arguments_are_named(language: Language, wrong: dict[str, Any], field: str) -> None:
    given = {"image": Image.new("1", (80, 80), 1), "width_mm": 10, "height_mm": 10} | wrong
    picture, size = given.pop("image"), (given.pop("width_mm"), given.pop("height_mm"))
    with pytest.raises(Rejected) as refused:
        language.frame(picture, *size, **given)
    assert refused.value.field == field


def test_raw_bytes_pass_unchanged_within_their_bounds() -> None:
    assert raw.frame(b"! 0 200 200 1 1\r\nPRINT\r\n") == b"! 0 200 200 1 1\r\nPRINT\r\n"
    for bad in (b"", bytes(raw.MAX_BYTES + 1)):
        with pytest.raises(Rejected) as refused:
            raw.frame(bad)
        assert refused.value.field == "data"


def host_status(one: dict[int, str] | None = None, two: dict[int, str] | None = None) -> bytes:
    first = ["030", "0", "0", "1200", "000", "0", "0", "0", "000", "0", "0", "0"]
    second = ["000", "0", "0", "0", "0", "2", "6", "0", "00000000", "1", "000"]
    for fields_, changes in ((first, one or {}), (second, two or {})):
        for place, value in changes.items():
            fields_[place] = value
    texts = (",".join(first), ",".join(second), "1234,0")
    return "".join(f"\x02{text}\x03\r\n" for text in texts).encode()


@pytest.mark.parametrize(
    ("answer", "level", "code", "busy"),
    [
        (host_status(), "ok", "", False),
        (host_status({4: "002"}), "ok", "", True),
        (host_status(None, {8: "00000003"}), "ok", "", True),
        (host_status({1: "1"}), "error", "paper_out", False),
        (host_status({1: "1", 4: "001"}), "error", "paper_out", True),
        (host_status({2: "1"}), "error", "paused", False),
        (host_status({2: "1"}, {2: "1"}), "error", "cover_open", False),
        (host_status(None, {3: "1"}), "error", "ribbon_out", False),
        (host_status({11: "1"}), "error", "head_hot", False),
        (host_status({9: "1"}), "error", "printer_error", False),
        (host_status(None, {7: "1"}), "warn", "label_waiting", False),
        (host_status({5: "1"}), "warn", "buffer_full", True),
        (host_status({10: "1"}), "warn", "head_cold", False),
        (host_status() + b"x", "unknown", "garbage", False),
        (b"hello", "unknown", "garbage", False),
    ],
)
def test_zebras_three_strings(answer: bytes, level: str, code: str, busy: bool) -> None:
    assert_status(zpl.parse(answer), level, code, busy)


@pytest.mark.parametrize(
    ("answer", "level", "code"),
    [
        (b"\x12\x12\x12\x12", "ok", ""),
        (b"\x12\x12\x12\x1e", "warn", "paper_low"),
        (b"\x1a\x32\x12\x7e", "error", "paper_out"),
        (b"\x1a\x16\x12\x12", "error", "cover_open"),
        (b"\x12\x12\x1a\x12", "error", "cutter_jam"),
        (b"\x12\x12\x32\x12", "error", "printer_error"),
        (b"\x1a\x12\x12\x12", "error", "paused"),
        (b"\x12\x12\x12\x12\x12", "unknown", "garbage"),
        (b"\x10\x00\x00\x00", "unknown", "garbage"),
        (b"\x37\x22ABCD\x00\x12\x12\x12\x12", "ok", ""),
        (b"\x12\x12\x37\x22ABCD\x00\x12\x12", "ok", ""),
    ],
)
def test_the_four_real_time_answers(answer: bytes, level: str, code: str) -> None:
    """Row 8: automatic status bytes (0xx1xx00 ...) are never taken for an answer (0xx1xx10)."""
    assert_status(escpos.parse(answer), level, code, False)


@pytest.mark.parametrize(
    ("answer", "level", "code"),
    [
        (b"\x12", "ok", ""),
        (b"\x1e", "warn", "paper_low"),
        (b"\x72", "error", "paper_out"),
        (b"\x12\x12", "unknown", "garbage"),
        (b"\x00", "unknown", "garbage"),
    ],
)
def test_the_paper_sensor_alone(answer: bytes, level: str, code: str) -> None:
    assert_status(escpos.parse_paper(answer), level, code, False)


def assert_status(status: PrinterStatus | None, level: str, code: str, busy: bool) -> None:
    assert status is not None
    assert (status.level, status.code, status.busy) == (level, code, busy)
    assert status.reason_zh or status.level is PrinterLevel.OK


PARSERS = [zpl.parse, escpos.parse, escpos.parse_paper, tspl.parse_byte, tspl.parse_full]


@pytest.mark.parametrize("parse", PARSERS)
@given(answer=st.binary(max_size=220))
@settings(max_examples=60, deadline=None)
def test_no_bytes_whatever_break_a_parser_or_sound_like_health(parse: Any, answer: bytes) -> None:
    status = parse(answer)
    assert status is None or status.level in PrinterLevel


@pytest.mark.parametrize("parse", PARSERS)
def test_half_an_answer_is_no_answer_yet(parse: Any) -> None:
    """Row 7: silence is neither "no paper" nor "online"."""
    assert parse(b"") is None
    assert zpl.parse(host_status()[:50]) is None
    assert escpos.parse(b"\x12\x12\x12") is None
    assert escpos.parse(b"\x12\x37\x22AB") is None


def test_the_process_id_is_found_again() -> None:
    data = escpos.frame(Image.new("1", (16, 16), 1), 2, 2, job_tag="YT880001-1")
    other = escpos.frame(Image.new("1", (16, 16), 1), 2, 2, job_tag="YT880001-2")
    *_, mark = ESCPOS.heard(data)
    assert isinstance(mark, Mark)
    assert escpos.echo_of(data) == mark.answer
    assert escpos.echo_of(other) != mark.answer
    assert escpos.echo_of(escpos.frame(Image.new("1", (8, 8), 1), 1, 1, echo=False)) == b""


def test_the_readers_answer_questions_and_name_nonsense() -> None:
    for name, question in (("tspl", b"\x1b!?"), ("zpl", zpl.QUERY), ("escpos", b"\x10\x04\x04")):
        (asked,) = reader_of(name, 8).feed(question)
        assert isinstance(asked, Question)
        heard = reader_of(name, 8).feed(b"\x00garbage\r\n")
        assert any(isinstance(item, Nonsense) for item in heard)


@pytest.mark.parametrize(
    ("bits", "code"),
    [(0x18, ""), (0x30, "paper_out"), (0x38, "paper_out"), (0x10, "printer_error"), (8, "paused")],
)
def test_the_port_itself_tells_paper_out(bits: int, code: str) -> None:
    assert port_status_of(bits).code == code


def png(image: Image.Image) -> bytes:
    import io

    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_a_platforms_picture_is_printed_dot_for_dot() -> None:
    assert opened(png(waybill()), 800, 1200).tobytes() == waybill().tobytes()
    smaller = opened(png(waybill().crop((0, 0, 790, 1000))), 800, 1200)
    assert smaller.size == (800, 1200), "a little smaller sits top left, never scaled"


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (b"", "picture_size"),
        (bytes(2 * 1024 * 1024 + 1), "picture_size"),
        (b"GIF89a" + bytes(40), "picture_broken"),
        (png(Image.new("1", (8, 8)))[:20], "picture_broken"),
        (png(Image.new("1", (800, 1200)))[:-30], "picture_broken"),
        (png(Image.new("1", (801, 1200))), "picture_too_large"),
        (png(Image.new("1", (1200, 800))), "picture_too_large"),
        (png(Image.new("1", (600, 900))), "picture_wrong_size"),
        (
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x01\x00\x00\x00\x01\x00\x00",
            "picture_too_large",
        ),
    ],
)
def test_a_broken_huge_or_wrong_picture_is_refused_by_name(file: bytes, code: str) -> None:
    with pytest.raises(Rejected) as refused:
        opened(file, 800, 1200)
    assert (refused.value.code, refused.value.field) == (code, "picture")
