"""What a bench may not count: another house's shelves, goods that nobody knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from protocols import events as e
from protocols.errors import Rejected
from tests.support.core import CoreBench


@pytest.fixture
def core(tmp_path: Path) -> CoreBench:
    found = CoreBench(tmp_path)
    found.online()
    return found


def test_an_agent_counts_only_in_its_own_house(core: CoreBench) -> None:
    agent = core.agents["hz-a"]
    row = agent.event("stock.counted", e.StockCounted([e.Count("A", 3)]), core.clock.ms)
    foreign = replace(agent.batch([row]), site=core.agents["sz-a"].site)
    with pytest.raises(Rejected) as refused:
        core.do(foreign)
    assert (refused.value.code, refused.value.field) == ("agent_site", "site")
    assert core.stock("HZ01", "A") == core.stock("SZ01", "A") == (10, 0, 0)


def test_a_count_of_unknown_goods_is_named_and_its_neighbours_go_through(core: CoreBench) -> None:
    counts = [e.Count("NOBODYS", 3), e.Count("A", 4)]
    core.report("hz-a", ("stock.counted", e.StockCounted(counts)))
    assert core.stock("HZ01", "A") == (4, 0, 0)
    assert core.one("SELECT code, field FROM quarantine") == ("sku_unknown", "counts.sku")
    assert core.one("SELECT count(*) FROM stock WHERE sku = 'NOBODYS'") == 0


@pytest.mark.parametrize("shelf", [-1, 10**12, 2.5, "3", None], ids=str)
def test_an_impossible_count_is_named_and_its_neighbours_go_through(
    core: CoreBench, shelf: object
) -> None:
    agent = core.agents["hz-a"]
    good = agent.event("stock.counted", e.StockCounted([e.Count("A", 4)]), core.clock.ms)
    bad = agent.event("stock.counted", {"counts": [{"sku": "A", "shelf": shelf}]}, core.clock.ms)
    last = agent.event("stock.counted", e.StockCounted([e.Count("B", 5)]), core.clock.ms)
    core.do(agent.batch([good, bad, last]))
    assert core.stock("HZ01", "A") == (4, 0, 0)
    assert core.stock("HZ01", "B") == (5, 0, 0)
    assert core.one("SELECT code, field FROM quarantine") == (
        "field_invalid", "counts[0].shelf",
    )  # fmt: skip
