"""The writer thread: many at once, each answered after its commit, in the order they came."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge_agent.journal.core import JournalCore
from edge_agent.journal.tx import Tx
from edge_agent.journal.writer import ThreadJournal
from protocols.events import ItemPicked
from protocols.messages import Token
from tests.support.edge import HandClock, connect


def pick(tx: Tx) -> int:
    body = ItemPicked(shipment="DB1-1", token=Token(1, 1), sku="A", quantity=1)
    return tx.append("item.picked", body)


async def test_what_was_answered_is_visible_to_any_other_connection(tmp_path: Path) -> None:
    clock = HandClock()
    core = JournalCore(connect(tmp_path / "j.db"), "sha-1", "floor", lambda: "ab" * 8)
    core.open(clock.now())
    journal = ThreadJournal(core, connect(tmp_path / "j.db"), clock)
    journal.start(asyncio.get_running_loop())

    async def one() -> None:
        seq = await journal.write(pick)
        found = journal.read(
            lambda db: db.execute("SELECT COUNT(*) FROM row WHERE seq=?", (seq,)).fetchone()
        )
        assert found == (1,)

    async def bad() -> None:
        with pytest.raises(ValueError, match="no"):
            await journal.write(refuse)

    await asyncio.gather(*(one() for _ in range(300)), *(bad() for _ in range(20)))
    assert journal.position.last == 301
    first, second = await asyncio.gather(journal.write(pick), journal.write(pick))
    assert second == first + 1
    await journal.stop()


def refuse(tx: Tx) -> None:
    pick(tx)
    raise ValueError("no")
