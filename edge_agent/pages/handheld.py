"""The page for handhelds: pair by a one-time code, sign in by PIN, then numbered scans and presses.

Served on an address of its own, so that a device in the aisle reaches this and never the status
page. Two cookies: one says which device it is, one which session; the agent keeps their digests.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from edge_agent.domain import handheld as rules_of
from edge_agent.domain import pin as pins
from edge_agent.domain.handheld import Handheld, HandheldRules
from edge_agent.flows import handheld as flow
from edge_agent.flows.handheld import Numbered
from edge_agent.journal import handhelds
from edge_agent.pages import assets, guard, hand_acts, stream
from edge_agent.pages.desk import Desk
from edge_agent.pages.guard import count_in, text_in
from edge_agent.pages.operators import Operators
from edge_agent.pages.pairing import PairingCodes
from edge_agent.pages.sessions import OVER_ZH, Sessions
from protocols.errors import Rejected

DEVICE, SESSION = "packline_pda", "packline_shift"
DEVICE_S = 400 * 86_400
"""The longest a browser keeps a cookie; its life ends when somebody takes the device out."""
SEQ_MAX = 1 << 53
UNREAD = frozenset({"incomplete", "too_long"})


def build(
    desk: Desk, names: tuple[str, ...], codes: PairingCodes, operators: Operators,
    rules: HandheldRules, sessions: Sessions | None = None,
) -> Starlette:  # fmt: skip
    """The application. `names` are the host names under which handhelds reach this machine.

    `sessions` are those that somebody watches beside it.
    """
    page = _Page(desk, codes, operators, rules, sessions or Sessions(desk, operators, rules))
    ours = guard.guard_for(names, desk.refused_handheld)
    presses = {
        "open": page.open,
        "pair": page.pair,
        "sign-in": page.sign_in,
        "sign-out": page.sign_out,
        "do": page.do,
        "unread": page.unread,
    }
    return Starlette(
        routes=[
            Route("/", ours(_to_page)),
            Route("/pda", ours(_page)),
            Route("/assets/{digest}/{name}", ours(assets.serve)),
            Route("/pda/events", ours(page.events)),
            *(Route(f"/pda/{name}", ours(run), methods=["POST"]) for name, run in presses.items()),
        ]
    )


async def _to_page(request: Request) -> Response:
    return RedirectResponse("/pda")


async def _page(request: Request) -> Response:
    text, source = assets.early()
    shown = assets.environment().get_template("pda.html.j2")
    headers = {"Content-Security-Policy": guard.policy(script=f"'self' {source}", connect=True)}
    body = shown.render(early=text, digest=assets.digest())
    return Response(body, media_type="text/html", headers=headers)


class _Page:
    """What the page's script asks for; each answer is JSON."""

    def __init__(
        self, desk: Desk, codes: PairingCodes, operators: Operators, rules: HandheldRules,
        sessions: Sessions,
    ) -> None:  # fmt: skip
        self._desk = desk
        self._codes = codes
        self._operators = operators
        self._rules = rules
        self._sessions = sessions
        self._one_pin = asyncio.Lock()

    async def open(self, request: Request) -> Response:
        """Where the device stands: `pair`, `pin` or `work`; in `work` this page scans now.

        With `look` it only asks, and another page of the device goes on scanning.
        """
        fields = await guard.fields_of(request)
        page = _page_id(fields)
        held = self._device(request)
        if held is None:
            return JSONResponse({"stage": "pair"})
        if reason := self._over(held, request):
            said = self._sessions.said(held, reason)
            return JSONResponse({"stage": "pin", "station": held.station, "said": said})
        if fields.get("look") is True:
            return JSONResponse({"stage": "work"})
        return JSONResponse(await self._working(held, page))

    async def pair(self, request: Request) -> Response:
        """A one-time code becomes a device with a secret of its own."""
        fields = await guard.fields_of(request)
        self._codes.use(text_in(fields, "code", 40), time.monotonic_ns() // 1_000_000)
        device, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        held = await self._desk.write(
            lambda tx: flow.pair(tx, device, rules_of.digest(secret), self._rules)
        )
        response = JSONResponse({"station": held.station})
        _set_cookie(response, request, DEVICE, f"{device}.{secret}", DEVICE_S)
        return response

    async def sign_in(self, request: Request) -> Response:
        """A PIN opens a session; ten wrong ones in a row close for a quarter of an hour."""
        fields = await guard.fields_of(request)
        page = _page_id(fields)
        operator, pin = text_in(fields, "operator", 64), text_in(fields, "pin", 64)
        held = self._known(request)
        session = secrets.token_urlsafe(32)
        async with self._one_pin:
            kept = rules_of.session_of(session, await self._check_pin(held, operator, pin))
            held = await self._desk.write(lambda tx: flow.sign_in(tx, held.id, operator, kept))
            self._sessions.begun(held.id)
        response = JSONResponse(await self._working(held, page))
        _set_cookie(response, request, SESSION, session, self._rules.shift_ms // 1000)
        return response

    async def _check_pin(self, held: Handheld, operator: str, pin: str) -> str:
        """The stored hash that the PIN fits.

        Raises `Rejected` `pin_locked` or `pin_wrong`, the same for an unknown operator.
        """
        self._check_lock(held, operator)
        known = await asyncio.to_thread(self._operators.read)
        if not known:
            text = "还没有设置工号, 请主管运行 edge-agent operator set"
            raise Rejected("pin_wrong", text, "no operators yet", field="operator")
        stored = known.get(operator, "")
        if await asyncio.to_thread(pins.fits, pin, stored):
            return stored
        left = await self._desk.write(
            lambda tx: flow.wrong_pin(tx, held.id, operator if stored else "")
        )
        self._check_lock(held, operator)
        text = f"工号或 PIN 不对, 还可以试 {left} 次"
        raise Rejected("pin_wrong", text, f"{left} tries left", field="pin")

    def _check_lock(self, held: Handheld, operator: str) -> None:
        now_ms, text = self._desk.now_ms(), self._desk.clock_text
        self._desk.read(lambda db: flow.check_lock(db, held.id, operator, now_ms, text))

    async def sign_out(self, request: Request) -> Response:
        """End of the shift."""
        await guard.fields_of(request)
        held = self._signed_in(request)
        await self._desk.write(lambda tx: flow.sign_out(tx, held.id))
        response = JSONResponse({"stage": "pin", "station": held.station})
        response.delete_cookie(SESSION, httponly=True, samesite="strict")
        return response

    async def do(self, request: Request) -> Response:
        """A numbered scan (`code`) or press (`act`): done once, answered as often as it comes."""
        fields = await guard.fields_of(request)
        held = self._signed_in(request)
        number = Numbered(
            held.id, _page_id(fields), count_in(fields, "seq", SEQ_MAX),
            count_in(fields, "at", SEQ_MAX),
        )  # fmt: skip
        if "act" in fields:
            step = hand_acts.step_of(fields["act"])
            pressed = msgspec.json.encode(fields["act"], order="deterministic").decode()
            answer = await self._desk.act(
                lambda tx, at: flow.scan_once(tx, held.station, pressed, at, number, step),
                held.station,
            )
        else:
            code = text_in(fields, "code", guard.BODY_BYTES_MAX)
            answer = await self._desk.scan(
                held.station, code, f"pda-{held.id}", partial(flow.scan_once, number=number)
            )
        return JSONResponse({"answer": asdict(answer), "view": self._view(held)})

    async def unread(self, request: Request) -> Response:
        """A scan that the page could not make a code of, counted like any scanner's."""
        fields = await guard.fields_of(request)
        held = self._signed_in(request)
        reason = text_in(fields, "reason", 32)
        if reason not in UNREAD:
            raise Rejected("field_invalid", "原因有误", "unknown reason", field="reason")
        answer = await self._desk.refuse_scan(held.station, reason, f"pda-{held.id}")
        return JSONResponse({"answer": asdict(answer)})

    async def events(self, request: Request) -> Response:
        """The station's state as it changes, while the session lasts."""
        held = self._signed_in(request)

        def over() -> str:
            now = self._desk.read(lambda db: handhelds.get(db, held.id))
            return "none" if now is None else self._over(now, request)

        return stream.events(self._desk, held.station, over)

    async def _working(self, held: Handheld, page: str) -> dict[str, Any]:
        held = await self._desk.write(lambda tx: flow.open_page(tx, held.id, page))
        return {
            "stage": "work",
            "station": held.station,
            "operator": held.operator,
            "seq": held.seq,
            "view": self._view(held),
        }

    def _view(self, held: Handheld) -> dict[str, Any]:
        return self._desk.at_station(held.station)

    def _device(self, request: Request) -> Handheld | None:
        device, _, secret = request.cookies.get(DEVICE, "").partition(".")
        held = self._desk.read(lambda db: handhelds.get(db, device)) if device else None
        known = held is not None and rules_of.is_same(held.secret, secret)
        return held if known else None

    def _known(self, request: Request) -> Handheld:
        held = self._device(request)
        if held is None:
            raise Rejected("not_paired", "这台 PDA 没有配对", "not paired", field="cookie")
        return held

    def _over(self, held: Handheld, request: Request) -> str:
        return self._sessions.over(held, request.cookies.get(SESSION, ""))

    def _signed_in(self, request: Request) -> Handheld:
        held = self._known(request)
        reason = self._over(held, request)
        if reason:
            raise Rejected("session_over", OVER_ZH[reason], f"session: {reason}", field="cookie")
        return held


def _page_id(fields: Mapping[str, Any]) -> str:
    page = text_in(fields, "page", 64)
    if len(page) < 8:
        raise Rejected("field_invalid", "page 有误", "bad page", field="page")
    return page


def _set_cookie(response: Response, request: Request, name: str, value: str, age_s: int) -> None:
    response.set_cookie(
        name, value, max_age=age_s, httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
