"""Configuration as data: every shipped file loads as the agent loads it; errors name keys."""

from pathlib import Path

import pytest

from edge_agent import labels
from edge_agent.bootstrap import printers
from edge_agent.printers.device import port_of, usb_printers
from edge_agent.printers.profile import read_profile
from edge_agent.settings import PrinterSetting
from protocols.errors import Rejected
from tests.support.labels import ROOT, renderer

FOLDER = ROOT / "firmware_configs" / "printers"
FILES = sorted(FOLDER.glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=[path.stem for path in FILES])
def test_every_shipped_profile_makes_a_printer_and_its_papers(file: Path) -> None:
    setting = PrinterSetting(name="p", host="127.0.0.1", profile=file.stem)
    profile = printers.profile_of(setting)
    assert profile.name == file.stem
    assert profile.status == "none" or (profile.language, profile.status) in printers.PROBES
    assert printers.printer_of(setting) is not None
    if profile.language == "escpos":
        setting = PrinterSetting(
            name="p", host="127.0.0.1", profile=file.stem, template="notice-80"
        )
        assert printers.papers_of(setting, renderer()) == ("notice", "return_ticket")
    elif profile.language != "raw":
        kinds = ("box_label", "notice", "return_ticket", "waybill")
        assert printers.papers_of(setting, renderer()) == kinds


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = (FOLDER / "escpos-80.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("cut = true", "cut = true\ncolour = 3", "colour"),
        ("cut = true", "cut = 1", "cut"),
        ('language = "escpos"', 'language = "epl"', "language"),
        ('status = "realtime"', 'status = "full"', "status"),
        ("dpi = 203", "dpi = 96", "dpi"),
        ("dpi = 203", 'dpi = "203"', "dpi"),
        ("strip_rows = 128", "strip_rows = 960", "strip_rows"),
        ('tier = "simulated"', 'tier = "certified"', "tier"),
        ('source = "Epson', 'source = " "#', "source"),
        ("answer_s = 2.0", "answer_s = 0", "answer_s"),
        ("connect_s = 3.0\n", "", "connect_s"),
        ("port = 9100", "port = 91000", "port"),
        ("name =", "name ==", "profile"),
    ],
)
def test_a_bad_profile_names_its_key(tmp_path: Path, old: str, new: str, field: str) -> None:
    with pytest.raises(Rejected) as refused:
        read_profile(changed(tmp_path, old, new))
    assert (refused.value.code, refused.value.field) == ("printer_profile", field)


def test_the_stock_brings_its_other_papers_along() -> None:
    setting = PrinterSetting(name="p", host="h", template="waybill-76x130")
    found = printers.templates_of(setting)
    assert {one.kind for one in found} == set(labels.SAMPLES)
    assert {(one.width_mm, one.height_mm) for one in found} == {(76, 130)}
    mixed = PrinterSetting(
        name="p", host="h", template="waybill-76x130", templates=("notice-100x150",)
    )
    first = next(one for one in printers.templates_of(mixed) if one.kind == "notice")
    assert first.width_mm == 100, "what the setting names comes before what the stock brings"


def test_python_escpos_tells_the_width_of_a_model_it_knows(tmp_path: Path) -> None:
    path = changed(tmp_path, 'escpos_model = "TM-T20II"', 'escpos_model = "POS-5890"')
    assert printers.width_of(read_profile(path)) == 384
    unknown = changed(tmp_path, 'escpos_model = "TM-T20II"', 'escpos_model = "X-1"')
    with pytest.raises(Rejected) as refused:
        printers.width_of(read_profile(unknown))
    assert refused.value.field == "escpos_model"


def test_a_usb_printer_is_found_by_its_socket_whatever_its_number(tmp_path: Path) -> None:
    """Row 18: lp numbers swap when two printers are plugged in again; sockets do not."""
    for number, socket in (("lp0", "1-1.4"), ("lp1", "1-1.2")):
        interface = tmp_path / "devices" / socket / f"{socket}:1.0"
        interface.mkdir(parents=True)
        told = f"MFG:Demo;MDL:{number};"
        (interface / "ieee1284_id").write_text(told, encoding="ascii")
        place = tmp_path / "class" / "usbmisc" / number
        place.mkdir(parents=True)
        (place / "device").symlink_to(interface)
    assert [one[:2] for one in usb_printers(tmp_path)] == [
        ("/dev/usb/lp0", "1-1.4"),
        ("/dev/usb/lp1", "1-1.2"),
    ]
    assert port_of("usb:1-1.2", tmp_path) == "/dev/usb/lp1"
    assert port_of("/dev/usb/lp7", tmp_path) == "/dev/usb/lp7"
    with pytest.raises(FileNotFoundError):
        port_of("usb:9-9", tmp_path)
