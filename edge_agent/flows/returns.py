"""Returns at the bench."""

from __future__ import annotations

from edge_agent.flows.bench import Bench
from edge_agent.journal.tx import Tx
from protocols import commands
from protocols.errors import Rejected


def announce(tx: Tx, body: commands.ReturnTicket, at: Bench) -> None:
    raise Rejected("return_unsupported", "本机还不支持退货", "no returns yet", field="kind")


def void(tx: Tx, body: commands.ReturnVoid) -> None:
    raise Rejected("return_unsupported", "本机还不支持退货", "no returns yet", field="kind")
