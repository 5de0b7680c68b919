"""The support bundle: everything that helps to find a fault, nothing that tells of a person (P12).

Works by an allow-list: what is not named here does not go in. Texts that come from outside pass a
sieve on top. Chooses and packs; what it is given was read by bootstrap.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

TEXT_CHARS_MAX = 400
LOG_LINES_MAX = 2_000
_DIGITS = re.compile(r"\d(?:[ _()-]{0,2}\d){6,}")
_MAIL = re.compile(r"[^\s@=<>\"']+@[^\s@=<>\"']+")
_STAMP = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,12}(?:Z|[+-][0-9:]{4,5})?)")
_HEX_ID = re.compile(r"(?=[0-9]*[a-f])[0-9a-f]{16,64}")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff·]+")
_LOG_LINE = re.compile(r"\b[a-z_]+\.[a-z_]+\b")
_FREE_TEXT = frozenset({"warehouse_name"})
"""Settings that people write sentences into."""

_STATUS_WHOLE = ("agent", "site", "version", "now_ms", "boot", "link", "streams", "journal",
                 "counters", "task_counts", "job_counts", "open", "resynced")  # fmt: skip


def sieve(text: str) -> str:
    """A text from outside without long numbers and addresses of people, cut to a bound."""
    if _HEX_ID.fullmatch(text):
        return text
    pieces = _STAMP.split(text[: 4 * TEXT_CHARS_MAX])
    pieces[::2] = [_MAIL.sub("[mail]", _DIGITS.sub("[digits]", piece)) for piece in pieces[::2]]
    return "".join(pieces)[:TEXT_CHARS_MAX]


def status_part(status: Mapping[str, Any]) -> dict[str, Any]:
    """What of `/status.json` may leave: counts, levels, codes; no scan, order or operator."""
    told = {key: _sieved(status[key]) for key in _STATUS_WHOLE if key in status}
    told["printers"] = {
        name: {"level": one.get("level"), "code": one.get("code")}
        for name, one in status.get("printers", {}).items()
    }
    told["jobs"] = [
        {"kind": one.get("kind"), "state": one.get("state"), "reason": one.get("reason"),
         "printer": one.get("printer"), "queued_ms": one.get("queued_ms")}
        for one in status.get("jobs", [])
    ]  # fmt: skip
    told["tasks"] = [
        {"state": one.get("state"), "station": one.get("station"), "lines": len(one["lines"])}
        for one in status.get("tasks", [])
    ]
    told["box"] = _sieved(status.get("box", {}))
    told["out_of_order"] = _sieved(status.get("out_of_order", {}))
    return told


def settings_part(values: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting; what people write sentences into only as "set". Secrets are never settings."""
    return {
        key: ("(set)" if value else "") if key in _FREE_TEXT else _sieved(value)
        for key, value in values.items()
    }


def events_part(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The newest events without their bodies."""
    return [
        {"epoch": one["epoch"], "seq": one["seq"], "type": one["type"], "wall_ms": one["wall_ms"],
         "station": sieve(one["station"]), "body_chars": len(json.dumps(one["body"]))}
        for one in events
    ]  # fmt: skip


def log_part(lines: Iterable[str]) -> list[str]:
    """Lines in the form our own log has; no Chinese from inside them, no long numbers."""
    kept = [line for line in lines if _LOG_LINE.search(line)]
    return [_HAN.sub("[zh]", sieve(line)) for line in kept[-LOG_LINES_MAX:]]


def findings_part(findings: Iterable[Any]) -> list[dict[str, Any]]:
    """The doctor's findings."""
    return [
        {"name": one.name, "ok": one.ok, "found": sieve(one.found_zh), "fix": one.fix_zh}
        for one in findings
    ]


def packed(parts: Mapping[str, Any], now_s: int) -> bytes:
    """A gzipped tar file with one JSON or text file a part."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, part in parts.items():
            if isinstance(part, list) and all(isinstance(one, str) for one in part):
                data, suffix = "\n".join(part), "txt"
            else:
                data, suffix = json.dumps(part, ensure_ascii=False, indent=1), "json"
            content = data.encode()
            entry = tarfile.TarInfo(f"packline-bundle/{name}.{suffix}")
            entry.size, entry.mtime, entry.mode = len(content), now_s, 0o600
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _sieved(value: Any) -> Any:
    if isinstance(value, str):
        return sieve(value)
    if isinstance(value, Mapping):
        return {sieve(str(key)): _sieved(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_sieved(one) for one in value]
    return value
