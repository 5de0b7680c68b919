"""One core process under the hammer: the write queue on the shared PostgreSQL, asked over a socket.

Forked from a server that has imported everything, so that a killed one is back at once. A request
is one JSON line `{"n", "op", "hold", "key", "digest", "lines"}`, its answer one line with the same
`n`; `{"n", "op": "paid", "key", "lines"}` brings a paid order of that native number. `plant` names
a fault of `hammer_plants` to put in first; "" is the core as it is.
"""

from __future__ import annotations

import asyncio
import json
import socket
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from cloud_core import bootstrap, logs
from cloud_core.committer import Committer
from cloud_core.domain.commands import Applied, ApplyShopEvents, IncomingOrder
from cloud_core.domain.hold_commands import (
    Answered,
    ConfirmHold,
    HoldAnswer,
    Keyed,
    PlaceHolds,
    ReleaseHold,
    WantedHold,
)
from cloud_core.domain.shop_order import ShopEvent, ShopEventKind, ShopLine
from cloud_core.link import NoLink
from cloud_core.store import key_file
from cloud_core.store.engine import open_engine
from protocols.errors import PacklineError
from tests.support import hammer_plants

SCOPE = "holds:hammer"
LINE_BYTES_MAX = 1_000_000
PAID_MS = 1_767_225_600_000


class NoWriteBack:
    """No shop is told anything here."""

    async def send(self, channel: str, kind: str, body: bytes, idempotency_key: str) -> Any:
        raise AssertionError("no order is shipped under the hammer")


def start(url: str, key: Path, plant: str, line: socket.socket) -> BaseProcess:
    """A core process that answers on `line`."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.support.hammer_core", "tests.support.hammer_nest"])
    process = context.Process(target=_run, args=(url, str(key), plant, line), daemon=True)
    process.start()
    return process


def _run(url: str, key: str, plant: str, line: socket.socket) -> None:
    logs.set_up("error")
    engine = open_engine(url)
    hammer_plants.put_in(plant, engine)
    ports = bootstrap.Ports(bootstrap.SystemClock(), bootstrap.RandomIds(), NoLink(), NoWriteBack())
    knobs = bootstrap.Knobs(inline=True, database_clock=True)
    wired = bootstrap.wire(engine, key_file.load(Path(key)), ports, knobs)
    committer = Committer(wired.commit_core, lambda done: None)
    committer.start()
    asyncio.run(_serve(committer, line))


async def _serve(committer: Committer, line: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=line, limit=LINE_BYTES_MAX)
    running: set[asyncio.Task[None]] = set()

    async def one(asked: dict[str, Any]) -> None:
        said = await _answer(committer, asked)
        writer.write(json.dumps({"n": asked["n"], **said}).encode() + b"\n")

    while text := await reader.readline():
        task = asyncio.create_task(one(json.loads(text)))
        running.add(task)
        task.add_done_callback(running.discard)


async def _answer(committer: Committer, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        done = await committer.submit(_command(asked))
    except PacklineError as error:
        return {"code": error.code, "hold": "", "state": "", "units": []}
    except Exception as error:
        return {"code": f"fault: {error!r}"[:300], "hold": "", "state": "", "units": []}
    if isinstance(done, Applied):
        return {"code": "", "hold": "", "state": done.results[0], "units": []}
    hold: HoldAnswer = done.holds[0] if isinstance(done, Answered) else done
    return {
        "code": hold.code, "hold": hold.id, "state": hold.state,
        "units": [list(unit) for unit in hold.lines],
    }  # fmt: skip


def _command(asked: dict[str, Any]) -> Any:
    if asked["op"] == "paid":
        return _paid(asked)
    if asked["op"] == "release":
        return ReleaseHold(asked["hold"], "hammer")
    keyed = Keyed(SCOPE, asked["key"], asked["digest"])
    if asked["op"] == "confirm":
        return ConfirmHold(asked["hold"], keyed, "hammer")
    lines = tuple((sku, quantity) for sku, quantity in asked["lines"])
    return PlaceHolds((WantedHold(asked["hold"], lines, 3_600),), keyed, "hammer")


def _paid(asked: dict[str, Any]) -> ApplyShopEvents:
    native = asked["key"]
    lines = tuple(
        ShopLine(number, sku, quantity, 100)
        for number, (sku, quantity) in enumerate(asked["lines"], 1)
    )
    event = ShopEvent(
        channel="hammer", native_id=native, dedupe_key=native, kind=ShopEventKind.PAID, version=1,
        occurred_at_ms=PAID_MS, lines=lines,
    )  # fmt: skip
    order = IncomingOrder(event, None, f"DB2026{native:0>8}", f"t-{native}")
    return ApplyShopEvents("hammer", (order,))
