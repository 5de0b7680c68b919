"""Reads a rule file (TOML) into a `RuleSet`, or says everything that is wrong with it.

A rule that is broken is named with its field; the good ones are read all the same, so that one
look shows all faults. Whether names exist and rules can match is for `rule_checks`.
Limits: `MAX_TEXT_BYTES`, `MAX_RULES`, and those of `rule_fields`.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cloud_core.domain.division_names import DivisionNames
from cloud_core.domain.rule_fields import RANKING, SPLIT, THEN, WHEN, Read, word, yes
from cloud_core.domain.rule_values import (
    Ranking,
    Rule,
    RuleProblem,
    RuleSet,
    SplitPolicy,
    Then,
    When,
)
from protocols.errors import Rejected

MAX_TEXT_BYTES = 256 * 1024
MAX_RULES = 500
MAX_NOTE_CHARS = 400
ASK_WAIT_MS = 800
"""How long an outside system is waited for when a rule does not say."""
_RULE_FIELDS = {"name", "note", "enabled", "when", "then"}
_DOCUMENT_FIELDS = {"rules", "ranking", "split"}

DEFAULTS_TOML = """\
[ranking]
order = ["priority", "transit", "freight"]   # 仓库优先级、时效、运费；先有差别的决定
transit_buckets = [1, 2, 3, 5]               # 4 天和 5 天算一样

[split]
default = false                              # 不拆单
max_parcels = 3
"""
"""What is done before a person applied rules, as a file that does the same."""


@dataclass(frozen=True, slots=True)
class RulesRead:
    """The rules that could be read, and every problem; with any, the set must not run."""

    rules: RuleSet
    problems: tuple[RuleProblem, ...]


def says_nothing(text: str) -> bool:
    """Whether a readable rule file holds no rule and no setting."""
    return not tomllib.loads(text)


def digest_of(text: str) -> str:
    """32 hex characters that stand for a rule file."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def read_rules(text: str, names: DivisionNames, *, version: int = 0) -> RulesRead:
    """Read a rule file of at most `MAX_TEXT_BYTES`. Never raises for what is in it.

    Codes: `rules_too_large`, `toml_broken`, `rule_field_unknown`, `rule_type`, `rule_range`,
    `rule_name_twice`, `rule_name_missing`, `rule_empty`, and those of `rule_fields`.
    """
    problems: list[RuleProblem] = []
    document = _document(text, problems)
    for field in document.keys() - _DOCUMENT_FIELDS:
        problems.append(_unknown("", field))
    ranking = Ranking(**_section(document, "ranking", RANKING, names, problems))
    split = _split(document, names, problems)
    rules: list[Rule] = []
    tables = document.get("rules", [])
    if not isinstance(tables, list):
        problems.append(_wrong("", "rules", "[[rules]] 列表", "a list of tables"))
        tables = []
    if len(tables) > MAX_RULES:
        problems.append(RuleProblem("", "rules", "rules_too_many", f"规则超过 {MAX_RULES} 条",
                                    f"more than {MAX_RULES} rules"))  # fmt: skip
    seen: set[str] = set()
    for position, table in enumerate(tables[:MAX_RULES], 1):
        rule = _rule(position, table, names, seen, problems)
        if rule is not None:
            rules.append(rule)
    read = RuleSet(version, digest_of(text), tuple(rules), ranking, split)
    return RulesRead(read, tuple(problems))


def _document(text: str, problems: list[RuleProblem]) -> dict[str, Any]:
    if len(text.encode()) > MAX_TEXT_BYTES:
        problems.append(RuleProblem("", "", "rules_too_large", f"文件超过 {MAX_TEXT_BYTES} 字节",
                                    f"larger than {MAX_TEXT_BYTES} bytes"))  # fmt: skip
        return {}
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        problems.append(RuleProblem("", "", "toml_broken", f"不是有效的 TOML：{error}",
                                    f"not valid TOML: {error}"))  # fmt: skip
        return {}


def _rule(
    position: int, table: Any, names: DivisionNames, seen: set[str], problems: list[RuleProblem]
) -> Rule | None:
    """One table; None when it is switched off or has no usable name."""
    label = f"#{position}"
    if not isinstance(table, dict):
        problems.append(_wrong(label, "rules", "表", "a table"))
        return None
    name = _one(label, "name", table, word, names, problems)
    if name is None:
        if "name" not in table:
            problems.append(RuleProblem(label, "name", "rule_name_missing", "规则缺少名称",
                                        "the rule has no name"))  # fmt: skip
        name = label
    if name in seen:
        problems.append(RuleProblem(name, "name", "rule_name_twice", f"规则名“{name}”出现两次",
                                    f"two rules are named {name}"))  # fmt: skip
    seen.add(name)
    for field in table.keys() - _RULE_FIELDS:
        problems.append(_unknown(name, field))
    note = table.get("note", "")
    if not isinstance(note, str) or len(note) > MAX_NOTE_CHARS:
        problems.append(_wrong(name, "note", f"不超过 {MAX_NOTE_CHARS} 字的文字", "a short text"))
        note = ""
    enabled = _one(name, "enabled", table, yes, names, problems)
    when = _section(table, "when", WHEN, names, problems, name)
    then = _section(table, "then", THEN, names, problems, name)
    if "ask_first" in then:
        then.setdefault("ask_wait_ms", ASK_WAIT_MS)
        then.setdefault("ask_fallback", "accept")
    if not table.get("then"):
        problems.append(RuleProblem(name, "then", "rule_empty", "规则没有任何动作（then）",
                                    "the rule does nothing (then)"))  # fmt: skip
    given = {f"{part}.{field}" for part in ("when", "then") for field in _dict(table.get(part))}
    if enabled is False:
        return None
    return Rule(name, When(**when), Then(**then), note, frozenset(given))


def _section(
    table: Mapping[str, Any],
    part: str,
    fields: Mapping[str, tuple[str, Read]],
    names: DivisionNames,
    problems: list[RuleProblem],
    rule: str = "",
) -> dict[str, Any]:
    """The readable fields of a sub-table by our name for them."""
    given = table.get(part, {})
    if not isinstance(given, dict):
        problems.append(_wrong(rule, part, "表", "a table"))
        return {}
    found: dict[str, Any] = {}
    for field in given:
        if field not in fields:
            if (part, field) != ("split", "channels"):
                problems.append(_unknown(rule, f"{part}.{field}"))
            continue
        ours, read = fields[field]
        value = _one(rule, field, given, read, names, problems, f"{part}.")
        if value is None:
            continue
        both = ours in found and ours == "divisions"
        found[ours] = tuple(sorted({*found[ours], *value})) if both else value
    return found


def _split(
    document: Mapping[str, Any], names: DivisionNames, problems: list[RuleProblem]
) -> SplitPolicy:
    values = _section(document, "split", SPLIT, names, problems)
    channels: dict[str, bool] = {}
    given = _dict(_dict(document.get("split")).get("channels", {}))
    for channel in given:
        allowed = _one("", channel, given, yes, names, problems, "split.channels.")
        if allowed is not None:
            channels[channel] = allowed
    return SplitPolicy(channels=channels, **values)


def _one(
    rule: str,
    field: str,
    table: Mapping[str, Any],
    read: Read,
    names: DivisionNames,
    problems: list[RuleProblem],
    path: str = "",
) -> Any:
    """The value of a field, None when it is missing or was noted as a problem."""
    if field not in table:
        return None
    try:
        return read(table[field], names)
    except Rejected as refused:
        problems.append(RuleProblem(rule, path + field, refused.code, refused.zh, refused.en))
        return None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _unknown(rule: str, field: str) -> RuleProblem:
    return RuleProblem(
        rule, field[:80], "rule_field_unknown", f"没有这个字段：{field[:80]}", "no such field"
    )


def _wrong(rule: str, field: str, zh: str, en: str) -> RuleProblem:
    return RuleProblem(rule, field, "rule_type", f"类型不对，应为{zh}", f"wrong type, needs {en}")
