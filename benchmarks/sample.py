"""Orders to measure with: from the virtual shop's generator, parsed and sealed by the core."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import cast

from benchmarks.core_bed import CHANNEL, SKUS
from cloud_core.domain.commands import ApplyShopEvents
from cloud_core.domain.rows import RawMessage
from cloud_core.flows.ingest import Ingest
from cloud_core.ports import ChannelConfig
from virtual_warehouse.orders import generic_body, make_orders

BODIES_A_SEED = 100_000
"""So many bodies of one seed have order numbers that no other seed has."""


def bodies(count: int, orders_each: int, seed: int) -> Iterator[bytes]:
    """Request bodies of the generic dialect with `orders_each` paid orders."""
    assert count <= BODIES_A_SEED, f"{count} bodies would repeat the orders of the next seed"
    now_ms = time.time_ns() // 1_000_000
    for number in range(count):
        orders = make_orders(orders_each, seed * BODIES_A_SEED + number, paid_ms=now_ms, skus=SKUS)
        yield generic_body(orders)


def commands(ingest: Ingest, count: int, orders_each: int, seed: int) -> list[ApplyShopEvents]:
    """The same as commands for the committer, as the worker prepares them."""
    now_ms = time.time_ns() // 1_000_000
    config = ChannelConfig(CHANNEL, "generic")
    found: list[ApplyShopEvents] = []
    for number, body in enumerate(bodies(count, orders_each, seed), 1):
        parsed = ingest.languages.parse("event", body, "", config, now_ms)
        assert not parsed.problems, parsed.problems[:3]
        ingest.keep(number, parsed)
        message = RawMessage(number, CHANNEL, "event", "", b"", "", now_ms, "")
        found += cast(tuple[ApplyShopEvents, ...], ingest.prepare(number, message))
    return found
