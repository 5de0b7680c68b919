"""The sweep that ends checkout holds: small beside payments, larger when its turn comes late."""

from __future__ import annotations

from typing import Any, cast

from cloud_core.domain.hold_commands import EXPIRE_AT_ONCE, EXPIRE_MANY, Expired, ExpireHolds
from cloud_core.flows.conserve import Conservator
from cloud_core.flows.ledger_watch import LedgerWatch


class Clock:
    ms = 1_790_000_000_000

    def now_ms(self) -> int:
        return self.ms


async def test_it_takes_more_when_it_had_to_wait_and_less_again_afterwards() -> None:
    clock, asked = Clock(), []
    turns = iter([(20, True), (400, True), (400, True), (20, True), (400, False), (20, False)])

    async def submit(command: Any) -> Expired:
        asked.append(cast(ExpireHolds, command).limit)
        took_ms, more = next(turns)
        clock.ms += took_ms
        return Expired(0, 0, 0, more)

    watch = LedgerWatch(submit, cast(Conservator, None), clock)
    for _ in range(6):
        await watch.expire()
    few, many = EXPIRE_AT_ONCE, EXPIRE_MANY
    assert asked == [few, few, many, many, few, few]
