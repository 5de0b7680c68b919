"""What is printed for and told of scanners without a running agent: ports, cards, set-up sheets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge_agent.bootstrap.files import data_file
from edge_agent.domain.scan_meaning import COMMANDS
from edge_agent.domain.scan_trial import TRIAL_CODE
from edge_agent.flows.cards import SHORT_REASONS
from edge_agent.labels.cards import Card, page
from edge_agent.scanners import serial
from edge_agent.scanners.hid import discovery
from edge_agent.scanners.profile import read_profile

WITH_ARGUMENT = frozenset(("N",))
"""Commands that make no card: they need a number behind them."""

PLAIN_SHORT = "card"
"""The reason of `$$SHORT` alone."""


def plugged_in(listed: Iterable[str]) -> list[tuple[str, str, str]]:
    """(kind, port, name) of everything that could be a scanner; opens nothing."""
    hid = [("hid", one.port, one.name) for one in discovery.find(listed)]
    return hid + [("serial", port, "") for port in serial.ports()]


def shipped() -> list[str]:
    """Names of the scanner profiles."""
    return sorted(path.stem for path in data_file("scanners", "x").parent.glob("*.toml"))


def cards_page(stations: Sequence[str], docks: Sequence[str]) -> str:
    """The cards of the benches as a page to print. Raises `Rejected` for a name no code takes."""
    cards = [
        Card(f"工位 {one}", f"STN-{one}", "用扫描枪扫这张卡，枪就归这个工位") for one in stations
    ]
    cards += [Card(f"装车口 {one}", f"LOAD-{one}", "扫它，再逐个扫面单") for one in docks]
    cards += [
        Card(name_zh, f"$${code}")
        for code, name_zh in COMMANDS.items()
        if code not in WITH_ARGUMENT
    ]
    cards += [
        Card(f"缺货：{why_zh}", f"$$SHORT:{reason.upper()}", "当前要拣的商品架上没有了")
        for reason, why_zh in SHORT_REASONS.items()
        if reason != PLAIN_SHORT
    ]
    return page("工位卡片", [*cards, _trial()])


def sheet_page(profile_name: str) -> str:
    """How to set up one kind of scanner, as a page to print. Raises `Rejected`."""
    profile = read_profile(data_file("scanners", profile_name))
    steps = [
        Card(f"{number}. {step.what_zh}", "", f"{step.why_zh}。说明书里找：{step.look_for}")
        for number, step in enumerate(profile.setup, 1)
    ]
    head = Card("先看", "", f"{profile.note_zh} 设置码在厂家说明书里，按下面的顺序扫。")
    return page(f"扫描枪设置：{profile.name}", [head, *steps, _trial()])


def _trial() -> Card:
    return Card("检验码", TRIAL_CODE, "设好后扫它：工位屏幕会说设置对不对")
