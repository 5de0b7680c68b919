"""Apply rules: a rule file a person wrote becomes the running set, or nothing changes at all.

Read and checked against the master data of the same commit. A file with any problem never
replaces the running one; going back to an old version checks its text again and gives it a new
number.
"""

from __future__ import annotations

from dataclasses import replace

from cloud_core.domain.commands import ApplyRules, RulesApplied
from cloud_core.domain.routing_rules import read_rules, says_nothing
from cloud_core.domain.rows import Audit
from cloud_core.domain.rule_checks import Known, check_names, check_rules
from cloud_core.store import rules_rows
from cloud_core.store.divisions import load_names
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected

NOTE_CHARS_MAX = 200


def apply_rules(ws: WorkingSet, command: ApplyRules) -> RulesApplied:
    """Check and, unless on a dry run, run a set of rules.

    The text that runs already changes nothing. Raises `Rejected("rules_version_unknown")` when
    `from_version` is not there, `Rejected("rules_empty")` for a text without a setting; what is
    wrong with a file is in the result's `problems`.
    """
    connection = ws.fetch.connection
    running = int(ws.meta.get(rules_rows.META_KEY, rules_rows.running_version(connection)))
    text = _text(ws, command)
    read = read_rules(text, load_names(), version=running + 1)
    known = Known(ws.master, rules_rows.channels(connection))
    checked = check_names(read.rules, known) if read.problems else check_rules(read.rules, known)
    problems = (*read.problems, *checked)
    rules, count = read.rules, len(read.rules.rules)
    if problems or command.dry_run:
        return RulesApplied(running, rules.digest, count, command.dry_run, problems)
    if not command.from_version and not command.empty and says_nothing(text):
        raise Rejected(
            "rules_empty",
            "文件里没有任何规则和设置，未应用；确要清空全部规则请加 --empty（接口为 empty=true）",
            "the file says nothing; give --empty (empty=true) to run no rules at all", field="file",
        )  # fmt: skip
    if rules_rows.text_of(connection, running) == text and rules_rows.META_KEY not in ws.meta:
        return RulesApplied(running, rules.digest, count, False, same=True)
    note = command.note[:NOTE_CHARS_MAX]
    kept = replace(rules, version=running + 1)
    ws.writes.append(lambda c: rules_rows.keep(c, kept, text, ws.now_ms, command.actor, note))
    ws.meta[rules_rows.META_KEY] = str(kept.version)
    ws.wake_parked = True
    detail = f"version {kept.version}, {count} rules, {rules.digest}"
    if command.from_version:
        detail += f", as version {command.from_version}"
    ws.appended.append(
        Audit(ws.now_ms, command.actor, command.source, "rules.applied", "rules", detail)
    )
    return RulesApplied(kept.version, rules.digest, count, False)


def _text(ws: WorkingSet, command: ApplyRules) -> str:
    if not command.from_version:
        return command.text
    found = rules_rows.text_of(ws.fetch.connection, command.from_version)
    if found is None:
        raise Rejected(
            "rules_version_unknown",
            f"没有第 {command.from_version} 版规则",
            f"there is no version {command.from_version} of the rules",
            field="version",
        )
    return found
