"""Letting a handheld in: a one-time code on the screen, on paper, or both.

The code is shown to who pressed for it and stands on the ticket; no answer of `ticket` carries it.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import segno
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_agent.domain.answer import Answer, done
from edge_agent.flows import pair_ticket
from edge_agent.flows.bench import Bench
from edge_agent.flows.pair_ticket import PairTicket
from edge_agent.journal.tx import Tx
from edge_agent.pages import assets, guard
from edge_agent.pages.desk import Desk
from edge_agent.pages.pairing import PAPER_VALID_MS, VALID_MS, PairingCodes
from protocols.errors import Rejected

ON_PAGE, AT_COMMAND = "status-page", "edge-agent"
"""Who asked for a ticket."""


@dataclass(frozen=True, slots=True)
class HandheldDoor:
    """Where handhelds reach their page, and the codes that let one in."""

    codes: PairingCodes
    address: str


async def page(code: str, desk: Desk, door: HandheldDoor | None, token: str) -> Response:
    """A fresh code; with `code` the one shown before, which now goes to the printer as well."""
    door = _open(door)
    said, valid_s = None, VALID_MS // 1000
    if code:
        said = await _print(code, desk, door, "", ON_PAGE)
        valid_s = PAPER_VALID_MS // 1000
    else:
        code = door.codes.new(_mono_ms())
    shown = PairTicket("", code, door.address, 0, "")
    drawn = io.BytesIO()
    segno.make(shown.qr, error="m", micro=False).save(
        drawn, kind="svg", xmldecl=False, omitsize=True, border=4, nl=False
    )
    template = assets.environment().get_template("pair.html.j2")
    text = template.render(
        digest=assets.digest(),
        token=token,
        said=said,
        qr=drawn.getvalue().decode(),
        code=code,
        shown=shown.shown,
        address=door.address,
        valid_s=valid_s,
    )
    return Response(text, media_type="text/html")


async def ticket(request: Request, desk: Desk, door: HandheldDoor | None) -> Response:
    """A fresh code straight onto paper, for the command line: its ticket's number, no code."""
    fields = await guard.fields_of(request)
    door = _open(door)
    printer = guard.text_in(fields, "printer", 64)
    code = door.codes.new(_mono_ms())
    answer = await _print(code, desk, door, printer, AT_COMMAND)
    if answer.tone == "error":
        raise Rejected(answer.code, answer.text_zh, "no ticket was queued", field="printer")
    number, left_ms = door.codes.on_paper(code, _mono_ms(), 0)
    until = desk.clock_text(desk.now_ms() + left_ms)
    return JSONResponse({"kind": pair_ticket.KIND, "number": number, "until": until})


async def _print(code: str, desk: Desk, door: HandheldDoor, printer: str, who: str) -> Answer:
    number, left_ms = door.codes.on_paper(code, _mono_ms(), desk.now_ms())
    words = PairTicket(number, code.upper(), door.address, left_ms, who)

    def run(tx: Tx, at: Bench) -> Answer:
        if printer and printer not in at.plan.printers:
            raise Rejected("printer_unknown", "本机没有这台打印机", "no printer", field="printer")
        pair_ticket.print_pairing(tx, words, at, printer=printer)
        return done("pair_ticket", "配对单打印中")

    return await desk.act(run)


def _open(door: HandheldDoor | None) -> HandheldDoor:
    if door is None:
        raise Rejected(
            "handhelds_off", "没有开启 PDA 页面", "no handheld page", field="pda_enabled"
        )
    return door


def _mono_ms() -> int:
    return time.monotonic_ns() // 1_000_000
