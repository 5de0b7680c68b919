"""Draws the staff console: one layout, one style sheet, one small script that is not needed.

Every page works without JavaScript; the script only fetches the page again while somebody looks at
it. Nothing is loaded from elsewhere and nothing stands inline, so the Content-Security-Policy names
this address alone. Must not know SQL, HTTP routing or clear contact data.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from cloud_core.domain import breaker_words, returning, urgency, wording
from cloud_core.pages.console import figures, reasons
from protocols.vocabulary import STATE_ZH

REFRESH_S = 15
NAV = (
    ("overview", "/console", "总览"),
    ("orders", "/console/orders", "订单"),
    ("shipments", "/console/shipments", "发货单"),
    ("parked", "/console/parked", "停放"),
    ("stock", "/console/stock", "库存"),
    ("returns", "/console/returns", "退换货"),
    ("incidents", "/console/incidents", "事件"),
    ("alarms", "/console/alarms", "告警"),
    ("breakers", "/console/breakers", "熔断"),
    ("agents", "/console/agents", "现场"),
)
"""The pages of the upper line: name, address, words."""
_ASSETS = {"console.css": "text/css; charset=utf-8", "refresh.js": "text/javascript; charset=utf-8"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # a form sent under `no-referrer` has no Origin to check
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}


def draw(page: str, facts: dict[str, Any]) -> str:
    """The document of a page: `facts` hold its rows, `frame` who looks and `now_ms` the time."""
    return _environment().get_template(f"{page}.html.j2").render(facts)


def headers() -> dict[str, str]:
    """What every console answer carries."""
    return dict(_HEADERS)


@cache
def asset(name: str) -> tuple[bytes, str, str]:
    """Bytes, media type and entity tag of a file of ours. Raises `KeyError` for any other."""
    media = _ASSETS[name]
    folder = resources.files("cloud_core.pages").joinpath("templates", "console")
    body = folder.joinpath(name).read_bytes()
    return body, media, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cloud_core", "pages/templates/console"),
        autoescape=select_autoescape(enabled_extensions=("j2",), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        nav=NAV,
        refresh_s=REFRESH_S,
        style=f"/console/console.css?v={asset('console.css')[2][1:9]}",
        script=f"/console/refresh.js?v={asset('refresh.js')[2][1:9]}",
        STATE_ZH=STATE_ZH,
        STOP_ZH=wording.STOP_ZH,
        LABEL_ZH=wording.LABEL_ZH,
        HOLD_ZH=wording.HOLD_ZH,
        LIGHT_ZH=urgency.LIGHT_ZH,
        ALARM_ZH=wording.ALARM_ZH,
        BREAKER_ZH=breaker_words.STATE_ZH,
        RETURN_ZH=returning.STATE_ZH,
        GIFT_ZH=returning.GIFT_ZH,
        OUTCOME_ZH=returning.OUTCOME_ZH,
        PRINTED_ZH=returning.PRINTED_ZH,
        REFUND_ZH=returning.REFUND_ZH,
        span=figures.span,
        light=urgency.light,
        OPEN=urgency.OPEN,
        LEFT=urgency.LEFT,
        parked_zh=wording.parked_zh,
        state_zh=wording.state_zh,
        incident_zh=wording.incident_zh,
        change_zh=wording.change_zh,
        actor_zh=wording.actor_zh,
        clock=figures.clock,
        left=figures.left,
        age=figures.age,
        yuan=figures.yuan,
        upto=figures.upto,
        share=figures.share,
        reasons_of=reasons.reasons_of,
        brief=reasons.brief,
    )
    return environment
