"""Writes what is derived from the wire's structs: JSON Schemas and the lists in PROTOCOL.md.

`.venv/bin/python tools/generate_schemas.py` writes, `--check` only tells what would change (exit
status 1). The structs in `protocols/` and the vectors beside them are the source of both.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from protocols import limits, topics, vocabulary  # noqa: E402
from protocols.commands import COMMANDS  # noqa: E402
from protocols.events import EVENTS  # noqa: E402
from protocols.messages import MESSAGES  # noqa: E402

SCHEMAS = ROOT / "protocols" / "schemas"
PROTOCOL = ROOT / "docs" / "PROTOCOL.md"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
UP, DOWN = "代理 agent → 中枢 core", "中枢 core → 代理 agent"

# Where each message travels: topic below `v1/{site}/{agent}/`, who sends it, retained or not.
PLACES = {
    "AgentState": ("up/st", UP, "retained；也是遗言 also the will"),
    "Hello": ("up/hello", UP, "not retained"),
    "Welcome": ("dn/welcome", DOWN, "not retained"),
    "Batch": ("up/ev-floor`, `up/ev-telemetry", UP, "not retained"),
    "Ack": ("dn/ack", DOWN, "not retained"),
    "DesiredConfig": ("dn/cfg", DOWN, "retained"),
    "Chunk": ("dn/blob", DOWN, "not retained"),
    "Command": ("dn/cmd", DOWN, "not retained"),
}
ZH = {
    "AgentState": "代理状态", "Hello": "问候", "Welcome": "欢迎", "Batch": "事件批次",
    "Event": "事件（一行）", "Ack": "确认", "CoreState": "中枢状态", "DesiredConfig": "期望配置",
    "Chunk": "分片", "Command": "指令",
}  # fmt: skip
PATTERNS = {
    f"^[!-~]{{1,{limits.ID_CHARS_MAX}}}$": "id",
    "^[a-z0-9-]{1,48}$": "agent id",
    "^[0-9a-f]{16}$": "epoch, 16 hex",
    "^[0-9a-f]{64}$": "hash, 64 hex",
}


def schemas() -> dict[Path, str]:
    """Every schema file and its content."""
    named: dict[str, type[Struct]] = {
        f"messages/{name}": kind for name, kind in MESSAGES.items()
    } | {f"commands/{name}": kind for name, kind in COMMANDS.items()}
    for stream, kinds in EVENTS.items():
        named |= {f"events/{stream}/{name}": kind for name, kind in kinds.items()}
    return {SCHEMAS / f"{name}.json": schema_text(name, kind) for name, kind in named.items()}


def schema_text(name: str, kind: type[Struct]) -> str:
    schema = msgspec.json.schema(kind)
    document = {"$schema": DIALECT, "$id": f"packline/v{limits.VERSION}/{name}", **schema}
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def vectors(name: str) -> list[dict[str, Any]]:
    path = ROOT / "protocols" / "vectors" / f"{name}.json"
    return list(json.loads(path.read_text(encoding="utf-8"))["vectors"])


def protocol_text(text: str) -> str:
    """PROTOCOL.md with every generated section replaced by a fresh one."""
    sections = {
        "limits": limits_section,
        "topics": topics_section,
        "messages": messages_section,
        "commands": commands_section,
        "events": events_section,
        "refusals": refusals_section,
    }
    for name, section in sections.items():
        pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        body = "\n".join(section())
        text, count = pattern.subn(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)
        assert count == 1, f"docs/PROTOCOL.md has {count} sections {name!r}"
    return text


def limits_section() -> list[str]:
    rows = [
        f"| `{name}` | {value:,} |" for name, value in vars(limits).items() if type(value) is int
    ]
    return ["| limit | value |", "|---|---:|", *rows]


def topics_section() -> list[str]:
    rows = ["| topic | direction | QoS | retain | message |", "|---|---|---:|---|---|"]
    for name, (place, direction, retain) in PLACES.items():
        for part in place.split("`, `"):
            rows.append(f"| `v1/{{site}}/{{agent}}/{part}` | {direction} | 1 | {retain} | {name} |")
    rows.append(
        f"| `{topics.CORE_STATE_TOPIC}` | 中枢 core → 全部代理 all agents | 1 "
        "| retained；也是中枢的遗言 also the core's will | CoreState |"
    )
    return rows


def messages_section() -> list[str]:
    lines: list[str] = []
    for name, kind in MESSAGES.items():
        lines += [f"#### {name} {ZH[name]}", "", prose(kind), ""]
        if name in PLACES:
            place, direction, retain = PLACES[name]
            lines += [f"`{place}` · {direction} · QoS 1 · {retain}", ""]
        lines += fields(kind)
        for vector in vectors("messages"):
            if vector["message"] == name and "base64" not in vector:
                lines += [f"{vector['name']}:", *example(vector["json"])]
    return lines


def commands_section() -> list[str]:
    lines: list[str] = []
    told = {vector["json"]["k"]: vector["json"] for vector in vectors("commands")}
    for name, kind in COMMANDS.items():
        lines += [f"#### {name} {vocabulary.COMMAND_ZH[name]}", "", prose(kind), ""]
        lines += [*fields(kind), *example(told[name])]
    return lines


def events_section() -> list[str]:
    lines: list[str] = []
    told = {(vector["stream"], vector["json"]["t"]): vector["json"] for vector in vectors("events")}
    seen: dict[type[Struct], str] = {}
    for stream, kinds in EVENTS.items():
        for name, kind in kinds.items():
            lines += [f"#### {name} {vocabulary.EVENT_ZH[name]} ({stream})", ""]
            if kind in seen:
                lines += [f"Fields as in `{seen[kind]}`.", ""]
            else:
                lines += [prose(kind), "", *fields(kind)]
                seen[kind] = name
            lines += example(told[stream, name])
    return lines


def refusals_section() -> list[str]:
    codes: dict[str, list[str]] = {}
    for vector in vectors("malformed"):
        codes.setdefault(vector["code"], []).append(vector["name"])
    rows = [
        f"| `{code}` | {'; '.join(names[:3])} | {len(names)} |"
        for code, names in sorted(codes.items())
    ]
    return ["| code | for example | vectors |", "|---|---|---:|", *rows]


def prose(kind: type[Struct]) -> str:
    return inspect.cleandoc(kind.__doc__ or "")


def example(value: dict[str, Any]) -> list[str]:
    return ["", "```json", json.dumps(value, ensure_ascii=False), "```", ""]


def fields(kind: type[Struct]) -> list[str]:
    """The table of a struct's fields, and of the structs inside it that are no message."""
    document = msgspec.json.schema(kind)
    parts = document["$defs"]
    rows: list[str] = []
    for name, part in parts.items():
        if part["type"] == "object":
            title = "" if name == kind.__name__ else f"`{name}`:"
            rows += [f"{title}", ""] if title else []
            rows += ["| field | type | |", "|---|---|---|"]
            required = set(part.get("required", ()))
            rows += [
                f"| `{field}` | {type_text(spec)} | {presence(field, spec, required)} |"
                for field, spec in part["properties"].items()
            ]
            rows.append("")
    return rows


def presence(field: str, spec: dict[str, Any], required: set[str]) -> str:
    if field in required:
        return "required"
    return f"default `{json.dumps(spec.get('default'), ensure_ascii=False)}`"


def type_text(spec: dict[str, Any]) -> str:
    """A schema as a few words: `text ≤ 64`, `list of OfferLine, 1..200`."""
    if "anyOf" in spec:
        return " or ".join(type_text(part) for part in spec["anyOf"])
    if "$ref" in spec:
        name = spec["$ref"].rsplit("/", 1)[-1]
        return {"Token": "token `[core_epoch, n]`", "Origin": "`[epoch, seq, hash]`"}.get(
            name, name
        )
    kind = spec.get("type", "any JSON")
    if kind == "array":
        inner = type_text(spec.get("items", {}))
        return f"list of {inner}{span(spec, 'minItems', 'maxItems')}"
    if kind == "object":
        return f"map to text{span(spec, 'minProperties', 'maxProperties')}"
    if kind == "string":
        if "pattern" in spec:
            pattern = spec["pattern"].replace("(?!\\n)", "")
            return PATTERNS.get(pattern, "`" + pattern.replace("|", "\\|") + "`")
        name = "base64" if "contentEncoding" in spec else "text"
        return f"{name}{span(spec, 'minLength', 'maxLength')}"
    return f"{kind}{span(spec, 'minimum', 'maximum')}"


def span(spec: dict[str, Any], low: str, high: str) -> str:
    top = "2^53" if spec.get(high) == 2**53 else spec.get(high)
    if low in spec and high in spec:
        return f" {spec[low]}..{top}"
    return f" ≤ {top}" if high in spec else ""


def main(arguments: list[str]) -> int:
    wanted = schemas()
    wanted[PROTOCOL] = protocol_text(PROTOCOL.read_text(encoding="utf-8"))
    stale = [path for path in SCHEMAS.rglob("*.json") if path not in wanted]
    changed = [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in sorted([*changed, *stale]):
        print(path.relative_to(ROOT))
    if "--check" in arguments:
        return 1 if changed or stale else 0
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    for path in stale:
        path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
