"""Draws the tracking page: words from `domain.tracking`, one document, no second request.

The style stands in the page and its hash in the Content-Security-Policy, so that nothing else can
run or load. Must not know SQL, HTTP routing or clear contact data.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from cloud_core.domain.tracking import STAGES, Page

_TEMPLATES = ("page.html.j2", "tracking.html.j2", "notice.html.j2")
NOTICES = {
    "track_unknown": (
        "没有找到这个订单",
        ("链接可能不完整，请回到短信或订单页面重新打开。", "如仍无法查询，请联系店铺客服。"),
    ),
    "track_expired": (
        "查询链接已过期",
        ("订单完成已久，为保护您的隐私，此链接已停用。", "如需帮助，请联系店铺客服。"),
    ),
    "rate_limited": ("查询太频繁了", ("请稍等一分钟再刷新页面。",)),
    "unavailable": ("系统正在维护", ("物流信息暂时无法查询，请稍后再试。",)),
}
"""Pages that say why there is no timeline: title and lines by error code."""


def draw(page: Page) -> str:
    """The document of one order."""
    return _environment().get_template("tracking.html.j2").render(page=page, names=STAGES)


def draw_notice(code: str) -> str:
    """The document for an error code of `NOTICES`."""
    title, lines = NOTICES[code]
    clock = code in ("track_expired", "rate_limited", "unavailable")
    template = _environment().get_template("notice.html.j2")
    return template.render(title=title, lines=lines, clock=clock)


@cache
def headers() -> dict[str, str]:
    """What every tracking answer carries: nothing loads, nothing leaks where it was opened."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex, nofollow",
    }


@cache
def _environment() -> Environment:
    loader = DictLoader({name: _read(name) for name in _TEMPLATES})
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals["style"] = Markup(_style())  # noqa: S704 - our own file, not input
    return environment


@cache
def _style() -> str:
    return _read("tracking.css").strip()


def _read(name: str) -> str:
    folder = resources.files("cloud_core.pages").joinpath("templates")
    return folder.joinpath(name).read_text(encoding="utf-8")
