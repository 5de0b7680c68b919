"""What a person may set up for a shop connection: its name, title, address, secret and columns.

Asked by the flow that keeps channels, whatever door the person came through. Every refusal names
the field as the doors call it. This module must not know dialects, HTTP or SQL.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from cloud_core.domain.intake import clean_text
from protocols.errors import Rejected

NAME_CHARS_MAX = 48
TITLE_CHARS_MAX = 80
APP_KEY_CHARS_MAX = 128
URL_CHARS_MAX = 500
SECRET_CHARS_MIN = 8
SECRET_CHARS_MAX = 256
COLUMNS_MAX = 100
HEADER_CHARS_MAX = 100


def check_channel_name(name: str) -> str:
    """A channel's name as it stands in addresses. Raises `Rejected("channel_name")`."""
    fits = name and name[0].isalnum() and all(c.isalnum() or c in "-_" for c in name)
    if not (fits and name.isascii() and name == name.lower() and len(name) <= NAME_CHARS_MAX):
        raise Rejected(
            "channel_name", "渠道名只能用小写字母、数字、- 和 _，最多 48 个字符",
            "a channel name has 1 to 48 of a-z, 0-9, -, _", field="name",
        )  # fmt: skip
    return name


def check_title(title: str) -> str:
    """What people call the shop, 0..80 characters. Raises `Rejected("text_too_long")`."""
    return _bounded(clean_text(title, TITLE_CHARS_MAX + 1), TITLE_CHARS_MAX, "title")


def check_app_key(app_key: str) -> str:
    """The platform's name of our app, 0..128 characters. Raises `Rejected("text_too_long")`."""
    return _bounded(app_key.strip(), APP_KEY_CHARS_MAX, "app_key")


def check_secret(secret: str) -> str:
    """A signing secret, 8..256 printable characters without blanks.

    Raises `Rejected` `secret_short` or `secret_invalid`; neither tells the secret.
    """
    text = secret.strip()
    if len(text) < SECRET_CHARS_MIN:
        raise Rejected(
            "secret_short", f"密钥至少 {SECRET_CHARS_MIN} 个字符", "the secret is too short",
            field="secret",
        )  # fmt: skip
    if len(text) > SECRET_CHARS_MAX or not text.isprintable() or " " in text:
        raise Rejected(
            "secret_invalid", f"密钥最多 {SECRET_CHARS_MAX} 个字符，不能有空格或控制字符",
            f"a secret has at most {SECRET_CHARS_MAX} characters, no blanks", field="secret",
        )  # fmt: skip
    return text


def check_write_back_url(url: str) -> str:
    """Where the shop is told, "" for nowhere. Raises `Rejected("url_invalid")`.

    `http` or `https` with a host; no user name, password or fragment, which would be logged.
    """
    text = url.strip()
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        raise _url() from None
    plain = text.isascii() and text.isprintable() and " " not in text
    clean = not (parts.username or parts.password or parts.fragment)
    known = parts.scheme in ("http", "https") and bool(parts.hostname)
    if not (plain and clean and known and port_fits and len(text) <= URL_CHARS_MAX):
        raise _url()
    return text


def check_columns(columns: Mapping[str, str], fields: Collection[str]) -> dict[str, str]:
    """Header of a spreadsheet -> field of ours, at most 100. `fields` are those that exist.

    Raises `Rejected("mapping_broken")` naming the header.
    """
    if len(columns) > COLUMNS_MAX:
        raise _mapping("columns", f"列映射最多 {COLUMNS_MAX} 列", "too many columns are mapped")
    for header, target in columns.items():
        where = f"columns.{header[:40]}"
        if not header.strip() or len(header) > HEADER_CHARS_MAX:
            raise _mapping(where, "表头为空或过长", "a header is empty or too long")
        if target not in fields:
            raise _mapping(
                where, f"没有字段 {target[:40]}，可选：{'、'.join(sorted(fields))}",
                f"no field {target[:40]}; one of {', '.join(sorted(fields))}",
            )  # fmt: skip
    return dict(columns)


def _bounded(text: str, max_chars: int, field: str) -> str:
    if len(text) > max_chars:
        raise Rejected(
            "text_too_long", f"超过 {max_chars} 个字符", f"longer than {max_chars} characters",
            field=field,
        )  # fmt: skip
    return text


def _url() -> Rejected:
    return Rejected(
        "url_invalid",
        f"回传地址须为 http(s)://主机…，不含用户名和密码，最多 {URL_CHARS_MAX} 个字符",
        "a write-back address is http(s)://host…, without user name and password",
        field="write_back_url",
    )  # fmt: skip


def _mapping(field: str, zh: str, en: str) -> Rejected:
    return Rejected("mapping_broken", zh, en, field=field)
