"""The operator's page about routing rules: its examples are right and no field is left out."""

from __future__ import annotations

import re

from cloud_core.domain.rule_fields import RANKING, SPLIT, THEN, WHEN
from tests.house.tree import ROOT
from tests.support.routes import company, problems_of, warehouse

TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)
MASTER = company(warehouse("HZ01"), warehouse("SZ01"))


def section() -> str:
    text = (ROOT / "docs/OPERATING.md").read_text(encoding="utf-8")
    return text.partition("## 改路由规则\n")[2].partition("\n## ")[0]


def test_every_example_is_a_rule_file_without_fault() -> None:
    examples = TOML.findall(section())
    assert len(examples) == 2
    for text in examples:
        assert problems_of(text, MASTER, {"demo-shop"}) == []


def test_every_field_stands_there_with_an_example() -> None:
    text = section()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row[1])}
    assert named == {*WHEN, *THEN}
    assert all("`" in row[2] and row[3].strip() for row in rows)
    for name in (*RANKING, *SPLIT, "channels", "name", "note", "enabled"):
        assert re.search(rf"^{name} = ", text, re.MULTILINE), name


def test_every_row_of_conditions_and_actions_can_be_written_as_shown() -> None:
    for line in section().splitlines():
        if not line.startswith("| `"):
            continue
        _, names, examples, *_ = line.split("|")
        fields = re.findall(r"`([a-z_]+)`", names)
        values = re.findall(r"`([^`]+)`", examples)
        for field, value in zip(fields, values, strict=False):
            for part in ("when", "then"):
                if field in (WHEN if part == "when" else THEN):
                    other = 'then = { tags = ["x"] }' if part == "when" else ""
                    wait = 'ask_first = "erp", ' if field in ("ask_wait_ms", "ask_fallback") else ""
                    text = (
                        f'[[rules]]\nname = "x"\n{part} = {{ {wait}{field} = {value} }}\n{other}\n'
                    )
                    found = {p.code for p in problems_of(text, MASTER, {"demo-shop"})}
                    assert found <= {"sku_unknown"}, (field, value, found)
                    break
