"""Notices: who hears what, how fast, how often again, and what a robot's answer means.

Pure values and sums for the flow that tells people; the languages of the robots are
`notifiers/*`. This module must not know HTTP, SQL or a clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from urllib.parse import urlsplit, urlunsplit

import msgspec

from protocols.errors import Rejected

TARGET_KINDS = ("log", "webhook", "dingtalk", "wecom")
NOTICE_KINDS = ("breaker", "change_unconfirmed", "return_announced", "return_overdue")
"""Everything that people are told of; a target may hear of some only."""
STYLES = ("markdown", "text")
TITLE_CHARS_MAX = 80
TEXT_CHARS_MAX = 4_000
GIVE_UP_MS = 24 * 3_600_000
"""A notice older than this is not tried again: it would only mislead."""
RETRY_MS, RETRY_MS_MAX = 5_000, 600_000
URL_CHARS_MAX = 500
MOBILES_MAX = 20
LIST_MAX = 100
SECRET_CHARS_MAX = 256
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}\Z")
_KIND = re.compile(r"[a-z][a-z_]{0,31}\Z")
_WAREHOUSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_MOBILE = re.compile(r"\+?[0-9]{6,15}\Z")


class Bucket:
    """Tokens of one target: at most `per_min` in any 60 seconds, a few of them at once.

    It begins empty, so that a restart does not add to what was sent just before it. Burst plus
    refill in a minute make `per_min`; a full bucket of `per_min` would let twice as many through.
    """

    def __init__(self, per_min: int, now_s: float) -> None:
        self._burst = max(1, per_min // 4)
        self._per_s = max(1, per_min - self._burst) / 60
        self._tokens, self._at_s = 0.0, now_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until one more may be sent; 0 now. Takes nothing."""
        gained = max(0.0, now_s - self._at_s) * self._per_s
        self._tokens = min(float(self._burst), self._tokens + gained)
        self._at_s = max(now_s, self._at_s)
        return 0.0 if self._tokens >= 0.999_999 else (1 - self._tokens) / self._per_s

    def take(self) -> None:
        """Count one message; call it after `wait_s` said 0."""
        self._tokens = max(0.0, self._tokens - 1)


def hears(kinds: Sequence[str], warehouses: Sequence[str], kind: str, warehouse: str) -> bool:
    """Whether a target with these filters (empty = all) hears of `kind` at `warehouse`."""
    return (not kinds or kind in kinds) and (
        not warehouses or not warehouse or warehouse in warehouses
    )


def retry_ms(attempts: int, spread: float) -> int:
    """Milliseconds to the next try after `attempts` failed ones; `spread` 0..1 is the jitter.

    Doubles from 5 s to 10 minutes; half of it is drawn, so that targets do not march in step.
    """
    full = min(RETRY_MS_MAX, RETRY_MS * 2 ** min(attempts, 20))
    return int(full * (0.5 + 0.5 * spread))


def cut_bytes(text: str, max_bytes: int) -> str:
    """`text` in at most `max_bytes` of UTF-8, never through a character; "…" where it was cut."""
    raw = text.encode()
    if len(raw) <= max_bytes:
        return text
    mark = "…"
    room = max_bytes - len(mark.encode())
    return raw[:room].decode("utf-8", "ignore") + mark


def read_errcode(body: bytes) -> tuple[int | None, str]:
    """(`errcode`, `errmsg`) of a robot's JSON answer; None when there is none to read."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, "answer is not JSON"
    if not isinstance(found, dict) or type(found.get("errcode")) is not int:
        return None, "answer has no errcode"
    return found["errcode"], str(found.get("errmsg", ""))[:200]


def robot_said(
    status: int, body: bytes, too_fast: Collection[int], wait_s: float
) -> tuple[bool, str, float]:
    """(taken, what the robot said, seconds to be silent) of a robot's HTTP answer.

    Only errcode 0 is a yes, whatever the HTTP status; codes in `too_fast` ask for `wait_s`.
    """
    code, text = read_errcode(body)
    if code is None:
        return False, f"HTTP {status}: {text}", 0.0
    return (
        code == 0 and status == 200,
        f"errcode {code}: {text}",
        wait_s if code in too_fast else 0.0,
    )


def shown_url(url: str) -> str:
    """A URL without what is secret in it: no query, and no path (some hooks hide a key there)."""
    if not url:
        return ""
    parts = urlsplit(url)
    more = "/…" if len(parts.path) > 1 or parts.query else ""
    return urlunsplit((parts.scheme, parts.netloc, "", "", "")) + more


def check_target_name(name: str) -> str:
    """Raises `Rejected("notify_name")`."""
    if not _NAME.match(name):
        raise _no("notify_name", "name", "名称只能用小写字母、数字、- 和 _，最多 48 个字符",
                  "a name has 1 to 48 of a-z, 0-9, -, _")  # fmt: skip
    return name


def check_target_kind(kind: str) -> str:
    """Raises `Rejected("notify_kind")`."""
    if kind not in TARGET_KINDS:
        raise _no("notify_kind", "kind", f"类型只能是 {'、'.join(TARGET_KINDS)}",
                  f"the kind is one of {', '.join(TARGET_KINDS)}")  # fmt: skip
    return kind


def check_style(style: str) -> str:
    """Raises `Rejected("notify_style")`."""
    if style not in STYLES:
        raise _no("notify_style", "style", "格式只能是 markdown 或 text",
                  "the style is markdown or text")  # fmt: skip
    return style


def check_target_url(kind: str, url: str) -> str:
    """An http(s) address with a host, none for `log`. Raises `Rejected("notify_url")`.

    Robots must carry their key: DingTalk `access_token`, WeCom `key`.
    """
    text = url.strip()
    if kind == "log":
        if text:
            raise _no("notify_url", "url", "log 不需要地址", "a log takes no address")
        return ""
    try:
        parts = urlsplit(text)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_fits = urlsplit(""), False
    plain = text.isascii() and text.isprintable() and " " not in text
    clean = not (parts.username or parts.password or parts.fragment)
    known = parts.scheme in ("http", "https") and bool(parts.hostname)
    if not (plain and clean and known and port_fits and len(text) <= URL_CHARS_MAX):
        raise _no("notify_url", "url", f"地址须为 http(s)://主机…，最多 {URL_CHARS_MAX} 个字符",
                  "an address is http(s)://host…, without user name and password")  # fmt: skip
    needed = {"dingtalk": "access_token=", "wecom": "key="}.get(kind, "")
    there = any(part.startswith(needed) and part != needed for part in parts.query.split("&"))
    if needed and not there:
        raise _no("notify_url", "url", f"机器人地址缺少 {needed}…",
                  f"the robot's address lacks {needed}…")  # fmt: skip
    return text


def check_target_secret(kind: str, secret: str) -> str:
    """The signing secret: needed for a web hook, optional for DingTalk, none for the others.

    Raises `Rejected("notify_secret")`, which never tells it.
    """
    text = secret.strip()
    usable = len(text) <= SECRET_CHARS_MAX and text.isprintable() and " " not in text
    if kind == "webhook" and len(text) < 8:
        raise _no("notify_secret", "secret", "webhook 需要至少 8 个字符的签名密钥",
                  "a web hook needs a signing secret of 8 characters or more")  # fmt: skip
    if not usable or (text and kind in ("log", "wecom")):
        raise _no("notify_secret", "secret", "密钥不可用，或该类型不需要密钥",
                  "the secret cannot be used, or this kind takes none")  # fmt: skip
    return text


def check_mobiles(mobiles: Iterable[str]) -> tuple[str, ...]:
    """Phones a robot mentions, at most 20. Raises `Rejected("notify_mobile")`."""
    found = tuple(dict.fromkeys(m.strip() for m in mobiles if m.strip()))
    if len(found) > MOBILES_MAX or not all(_MOBILE.match(m) for m in found):
        raise _no("notify_mobile", "mobiles", f"手机号只能是数字，最多 {MOBILES_MAX} 个",
                  f"mobiles are digits, at most {MOBILES_MAX}")  # fmt: skip
    return found


def check_filters(
    kinds: Iterable[str], warehouses: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a target hears of. Raises `Rejected("notify_filter")` naming the list."""
    found = []
    for field, pattern, values in (("kinds", _KIND, kinds), ("warehouses", _WAREHOUSE, warehouses)):
        given = tuple(dict.fromkeys(v.strip() for v in values if v.strip()))
        if len(given) > LIST_MAX or not all(pattern.match(v) for v in given):
            raise _no("notify_filter", field, f"{field} 有无法识别的值",
                      f"{field} has a value that cannot be")  # fmt: skip
        strange = [v for v in given if field == "kinds" and v not in NOTICE_KINDS]
        if strange:
            raise _no("notify_filter", field,
                      f"没有类别 {strange[0]}，可选：{'、'.join(NOTICE_KINDS)}",
                      f"no kind {strange[0]}; one of {', '.join(NOTICE_KINDS)}")  # fmt: skip
        found.append(given)
    return found[0], found[1]


def _no(code: str, field: str, zh: str, en: str) -> Rejected:
    return Rejected(code, zh, en, field=field)
