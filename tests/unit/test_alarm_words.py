"""Whoever reads an alarm finds a Chinese name on the console and what to do in the manual."""

from __future__ import annotations

import ast

from cloud_core.domain.wording import ALARM_ZH
from cloud_core.flows import trip
from tests.house.tree import ROOT


def raised() -> set[str]:
    """Every kind that some `ws.alarm(kind, …)` of the core raises."""
    kinds = {kind for told in trip._ALARMS.values() for kind in told}
    kinds.add("recovering")  # written by a restore, outside of any commit of the core
    for path in sorted((ROOT / "cloud_core").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr != "alarm" or not node.args:
                continue
            kind = node.args[0]
            if isinstance(kind, ast.Constant):
                kinds.add(str(kind.value))
            elif isinstance(kind, ast.Name) and kind.id in named:
                kinds.add(str(named[kind.id]))
    return kinds


def test_every_alarm_has_a_chinese_name_and_no_name_is_left_over() -> None:
    found = raised()
    assert len(found) > 15, "the search no longer sees the alarms"
    assert sorted(found - ALARM_ZH.keys()) == []
    assert sorted(ALARM_ZH.keys() - found) == []


def test_every_alarm_stands_in_the_manual() -> None:
    manual = (ROOT / "docs/OPERATING.md").read_text(encoding="utf-8")
    rows = [line for line in manual.splitlines() if line.startswith("| alarm ")]
    assert [kind for kind in sorted(raised()) if not any(f"`{kind}`" in row for row in rows)] == []
