"""The talk with the core: connect, greet, take commands and acks, until the line drops.

Messages may come twice, late or out of order; every one of them is checked against the journal by
a flow. Nothing is sent up before a welcome answered a hello of this connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from edge_agent.agent.parts import Live, wait
from edge_agent.domain import moment, sender
from edge_agent.flows import blob, greet, print_label, receive, upload
from edge_agent.ports import Connected, Disconnected, LinkEvent, Received
from protocols import codec, limits, topics
from protocols.errors import Corrupt, PacklineError, Unavailable
from protocols.messages import (
    Ack,
    AgentState,
    Chunk,
    Command,
    CoreState,
    DesiredConfig,
    Hello,
    Welcome,
)

log = logging.getLogger(__name__)

GREET_FIRST_S = 2.0
GREET_MOST_S = 60.0
GATHER_MAX = limits.RECEIPTS_MAX


class Session:
    """One agent's side of the conversation; `Live` holds what others may look at."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._greet = asyncio.Event()
        self._asked: set[int] = set()
        self._forks = 0
        self._subscribed = False
        plan = live.plan
        self._down = topics.down_filter(plan.site, plan.agent)
        self._state_topic = topics.up(plan.site, plan.agent, "st")
        self._hello_topic = topics.up(plan.site, plan.agent, "hello")

    def will(self) -> tuple[str, bytes]:
        """The next connection's will; called before each attempt, maybe on the link's thread."""
        live = self._live
        live.inc = max(live.inc, live.floor.inc_base) + 1
        state = AgentState(v=limits.VERSION, a=live.plan.agent, on=False, inc=live.inc)
        return self._state_topic, codec.encode_message(state)

    async def listen(self) -> None:
        """Take what the link brings, commands that wait together in one commit."""
        inbox = self._live.ports.link.inbox
        while True:
            events = [await inbox.get()]
            while not inbox.empty() and len(events) < GATHER_MAX:
                events.append(inbox.get_nowait())
            await self._take(events)

    async def keep_greeting(self) -> None:
        """Say hello until a welcome comes: after 2, 4, 8 … 60 s, with jitter."""
        live = self._live
        while True:
            await self._greet.wait()
            self._greet.clear()
            wait_s = GREET_FIRST_S
            while live.connected and not live.welcomed:
                self._hello()
                pause = wait_s * (0.75 + live.ports.ids.jitter() / 2)
                wait_s = min(wait_s * 2, GREET_MOST_S)
                if await wait(self._greet, pause):
                    wait_s = GREET_FIRST_S

    def say_state(self, *, on: bool = True) -> bool:
        """Publish the retained state: birth, heartbeat, farewell."""
        live = self._live
        now = live.ports.clock.now()
        state = AgentState(
            v=limits.VERSION,
            a=live.plan.agent,
            on=on,
            inc=live.inc,
            sw=live.plan.version,
            boot=live.floor.boot_no,
            wall_ms=now.wall_ms,
            mono_ms=now.mono_ms,
            floor_queued=live.queued("floor"),
            telemetry_queued=live.queued("telemetry"),
            oldest_ms=live.oldest_ms("floor"),
            cfg_rev=live.floor.read(receive.config_rev),
            tasks=live.floor.read(receive.open_tasks),
            printers={name: status.level.value for name, status in live.printer_status.items()},
        )
        return live.ports.link.publish(self._state_topic, codec.encode_message(state), retain=True)

    async def _take(self, events: Sequence[LinkEvent]) -> None:
        commands: list[Command] = []
        for event in events:
            try:
                command = self._command_in(event)
                if command is not None:
                    commands.append(command)
                    continue
                await self._execute(commands)
                commands = []
                await self._one(event)
            except Corrupt as error:
                self._live.count.messages_bad += 1
                log.warning("message.refused code=%s field=%s", error.code, error.field)
            except Unavailable as error:
                # Nothing was answered, so whoever sent it says it again.
                log.error("message.not_stored code=%s", error.code)
        await self._execute(commands)

    def _command_in(self, event: LinkEvent) -> Command | None:
        if not isinstance(event, Received) or not event.topic.endswith("/dn/cmd"):
            return None
        self._check_address(event.topic)
        if not self._live.welcomed:
            # A copy that the broker kept: this card may have been put back, and only the welcome
            # shows it. The core sends what it still wants after its welcome.
            return None
        return codec.decode(event.payload, Command)

    def _check_address(self, topic: str) -> str:
        """The channel of a message meant for this agent. Raises `Corrupt`."""
        parsed = topics.parse(topic)
        plan = self._live.plan
        if (parsed.site, parsed.agent, parsed.direction) != (plan.site, plan.agent, "dn"):
            raise Corrupt("not_addressed", "消息不是发给本机的", "not our topic", field="topic")
        return parsed.channel

    async def _one(self, event: LinkEvent) -> None:
        live = self._live
        if isinstance(event, Connected):
            await self._connected()
        elif isinstance(event, Disconnected):
            live.connected = live.welcomed = False
            log.info("link.lost reason=%s", event.reason)
        elif event.topic == topics.CORE_STATE_TOPIC:
            self._core_state(codec.decode(event.payload, CoreState))
        else:
            channel = self._check_address(event.topic)
            if channel == "welcome":
                await self._welcome(codec.decode(event.payload, Welcome))
            elif channel == "ack":
                self._ack(codec.decode(event.payload, Ack))
            elif channel == "cfg":
                config = codec.decode(event.payload, DesiredConfig)
                await live.write(lambda tx: receive.configure(tx, config))
            elif channel == "blob":
                chunk = codec.decode(event.payload, Chunk)
                await live.write(lambda tx: blob.keep(tx, chunk))

    async def _connected(self) -> None:
        live = self._live
        live.count.connects += 1
        live.connected, live.welcomed, self._subscribed = True, False, False
        self._asked.clear()
        self._forks = 0
        log.info("link.connected inc=%d", live.inc)
        await self.introduce()

    async def introduce(self) -> None:
        """Subscribe, then birth and hello; asked again with each heartbeat until it worked."""
        live = self._live
        if self._subscribed or not live.connected:
            return
        try:
            await live.ports.link.subscribe([self._down, topics.CORE_STATE_TOPIC])
        except Unavailable as error:
            log.error("link.subscription_refused code=%s", error.code)
            return
        self._subscribed = True
        self.say_state()
        self._greet.set()

    def _core_state(self, state: CoreState) -> None:
        if not state.on:
            return  # the will of a life that is over; the next one speaks for itself
        live = self._live
        known, live.core = live.core, (state.core_epoch, state.inc)
        if known == live.core:
            if live.connected and not live.welcomed:
                # The same core is on the line again: it may have missed our hello, the next one
                # could be a minute away.
                self._greet.set()
        elif known is not None or live.welcomed:
            # The first state seen may already be of a later life than the one that welcomed us.
            self._greet_again("core_restarted")

    def _greet_again(self, reason: str) -> None:
        log.info("session.reopened reason=%s", reason)
        self._live.welcomed = False
        # An answer to an earlier hello would end the asking while the new hello may be lost, and a
        # restored core would wait for what this agent has to replay for ever.
        self._asked.clear()
        self._greet.set()

    def _hello(self) -> None:
        live = self._live
        now = live.ports.clock.now()
        floor = live.floor.read(lambda db: greet.position(db, "floor"))
        telemetry = live.telemetry.read(lambda db: greet.position(db, "telemetry"))
        hello = Hello(
            v=limits.VERSION,
            a=live.plan.agent,
            inc=live.inc,
            sw=live.plan.version,
            proto=[limits.VERSION],
            boot=live.floor.boot_no,
            boot_id=live.ports.boot_id,
            wall_ms=now.wall_ms,
            mono_ms=now.mono_ms,
            streams=[floor, telemetry],
            fresh=live.floor.read(greet.fresh),
            core_epoch=live.floor.read(greet.core_epoch),
        )
        if live.ports.link.publish(self._hello_topic, codec.encode_message(hello)):
            self._asked.add(now.mono_ms)

    async def _welcome(self, welcome: Welcome) -> None:
        """Only the answer to a hello of this connection counts, and only while one is awaited."""
        live = self._live
        if live.welcomed or welcome.inc != live.inc or welcome.echo_mono_ms not in self._asked:
            return
        now_ms = live.ports.clock.now().mono_ms
        live.offset = moment.learn_from_echo(
            live.offset,
            srv_ms=welcome.srv_ms,
            echo_mono_ms=welcome.echo_mono_ms,
            mono_ms=now_ms,
        )
        if live.offset is not None:
            live.ports.told_time(live.offset.server_ms(now_ms), now_ms)
        core_epoch = live.floor.read(greet.core_epoch)
        floor = await live.write(lambda tx: greet.welcome_floor(tx, welcome))
        other = await live.telemetry.write(
            lambda tx: greet.welcome_stream(tx, welcome, "telemetry")
        )
        if floor.route.reopened or other.reopened:
            self._reopened()
            return
        live.batch_max = welcome.batch_max
        live.senders["floor"] = sender.start(floor.route.legs, welcome.window)
        live.senders["telemetry"] = sender.start(other.legs, welcome.window)
        live.welcomed = live.core_seen = True
        for event in live.wake_upload.values():
            event.set()
        # Only now: a label held meanwhile because the core was not seen yet would wait for ever.
        released = await live.write(print_label.core_heard)
        log.info("session.welcomed printing=%s released=%d", floor.printing, released)
        live.ring_printers()
        if core_epoch != welcome.core_epoch:
            # A core that was restored takes only a hello that knows its new life for the whole
            # announcement of what will be replayed.
            self._greet_again("new_core_epoch")

    def _reopened(self) -> None:
        """A new epoch was opened (or the answer was to an older hello): introduce it, politely."""
        self._asked.clear()
        self._forks += 1
        log.warning("epoch.opened reason=fork times=%d", self._forks)
        if self._forks <= 3:
            self._greet.set()

    def _ack(self, ack: Ack) -> None:
        live = self._live
        live.count.acks += 1
        now_ms = live.ports.clock.now().mono_ms
        live.offset = moment.learn_from_stamp(live.offset, srv_ms=ack.srv_ms, mono_ms=now_ms)
        state = live.senders[ack.stream]
        leg = state.leg
        if not live.welcomed or leg is None or leg.epoch != ack.e:
            return
        for refusal in ack.rej:
            log.warning(
                "event.refused stream=%s seq=%d code=%s", ack.stream, refusal.q, refusal.code
            )
        journal = live.ports.journals[ack.stream]
        if ack.fork or not journal.read(lambda db: upload.continues(db, leg.epoch_no, ack)):
            self._greet_again("fork")
            return
        moved = sender.acked(state, ack.e, ack.have, ack.win, now_ms, rewind=ack.rewind)
        live.senders[ack.stream] = moved
        # What the sender believes, not the ack itself: one that comes late knows of less.
        live.acked[ack.stream, leg.epoch_no] = moved.acked if moved.leg is leg else ack.have
        live.wake_upload[ack.stream].set()

    async def _execute(self, commands: list[Command]) -> None:
        if not commands:
            return
        live = self._live
        bench = live.bench
        try:
            taken = await live.write(lambda tx: receive.receive(tx, commands, bench))
        except Unavailable as error:
            # Not acknowledged: the core sends them again.
            log.error("commands.not_stored code=%s", error.code)
            return
        except PacklineError:
            raise
        except Exception:
            if len(commands) > 1:
                for command in commands:
                    await self._execute([command])
                return
            log.exception("command.quarantined id=%s kind=%s", commands[0].id, commands[0].k)
            await live.write(lambda tx: receive.quarantine(tx, commands[0]))
            return
        live.count.commands += len(taken.done)
        live.count.commands_refused += len(taken.refused)
        for cmd_id, code in taken.refused:
            log.warning("command.refused id=%s code=%s", cmd_id, code)
        live.ring_printers()
