"""Every file about scanners goes through the code that uses it."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

from edge_agent.bootstrap import scanner_papers
from edge_agent.bootstrap.codes import code_patterns
from edge_agent.bootstrap.scanners import hid_rules, profile_of, serial_rules
from edge_agent.cli import root
from edge_agent.domain.scan import ScanEvent
from edge_agent.domain.scan_framing import SUFFIXES, ScanFramer
from edge_agent.domain.scan_trial import TRIAL_CODE, judge
from edge_agent.labels import code128
from edge_agent.scanners.hid.decoder import HidDecoder
from edge_agent.scanners.profile import ScannerProfile, read_profile
from edge_agent.settings import ScannerSetting
from protocols.errors import Rejected
from tests.unit.test_scan_hid import KEYS, Hand

DATA = Path(__file__).resolve().parents[2] / "firmware_configs"
PROFILES = sorted((DATA / "scanners").glob("*.toml"))


def with_suffix(profile: ScannerProfile) -> bytes:
    return b"" if profile.suffix == "NONE" else SUFFIXES[profile.suffix][:1]


@pytest.mark.parametrize("file", PROFILES, ids=lambda file: file.stem)
def test_every_profile_reads_a_code_the_way_it_says(file: Path) -> None:
    kind = read_profile(file).kind
    setting = ScannerSetting(source="g", path="/x", kind=kind, profile=file.stem)  # type: ignore[arg-type]
    profile = profile_of(setting)
    assert file.stem in scanner_papers.shipped()
    if kind == "serial":
        framer = ScanFramer("g", serial_rules(profile))
        found = framer.feed(b"SF1" + with_suffix(profile), 0) or framer.idle(5_000)
        assert found == [ScanEvent("g", "SF1", 0)]
        return
    hand = Hand(hid_rules(profile))
    hand.tap(KEYS["s"], KEYS["1"])
    if profile.suffix == "NONE":
        hand.keep(hand.decoder.idle(hand.now_ms + profile.idle_ms))
    else:
        hand.tap(28)
    assert hand.seen == ["s1"]
    assert isinstance(hand.decoder, HidDecoder)


@pytest.mark.parametrize("file", PROFILES, ids=lambda file: file.stem)
def test_every_profile_has_a_sheet_to_print(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.html"
    done = CliRunner().invoke(root, ["scanner", "sheet", file.stem, "--out", str(out)])
    assert done.exit_code == 0, done.output
    text = out.read_text(encoding="utf-8")
    assert "检验码" in text
    assert "蜂鸣" in text, "the scanner's own beep would say “stored” too early"
    assert re.findall(r"(?:src|href|url\()", text) == [], "nothing is fetched"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (('kind = "hid"', 'kind = "usb"'), "kind"),
        (('tier = "generic"', 'tier = "best"'), "tier"),
        (('suffix = "any"', 'suffix = "CR"'), "suffix"),
        (("idle_ms = 300", "idle_ms = 5"), "idle_ms"),
        (("idle_ms = 300", 'idle_ms = "300"'), "idle_ms"),
        (("aim_ids = false", "aim_ids = 0"), "aim_ids"),
        (('prefix = ""', 'prefix = "too long a prefix"'), "prefix"),
        (('prefix = ""', 'prefix = ""\nspeed = 9'), "speed"),
        (("note_zh", "note"), "note"),
        (("why_zh", "because"), "setup[0].because"),
    ],
)
def test_a_profile_with_a_wrong_or_unknown_key_is_named(
    tmp_path: Path, change: tuple[str, str], field: str
) -> None:
    file = tmp_path / "mine.toml"
    text = (DATA / "scanners" / "generic-hid.toml").read_text(encoding="utf-8")
    file.write_text(text.replace(change[0], change[1], 1), encoding="utf-8")
    with pytest.raises(Rejected) as refused:
        read_profile(file)
    assert (refused.value.code, refused.value.field) == ("scanner_profile", field)


def test_the_carriers_patterns_are_those_of_the_file() -> None:
    assert len(code_patterns()) >= 10


@pytest.mark.parametrize(
    ("came", "code"),
    [
        (TRIAL_CODE, "scanner_well"),
        ("]C0" + TRIAL_CODE, "scanner_well"),
        (TRIAL_CODE.swapcase(), "scanner_case"),
        (TRIAL_CODE.upper(), "scanner_case"),
        (TRIAL_CODE + "*", "scanner_affix"),
        ("A" + TRIAL_CODE, "scanner_affix"),
        (TRIAL_CODE.replace("y", "z").replace("-", "ß"), "scanner_layout"),
    ],
)
def test_the_trial_code_says_what_is_wrong_with_a_scanner(came: str, code: str) -> None:
    answer = judge(came)
    assert answer is not None
    assert answer.code == code
    assert (answer.tone == "ok") == (code == "scanner_well")


def test_other_codes_are_no_trial_and_the_trial_fits_a_symbol() -> None:
    assert judge("SF1040000000001") is None
    assert code128.values(TRIAL_CODE)


def test_the_cards_of_a_warehouse_are_one_page(tmp_path: Path) -> None:
    config, out = tmp_path / "edge.toml", tmp_path / "cards.html"
    config.write_text(
        'site = "sha"\nagent = "sha-1"\n[[stations]]\nid = "S1"\n[[stations]]\nid = "S2"\n',
        encoding="utf-8",
    )  # fmt: skip
    given = ["--config", str(config), "scanner", "cards", "--dock", "A1", "--out", str(out)]
    done = CliRunner().invoke(root, given)
    assert done.exit_code == 0, done.output
    text = out.read_text(encoding="utf-8")
    for code in (
        "STN-S1",
        "STN-S2",
        "LOAD-A1",
        "$$OK",
        "$$STOPPED",
        "$$SHORT:BROKEN",
        "$$FAIL",
        "$$PASS",
        "$$DONE",
        "$$COUNT",
    ):
        assert f"<code>{code}</code>" in text


def test_a_printed_card_scans_as_what_it_says() -> None:
    """The page's own bars, drawn and read by an independent decoder."""
    zxing = pytest.importorskip("zxingcpp")
    html = scanner_papers.cards_page(["S1"], [])
    codes = re.findall(r'<path d="([^"]+)"/></svg><code>(.*?)<', html)
    assert len(codes) > 10
    for code, shown in codes:
        picture = Image.new("L", (1_200, 60), 255)
        draw = ImageDraw.Draw(picture)
        for left, width in re.findall(r"M(\d+) 0h(\d+)", code):
            draw.rectangle((int(left) * 3, 5, (int(left) + int(width)) * 3 - 1, 55), fill=0)
        (read,) = zxing.read_barcodes(picture)
        assert read.text == unescape(shown)


def test_the_udev_rules_are_whole_lines_of_keys_and_values() -> None:
    key = r'[A-Z_]+(?:\{[A-Za-z_/]+\})?(?:==|!=|\+=|:=|=)"[^"]*"'
    for file in sorted((DATA / "udev").glob("*.rules")):
        assert re.fullmatch(r"\d\d-packline-[a-z]+\.rules", file.name)
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        rules = [line for line in lines if not line.startswith("#")]
        assert rules
        for rule in rules:
            assert re.fullmatch(rf"{key}(?:, {key})*", rule), rule
            assert re.search(r'(?<![=!+:])(?:\+=|:=|=)"', rule), f"assigns nothing: {rule}"
