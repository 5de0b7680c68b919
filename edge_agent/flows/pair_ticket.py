"""The pairing ticket: how one handheld is let in, on paper, for a box without a screen.

Once for each code: the same ticket number again is the job there is already. The code stands on the
paper and in its row, never in a number, an event or a log line, and is void after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.domain.label import NoticeFields
from edge_agent.domain.print_job import PrintJob
from edge_agent.flows.bench import Bench
from edge_agent.flows.paper import enqueue_paper
from edge_agent.journal import meta
from edge_agent.journal.tx import Tx

KIND = "pair_ticket"


@dataclass(frozen=True, slots=True)
class PairTicket:
    """What the paper says. `number` names it everywhere; `left_ms` is how long the code is good.

    `address` is where a handheld opens its page; `operator` is who asked.
    """

    number: str
    code: str
    address: str
    left_ms: int
    operator: str

    @property
    def qr(self) -> str:
        """What a handheld scans into its browser's address field."""
        return f"{self.address}#pair={self.code}"

    @property
    def shown(self) -> str:
        """The code as a person reads it."""
        return f"{self.code[:4]}-{self.code[4:]}"


def print_pairing(tx: Tx, ticket: PairTicket, at: Bench, *, printer: str = "") -> PrintJob:
    """Queue one pairing ticket; `printer` "" = the first. Raises `Rejected("no_printer")`."""
    now_ms = tx.now.wall_ms
    until = at.plan.clock_text(now_ms + ticket.left_ms)
    fields = NoticeFields(
        title="配对一台 PDA",
        lines=(
            "1. PDA 连上仓库 Wi-Fi，打开 Chrome，光标放在地址栏",
            "2. 用 PDA 的扫描头扫下面的二维码",
            f"没有二维扫描头：打开 {ticket.address}",
            f"再按“手输配对码”：{ticket.shown}",
            f"只能用一次，{until} 前有效，本机重启后作废",
        ),
        created=at.plan.date_text(now_ms),
        warehouse=meta.text(tx.db, "cfg_warehouse_name") or at.plan.warehouse_name or at.plan.site,
        station=at.plan.agent,
        qr=ticket.qr,
        qr_note=ticket.shown,
    )
    return enqueue_paper(
        tx, KIND, ticket.number, fields, at, printer=printer, operator=ticket.operator,
        ttl_s=max(1, ticket.left_ms // 1000),
    )  # fmt: skip
