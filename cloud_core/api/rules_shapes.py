"""What the answers about routing rules look like, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from cloud_core.api.shapes import answers, listing


class RuleProblem(BaseModel):
    """What is wrong with a rule file, by rule and field."""

    rule: str
    field: str
    code: str
    message_zh: str
    message_en: str


class RulesApplied(BaseModel):
    """The version that runs after the request; `same` when this very text ran already."""

    version: int
    digest: str
    rules: int
    dry_run: bool
    problems: list[RuleProblem]
    same: bool


class RulesText(BaseModel):
    """One version as a person wrote it."""

    version: int
    digest: str
    applied_ms: int
    actor: str
    note: str
    toml: str
    running: bool


_ROW: dict[str, Any] = {
    "version": 3, "digest": "9d4e1e23bd5b727046a9e3b4b7db57bd", "applied_ms": 1767225600000,
    "actor": "key:ops", "note": "大促", "running": True,
}  # fmt: skip
EXAMPLE = """[[rules]]
name = "喀什超 3 公斤"

[rules.when]
divisions = ["新疆喀什"]
weight_over_kg = 3

[rules.then]
exclude_carriers = ["YUNDA", "STO"]
allow_carriers = ["ZTO", "CHINAPOST"]
"""
_DONE = {"version": 3, "digest": _ROW["digest"], "rules": 1, "dry_run": False, "problems": [],
         "same": False}  # fmt: skip
_BODY = {"required": True, "content": {"text/plain": {"schema": {"type": "string"},
                                                      "example": EXAMPLE}}}  # fmt: skip
_CODES = ("key_missing", "scope_needed", "body_too_large", "rule_unreachable",
          "rate_limited", "queue_full")  # fmt: skip
SHOW = answers(
    200, RulesText, {**_ROW, "toml": EXAMPLE}, "正在运行的规则。The rules that run.",
    "key_missing", "scope_needed", "rules_version_unknown", "rate_limited",
)  # fmt: skip
HISTORY = listing(_ROW)
APPLY: dict[str, Any] = {
    **answers(
        200, RulesApplied, _DONE, "已应用；有问题时 422，details 逐条列出。Applied.", *_CODES
    ),
    "openapi_extra": {"requestBody": _BODY},
}
ROLLBACK = answers(
    200, RulesApplied, _DONE, "旧版内容已作为新的一版运行。An old version runs again.",
    "key_missing", "scope_needed", "rules_version_unknown", "rule_unreachable", "rate_limited",
    "queue_full",
)  # fmt: skip
