"""Sends committed rows up, one loop a stream, within the window the core gives."""

from __future__ import annotations

import asyncio
import logging

from edge_agent.agent.parts import Live, wait
from edge_agent.domain import sender
from edge_agent.flows import upload
from protocols import topics

log = logging.getLogger(__name__)

IDLE_S = 30.0


class Uploader:
    """One stream's way up. The state machine is `domain.sender`; this only reads and publishes."""

    def __init__(self, live: Live, stream: str) -> None:
        self._live = live
        self._stream = stream
        self._journal = live.ports.journals[stream]
        self._topic = topics.up(live.plan.site, live.plan.agent, f"ev-{stream}")

    async def run(self) -> None:
        """Send whenever rows, acks or time allow it."""
        live, stream = self._live, self._stream
        while True:
            await wait(live.wake_upload[stream], self._patience_s())
            if not live.welcomed:
                continue
            state, went_back = sender.tick(live.senders[stream], self._mono_ms())
            live.senders[stream] = state
            if went_back:
                live.count.rewinds += 1
                log.info("upload.rewound stream=%s acked=%d", stream, state.acked)
            while self._send_one():
                await asyncio.sleep(0)

    def _send_one(self) -> bool:
        """Publish the next batch if there is one and it may go."""
        live = self._live
        state = live.senders[self._stream]
        leg = state.leg
        position = self._journal.position
        if not live.welcomed or leg is None:
            return False
        if leg.last is None and leg.epoch != position.epoch:
            return False
        span = sender.next_range(state, position.last)
        if span is None:
            return False
        parcel = self._journal.read(
            lambda db: upload.next_batch(
                db, live.plan.agent, leg.epoch_no, leg.epoch, span, live.batch_max
            )
        )
        if parcel is None or not live.ports.link.publish(self._topic, parcel.payload):
            return False
        live.count.batches += 1
        live.senders[self._stream] = sender.sent(state, parcel.last, self._mono_ms())
        return True

    def _patience_s(self) -> float:
        deadline = self._live.senders[self._stream].deadline_ms
        if deadline is None or not self._live.welcomed:
            return IDLE_S  # without a session nothing can be sent again; the next one wakes us
        return min(IDLE_S, max(0.0, (deadline - self._mono_ms()) / 1000) + 0.001)

    def _mono_ms(self) -> int:
        return self._live.ports.clock.now().mono_ms
