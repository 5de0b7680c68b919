"""The support bundle: everything that helps to find a fault, nothing that tells of a person (P12).

Works by an allow-list: what is not named here does not go in. Texts that come from outside pass a
sieve on top. Chooses and packs; what it is given was read by bootstrap.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

TEXT_CHARS_MAX = 400
LOG_LINES_MAX = 2_000
_GAP = r"\s_()\-\u2010-\u2015\u2212\uff0d"
_DOT = r".\u00b7\u30fb\uff0e"
_DIGITS = re.compile(rf"\d(?:[{_GAP}]{{0,3}}\d){{6,}}")
_DOTTED = re.compile(rf"(?<![\d.])\d{{1,4}}(?:[{_GAP}{_DOT}]{{1,3}}\d{{2,8}})+(?!\d)")
_BY_DOT = re.compile(rf"\d{{3,}}[{_DOT}]|[{_DOT}]\d{{3,}}")
_PAIRS = re.compile(rf"\d{{2}}(?:[{_DOT}]\d{{2}}){{4,}}")
_SHORT = re.compile(rf"\d{{3,4}}[{_DOT}]\d{{4}}")
"""Phones with dots: ten digits and more with a long group at a dot, or pairs; or a short number.
Versions have short groups, and zeros alone; decimals have no group of three or four before four."""
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_MAIL = re.compile(r"[^\s@=<>\"']+@[^\s@=<>\"']+")
_LEFT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,12}(?:Z|[+-][0-9:]{4,5})?"
    rf"|(?<![\d.])(?:{_OCTET}\.){{3}}{_OCTET}(?![\d]|\.\d)(?::[0-9]{{1,5}}(?!\d))?)",
    re.ASCII,
)
"""Time stamps and IPv4 addresses, which stay as they are."""
_HEX_ID = re.compile(r"(?=[0-9]*[a-f])[0-9a-f]{16,64}")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff·]+")
_UPPER, _LETTER = "A-Z\u00c0-\u00d6\u00d8-\u00de", "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017f"
_WORD = rf"[{_UPPER}][{_LETTER}'\u2019]*"
_NAMES = re.compile(
    rf"(?<![{_LETTER}\d_/.-]){_WORD}(?:[ ,.\u00b7-]{{1,2}}{_WORD})*(?![{_LETTER}\d_])"
)
"""Words that begin with a capital, side by side: Latin letters write names so."""
_OUR_WORDS = """INFO WARNING ERROR DEBUG CRITICAL OSError ValueError RuntimeError TimeoutError Errno
Error EvdevDevice RecordDevice PDA USB HID TCP TLS SSL MQTT SQLite JSON TSPL ZPL ESC POS UTC UTF
Raspberry Pi Debian Linux Python SD WAL Z"""
_KNOWN_WORDS = frozenset(_OUR_WORDS.split()) | frozenset(
    word for code in errno.errorcode for word in re.findall(_WORD, os.strerror(code))
)
_KEY = re.compile(r"(?<!\w)([A-Za-z_]\w*)=")
_OUR_KEYS = """acked attempt boot bytes call code count device field from grabbed held host hung id
inc kind labels number operator path port printer printing reader reason released revision rows
rows_saved seq shipments source state station status stream times to tries_left type unfinished
unknown url"""
LOG_KEYS = frozenset(_OUR_KEYS.split())
"""Keys of our own log lines; what stands behind any other was not written by us."""
_SECRET_KEYS = frozenset({"operator"})
_LOG_LINE = re.compile(r"\b[a-z_]+\.[a-z_]+\b")
_FREE_TEXT = frozenset({"warehouse_name"})
"""Settings that people write sentences into."""

_STATUS_WHOLE = ("agent", "site", "version", "now_ms", "boot", "link", "streams", "journal",
                 "counters", "task_counts", "job_counts", "open", "resynced")  # fmt: skip


def sieve(text: str) -> str:
    """A text from outside without phones, long numbers, addresses and names; cut to a bound.

    Full names in Latin letters: two capitalised words or more that are none of ours.
    """
    if _HEX_ID.fullmatch(text):
        return text
    pieces = _LEFT.split(text[: 4 * TEXT_CHARS_MAX])
    pieces[::2] = [_sieved_piece(piece) for piece in pieces[::2]]
    return "".join(pieces)[:TEXT_CHARS_MAX]


def _sieved_piece(piece: str) -> str:
    text = _DIGITS.sub("[digits]", _DOTTED.sub(_phone, piece))
    return _MAIL.sub("[mail]", _without_names(text, 2))


def _phone(match: re.Match[str]) -> str:
    text = match.group()
    many = sum(char.isdigit() for char in text) >= 10
    is_one = _SHORT.fullmatch(text) or (many and (_BY_DOT.search(text) or _PAIRS.search(text)))
    return "[digits]" if is_one else text


def _without_names(text: str, least: int) -> str:
    """Hide words we do not know in runs of capitalised words with at least `least` of them."""

    def hide(match: re.Match[str]) -> str:
        run = match.group()
        strange = [word for word in re.findall(_WORD, run) if word not in _KNOWN_WORDS]
        if len(strange) < least:
            return run
        return re.sub(_WORD, lambda one: one[0] if one[0] in _KNOWN_WORDS else "[name]", run)

    return _NAMES.sub(hide, text)


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
    """Lines in the form our own log has; no Chinese or strange name from inside them, no long
    numbers, and nothing behind a key that is none of ours.
    """
    kept = [line for line in lines if _LOG_LINE.search(line)]
    return [_HAN.sub("[zh]", sieve(_log_line(line))) for line in kept[-LOG_LINES_MAX:]]


def _log_line(line: str) -> str:
    first, *pairs = _KEY.split(line)
    told = [first]
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        kept = key in LOG_KEYS - _SECRET_KEYS
        told.append(f"{key}={value}" if kept else f"{key}=[hidden] ")
    return _without_names("".join(told).rstrip(), 1)


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
