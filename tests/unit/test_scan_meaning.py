"""What a code means: known numbers first, GS1 only behind an AIM id, patterns only for words."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain import scan_gs1
from edge_agent.domain.scan import MAX_CODE_CHARS, refuse_code
from edge_agent.domain.scan_gs1 import Gs1
from edge_agent.domain.scan_meaning import CodeKind, Known, classify, station_of_card
from edge_agent.domain.scan_patterns import hint_zh
from edge_agent.scanners.patterns import read_patterns
from protocols.errors import Rejected

SHIPPED = Path(__file__).resolve().parents[2] / "firmware_configs/carriers/waybill-patterns.toml"
PATTERNS = read_patterns(SHIPPED)
GTIN = "6901234567892"


def knows(*codes: str, kind: CodeKind = CodeKind.SKU) -> object:
    return lambda code: [Known(kind, f"<{code}>")] if code in codes else []


def meant(code: str, *known: str) -> tuple[CodeKind, str]:
    found = classify(code, knows(*known), PATTERNS)  # type: ignore[arg-type]
    return found.kind, found.ref


# --- known numbers first ---------------------------------------------------------------------


def test_a_waybill_that_is_a_valid_gtin_is_what_the_journal_knows_it_as() -> None:
    both = "73123456789012"[:13]
    assert meant(both, both) == (CodeKind.SKU, f"<{both}>")
    known = classify("73144233224145", knows("73144233224145", kind=CodeKind.WAYBILL), PATTERNS)  # type: ignore[arg-type]
    assert known.kind is CodeKind.WAYBILL


def test_an_unknown_number_is_unknown_however_much_it_looks_like_one() -> None:
    for code in ("YT8812345678901", GTIN, "SF1234567890123", "]C1notgs1"):
        assert meant(code)[0] is CodeKind.UNKNOWN


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("YT8812345678901", "这像是圆通的面单号，但本机不认识"),
        ("]C0YT8812345678901", "这像是圆通的面单号，但本机不认识"),
        ("4312345678901234", "这像是申通的面单号，但本机不认识"),
        ("431234567890123", "这像是申通的面单号或韵达的面单号，但本机不认识"),
        ("DB2026ABCDEFGH", "这像是订单号，但本机不认识"),
        ("6901234567892", ""),
        ("随便什么", ""),
        ("\x1d010690123456789221A", "扫描枪没有发送 AIM 标识, 请扫设置页打开"),
    ],
)
def test_what_an_unknown_code_looks_like_is_said(code: str, hint: str) -> None:
    assert hint_zh(code, PATTERNS) == hint
    assert classify(code, knows(), PATTERNS).hint_zh == hint  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (('match = "YT', 'match = "(YT'), "pattern[1].match"),
        (('match = "YT', 'match = ".*YT'), "pattern[1].match"),
        (('match = "YT', 'match = "(?:a{1,9}){9}+YT'), "pattern[1].match"),
        (('match = "YT', f'match = "{"a" * 90}'), "pattern[1].match"),
        (('name_zh = "圆通', 'nome = "圆通'), "pattern[1].name_zh"),
        (('carrier = "YTO"', "carrier = 1"), "pattern[1].carrier"),
        (("[[pattern]]", "[[patterns]]"), "pattern"),
    ],
)
def test_a_pattern_file_that_is_wrong_is_named(
    tmp_path: Path, change: tuple[str, str], field: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(SHIPPED.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(Rejected) as refused:
        read_patterns(file)
    assert refused.value.field == field


# --- GS1 ---------------------------------------------------------------------


@pytest.mark.parametrize("aim", sorted(scan_gs1.GS1_AIMS))
def test_gs1_is_read_behind_every_gs1_aim_id(aim: str) -> None:
    read = scan_gs1.read(f"{aim}01069012345678922112-A\x1d10LOT1")
    assert read == Gs1("06901234567892", "", "12-A", "LOT1")


@pytest.mark.parametrize(
    "code",
    [
        "0106901234567892211A",
        "\x1d0106901234567892211A",
        "]C00106901234567892211A",
        "]E06901234567892",
        "]C10106901234567893",  # wrong check digit
        "]C1017",
        "]J10106901234567892",
        "]C1",
        "]",
    ],
)
def test_gs1_is_not_read_without_its_aim_id_or_when_it_is_broken(code: str) -> None:
    assert scan_gs1.read(code) is None
    assert meant(code)[0] is CodeKind.UNKNOWN


def test_a_gs1_symbol_finds_the_item_by_every_spelling_of_its_gtin() -> None:
    code = "]d201069012345678922112-A"
    assert meant(code, GTIN) == (CodeKind.SKU, f"<{GTIN}>")
    assert meant(code, "0" + GTIN) == (CodeKind.SKU, f"<0{GTIN}>")
    upc = classify("]C10100036000291452", knows("036000291452"))  # type: ignore[arg-type]
    assert upc.ref == "<036000291452>"
    sscc = classify("]C100106141412345678908", knows("106141412345678908"))  # type: ignore[arg-type]
    assert sscc.ref == "<106141412345678908>"


def test_a_gs1_symbol_brings_its_serial_number_with_the_item() -> None:
    found = classify("]d201069012345678922112-A", knows(GTIN))  # type: ignore[arg-type]
    assert (found.kind, found.serial) == (CodeKind.SKU, "12-A")


def test_the_whole_code_is_asked_before_its_parts() -> None:
    code = "]d201069012345678922112-A"
    assert meant(code, code, GTIN) == (CodeKind.SKU, f"<{code}>")


def test_a_scanner_that_sends_aim_ids_can_still_read_cards_and_numbers() -> None:
    assert meant("]C0SF1", "SF1") == (CodeKind.SKU, "<SF1>")
    assert meant("]C0$$OK") == (CodeKind.COMMAND, "OK")
    assert meant("]Q0STN-S1") == (CodeKind.STATION, "S1")
    assert meant("]C0LOAD-A1") == (CodeKind.DOCK, "A1")
    assert station_of_card("]C0STN-S1") == "S1"


def test_emptiness_and_odd_codes_are_never_found_by_accident() -> None:
    for code in ("]C0", "]C1\x1d\x1d", "$$", "STN-", "LOAD-", "STN-" + "x" * 33):
        assert meant(code, "")[0] in (CodeKind.UNKNOWN, CodeKind.SKU)
        assert classify(code, knows()).kind is CodeKind.UNKNOWN  # type: ignore[arg-type]


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=300))
def test_no_text_breaks_the_meaning_and_nothing_unknown_becomes_known(text: str) -> None:
    if refuse_code(text) or len(text) > MAX_CODE_CHARS:
        return
    found = classify(text, knows(), PATTERNS)  # type: ignore[arg-type]
    assert found.kind in (
        CodeKind.UNKNOWN, CodeKind.COMMAND, CodeKind.STATION, CodeKind.DOCK,
    )  # fmt: skip


def test_pitfall_22_a_carrier_or_item_is_never_guessed_from_digits() -> None:
    """One in ten of these is a valid GTIN."""
    rng = random.Random(7)
    for _ in range(300):
        code = "".join(rng.choice("0123456789") for _ in range(rng.choice((13, 14))))
        assert meant(code)[0] is CodeKind.UNKNOWN
