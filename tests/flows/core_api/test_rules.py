"""A person changes the routing rules: checked, run at once, looked at, and taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloud_core.cli import rules as rules_cli
from cloud_core.cli.root import root
from cloud_core.store import rules_rows
from cloud_core.store import schema as t
from tests.flows.core_api.test_cli import SKUS, Terminal
from tests.support.http_core import HttpCore

rules_cli.register(root)

GOOD = '[[rules]]\nname = "重货"\nwhen = {weight_over_kg = 3}\nthen = {tags = ["重货"]}\n'
OTHER = '[[rules]]\nname = "大单"\nwhen = {amount_from_yuan = 200}\nthen = {priority = "first"}\n'
BAD = '[[rules]]\nname = "坏"\nwhen = {colour = 1, skus = []}\nthen = {tags = ["x"]}\n'


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    found = Terminal(tmp_path)
    found.run("init")
    return found


def test_check_apply_show_history_and_rollback(terminal: Terminal) -> None:
    good, other = terminal.file("good.toml", GOOD), terminal.file("other.toml", OTHER)
    assert "还没有应用过规则" in terminal.run("rules", "show").output
    assert "没有问题：1 条规则" in terminal.run("rules", "check", good).output
    assert terminal.json("rules", "history") == []
    assert "第 1 版" in terminal.run("rules", "apply", good, "--note", "首次").output
    assert "没有改变" in terminal.run("rules", "apply", good).output
    assert terminal.json("rules", "apply", other)["version"] == 2
    assert OTHER.strip() in terminal.run("rules", "show").output
    assert "第 3 版" in terminal.run("rules", "rollback", "1").output
    shown = terminal.json("rules", "show")
    assert (shown["version"], shown["toml"], shown["running"]) == (3, GOOD, True)
    found = [(row["version"], row["running"], row["note"]) for row in
             terminal.json("rules", "history")]  # fmt: skip
    assert found == [(3, True, "回到第 1 版"), (2, False, ""), (1, False, "首次")]
    assert "没有第 9 版" in terminal.run("rules", "rollback", "9", ok=False).output
    actions = [row["action"] for row in terminal.json("list", "audit")]
    assert actions.count("rules.applied") == 3


def test_a_bad_file_never_replaces_the_running_one(terminal: Terminal) -> None:
    terminal.run("rules", "apply", terminal.file("good.toml", GOOD))
    for name, text in (
        ("bad.toml", BAD), ("broken.toml", "[[rules]"),
        ("unknown.toml", '[[rules]]\nname = "x"\nthen = {force_carrier = "NOPE"}\n'),
    ):  # fmt: skip
        shown = terminal.run("rules", "apply", terminal.file(name, text), ok=False)
        assert "第 1 版继续运行" in shown.output
    shown = terminal.run("rules", "check", terminal.file("bad.toml", BAD), ok=False)
    assert "规则“坏” [when.colour] 没有这个字段" in shown.output
    assert "规则“坏” [when.skus]" in shown.output
    assert terminal.json("rules", "show")["toml"] == GOOD
    latin = terminal.folder / "latin.toml"
    latin.write_bytes(b"\xff\xfe")
    assert "UTF-8" in terminal.run("rules", "apply", str(latin), ok=False).output


def test_rules_are_checked_against_the_master_data_of_today(terminal: Terminal) -> None:
    text = '[[rules]]\nname = "毛巾"\nwhen = {skus = ["SKU-001"]}\nthen = {tags = ["毛巾"]}\n'
    file = terminal.file("sku.toml", text)
    refused = terminal.run("rules", "apply", file, "--json", ok=False)
    (problem,) = json.loads(refused.stdout)["problems"]
    assert (problem["rule"], problem["field"], problem["code"]) == (
        "毛巾", "when.skus", "sku_unknown",
    )  # fmt: skip
    terminal.run("import", "skus", terminal.file("skus.csv", SKUS))
    assert terminal.json("rules", "apply", file)["version"] == 1


async def test_the_door_reads_with_read_and_changes_with_admin(core: HttpCore) -> None:
    admin, reader = core.key("admin"), core.key("read")
    missing = await core.client.get("/v1/rules", headers=reader)
    assert (missing.status_code, missing.json()["code"]) == (404, "rules_version_unknown")
    for key in (reader, core.key("write")):
        refused = await core.client.put("/v1/rules", content=GOOD, headers=key)
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_needed")
    dry = await core.client.put("/v1/rules?dry_run=true", content=GOOD, headers=admin)
    assert (dry.json()["version"], dry.json()["rules"], core.rows(t.rule_set)) == (0, 1, [])
    done = await core.client.put("/v1/rules?note=一", content=GOOD.encode(), headers=admin)
    assert (done.status_code, done.json()["version"]) == (200, 1)
    bad = await core.client.put("/v1/rules", content=BAD, headers=admin)
    assert (bad.status_code, bad.json()["code"]) == (422, "rule_field_unknown")
    assert bad.json()["field"] == "坏: when.colour"
    assert [p["field"] for p in bad.json()["details"]] == ["when.colour", "when.skus"]
    assert (await core.client.put("/v1/rules", content=OTHER, headers=admin)).json()["version"] == 2
    back = await core.client.post("/v1/rules/rollback/1", headers=admin)
    assert back.json()["version"] == 3
    shown = (await core.client.get("/v1/rules", headers=reader)).json()
    assert (shown["version"], shown["toml"], shown["note"]) == (3, GOOD, "回到第 1 版")
    listed = (await core.client.get("/v1/rules/history", headers=reader)).json()["items"]
    assert [row["version"] for row in listed] == [3, 2, 1]
    one = (await core.client.get("/v1/rules/history/2", headers=reader)).json()
    assert (one["toml"], one["running"]) == (OTHER, False)
    gone = await core.client.post("/v1/rules/rollback/99", headers=admin)
    assert (gone.status_code, gone.json()["code"]) == (404, "rules_version_unknown")
    large = await core.client.put("/v1/rules", content=b"#" * 300_000, headers=admin)
    assert large.status_code == 413
    latin = await core.client.put("/v1/rules", content=b"\xff\xfe", headers=admin)
    assert latin.json()["code"] == "encoding_unknown"


async def test_the_loader_gives_what_was_applied(core: HttpCore) -> None:
    await core.client.put("/v1/rules", content=GOOD, headers=core.key("admin"))
    with core.wired.engine.connect() as connection:
        version = rules_rows.running_version(connection)
        rules = rules_rows.load_rules(connection, version)
        none = rules_rows.load_rules(connection, 0)
    assert (rules.version, [r.name for r in rules.rules]) == (1, ["重货"])
    assert (none.version, none.rules, none.ranking.order[0]) == (0, (), "priority")
