"""`edge-agent printer`: what a person setting up a bench types, against printers that answer."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edge_agent import cli
from edge_agent.bootstrap import printer_probe
from edge_agent.cli.root import root
from edge_agent.printers.owner import SendTimes
from edge_agent.printers.profile import read_profile
from virtual_warehouse.printer import VirtualPrinter, read_codes

pytestmark = pytest.mark.integration
assert cli.VERBS


@contextmanager
def printer(folder: Path, language: str, **faults: object) -> Iterator[VirtualPrinter]:
    """A printer on a loop of its own, so that the command may have the main thread."""
    loop = asyncio.new_event_loop()
    made = VirtualPrinter(folder, language=language)
    for name, value in faults.items():
        setattr(made.faults, name, value)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def done(work: object) -> None:
        future: Future[object] = asyncio.run_coroutine_threadsafe(work, loop)  # type: ignore[arg-type]
        future.result(10)

    done(made.start())
    try:
        yield made
    finally:
        done(made.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printers here answer at once; a real one gets its 0.7 s for each question."""
    monkeypatch.setattr(printer_probe, "TIMES", SendTimes(answer_s=0.15))


def ask(*words: str) -> Result:
    return CliRunner().invoke(root, words)


@pytest.mark.parametrize(
    ("language", "status"), [("tspl", "full"), ("zpl", "host"), ("escpos", "realtime")]
)
def test_a_probe_finds_the_language_and_writes_a_profile_that_loads(
    tmp_path: Path, language: str, status: str
) -> None:
    file = tmp_path / "mine.toml"
    with printer(tmp_path / "labels", language) as paper:
        told = ask("printer", "probe", f"127.0.0.1:{paper.port}", "--write", str(file))
        assert paper.printed == [], "a probe prints nothing"
    assert told.exit_code == 0, told.output
    assert f"{language} / {status}" in told.output
    profile = read_profile(file)
    assert (profile.name, profile.language, profile.status, profile.dpi, profile.tier) == (
        "mine",
        language,
        status,
        203,
        "device",
    )


def test_a_probed_profile_prints(tmp_path: Path) -> None:
    file, settings = tmp_path / "mine.toml", tmp_path / "edge.toml"
    with printer(tmp_path / "labels", "zpl") as paper:
        ask("printer", "probe", f"127.0.0.1:{paper.port}", "--write", str(file))
        settings.write_text(
            f'site = "s"\nagent = "a"\ndata_dir = "{tmp_path / "data"}"\n'
            f'[[printers]]\nname = "p1"\nhost = "127.0.0.1"\nport = {paper.port}\n'
            f'profile = "{file}"\ntemplate = "waybill-76x130"\n',
            encoding="utf-8",
        )
        config = ("--config", str(settings))
        told = ask(*config, "printer", "test", "p1", "--kind", "return_ticket")
        assert told.exit_code == 0, told.output
        assert "打印机说打完了" in told.output
        listed = ask(*config, "printer", "list").output
        assert "状态 正常" in listed
        assert "return_ticket" in listed
        paper.faults.paper_out = True
        assert "故障 缺纸" in ask(*config, "printer", "list").output
        refused = ask(*config, "printer", "test", "p1")
        assert refused.exit_code == 1
        assert "0/" in refused.output
        assert "缺纸" in refused.output
    assert "连不上" in ask(*config, "printer", "list").output
    picture = tmp_path / "ticket.png"
    ask(*config, "printer", "test", "p1", "--kind", "return_ticket", "--png", str(picture))
    with Image.open(picture) as image:
        assert ("Code128", "RT20000101000001") in read_codes(image)


def test_a_silent_or_absent_printer_is_told_what_to_do(tmp_path: Path) -> None:
    with printer(tmp_path, "tspl", mute=True) as paper:
        where = f"127.0.0.1:{paper.port}"
        told = ask("printer", "probe", where)
    assert told.exit_code == 1
    assert "tspl-203-silent" in told.output
    gone = ask("printer", "probe", where)
    assert gone.exit_code == 1
    assert "连不上" in gone.output


def test_every_shipped_template_passes_the_check_at_the_command_line(tmp_path: Path) -> None:
    told = ask("printer", "check", "waybill-76x130", "notice-80")
    assert told.exit_code == 0, told.output
    assert told.output.count("✓") == 2
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "bad"\nwidth_mm = 100\nheight_mm = 150\ncolour = 1\n', encoding="utf-8")
    told = ask("printer", "check", str(bad))
    assert told.exit_code == 1
    assert "colour" in told.output
