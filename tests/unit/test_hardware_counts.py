"""How the hardware stage counts losses and misses: none may hide behind another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import cast

import pytest

from protocols import codec
from protocols.events import ItemPicked
from protocols.messages import EpochKept, Event, Hello, Origin, StreamPosition, Token
from tests.hardware import campaign, image, machine, run
from tests.support.mini_core import MiniCore

EPOCH = "a" * 16


class HeldCore:
    """What a core holds, by epoch."""

    def __init__(self, **epochs: list[Event]) -> None:
        self.rows = {("floor", epoch): [codec.encode(row) for row in epochs[epoch]]
                     for epoch in epochs}  # fmt: skip
        self.rows["telemetry", "t"] = [b"not of the floor"]

    def events(self) -> list[Event]:
        return [codec.decode_event(row) for (stream, _), rows in self.rows.items()
                if stream == "floor" for row in rows]  # fmt: skip


def core(**epochs: list[Event]) -> MiniCore:
    return cast(MiniCore, HeldCore(**epochs))


def pick(seq: int, boot: int, sku: str, origin: Origin | None = None) -> Event:
    body = ItemPicked("DB1-1", Token(1, 1), sku, 1)
    return Event(q=seq, t="item.picked", w=1, m=1, b=boot, d=codec.raw(body), o=origin)


def hello(epoch: str, last: int, *kept: EpochKept) -> Hello:
    position = StreamPosition("floor", epoch, 1, last + 1, "00" * 32, list(kept))
    return Hello(v=1, a="vm01-a", inc=1, sw="1", proto=[1], boot=1, boot_id="b", wall_ms=1,
                 mono_ms=1, streams=[position])  # fmt: skip


ROWS = [pick(number, 1, "VM-001") for number in range(1, 6)]


def test_a_journal_that_has_all_rows_lost_none() -> None:
    assert campaign.missing(core(a=ROWS), hello("a", 5)) == {}
    assert campaign.missing(core(a=ROWS), hello("b", 1, EpochKept("a", 1, 7))) == {}


def test_a_shorter_journal_lost_the_difference_also_in_a_kept_epoch() -> None:
    assert campaign.missing(core(a=ROWS), hello("a", 3)) == {"a": 2}
    assert campaign.missing(core(a=ROWS), hello("b", 1, EpochKept("a", 1, 4))) == {"a": 1}


def test_an_epoch_nobody_names_any_more_is_lost_as_a_whole() -> None:
    assert campaign.missing(core(a=ROWS, b=ROWS[:2]), hello("c", 1)) == {"a": 5, "b": 2}


def test_a_pick_without_a_tone_makes_up_for_no_tone_of_another_start() -> None:
    rows = core(a=[pick(1, 1, "VM-001"), pick(2, 1, "VM-001")])
    heard = Counter({(1, "VM-001"): 1, (2, "VM-001"): 1})
    assert campaign.unheard(campaign.own_rows(rows), heard) == 1


def test_a_row_carried_into_a_later_epoch_is_counted_once() -> None:
    carried = pick(1, 1, "VM-001", Origin(EPOCH, 1, "00" * 32))
    alone = pick(2, 1, "VM-002", Origin(EPOCH, 2, "00" * 32))
    rows = campaign.own_rows(core(**{EPOCH: [pick(1, 1, "VM-001")], "b": [carried, alone]}))
    assert campaign.unheard(rows, Counter({(1, "VM-001"): 2, (1, "VM-002"): 1})) == 1


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("error", "status", "key", "said"),
    [
        (machine.GuestError("did not come\nmore"), 1, "failed", "did not come"),
        (ValueError("a bug"), 1, "failed", "ValueError: a bug"),
        (SystemExit("gone"), 1, "failed", "SystemExit: gone"),
        (image.NotFetchedError("no mirror\nmore"), 0, "skipped", "no mirror"),
    ],
)
def test_the_last_line_is_json_whatever_happens(
    error: BaseException, status: int, key: str, said: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(run, "_beside_a_broker", fails)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["make hardware"])
    assert run.main() == status
    assert last_line(capsys)[key] == said


def test_a_figure_over_its_bound_is_named_and_breaks_no_promise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def plays(_options: object, _begun: float, found: dict[str, object]) -> None:
        found["figures"] = {"kill_to_hello_s": 8.8, "cut_to_first_scan_s": 44.1, "exposure": 1.5}

    monkeypatch.setattr(run, "_beside_a_broker", plays)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["make hardware"])
    assert run.main() == 0
    assert last_line(capsys)["missed"] == ["kill_to_hello_s 8.8 > 5.0"]


def test_wheels_that_cannot_be_fetched_are_a_skip_and_wrong_ones_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    said = {"text": "ERROR: Could not find a version that satisfies the requirement"}

    def pip(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", said["text"])

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(image.NotFetchedError):
        run.filled_wheelhouse()
    said["text"] = "error: invalid pyproject.toml"
    with pytest.raises(RuntimeError, match="pyproject"):
        run.filled_wheelhouse()
