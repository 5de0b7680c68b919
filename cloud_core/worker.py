"""The core's loops: the line to the warehouses, commands out, order messages in, time.

Everything that changes state goes through the committer; these loops only listen, submit and
publish what has been committed. Nothing is acknowledged before its commit. The simulation runs
this class on virtual time with a faulty line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog
from msgspec import Raw

from cloud_core.committer import Committed
from cloud_core.domain import commands as c
from cloud_core.domain.rows import RawMessage, ShopCall
from cloud_core.flows.apply_messages import MessageApplier, Prepare, tripped
from cloud_core.flows.call_shops import ShopCaller
from cloud_core.flows.hear import command_of
from cloud_core.flows.keep_share import KeepShare
from cloud_core.ports import Clock, Connected, Disconnected, Link, Received, Share, WriteBack
from protocols import codec, limits, topics
from protocols.errors import Corrupt, PacklineError, Rejected, Unavailable
from protocols.messages import (
    Command,
    CoreState,
    DesiredConfig,
)

R = TypeVar("R")
_log = structlog.get_logger()

HANDLING_MAX = 256
"""Messages from the line between their arrival and their commit."""
COMMANDS_AT_ONCE = 100
LOOK_S = 1.0
"""How often a process among several looks which sites are its own."""
STATE_EVERY_ROUNDS = 6
"""Rounds of re-sending between two repeats of the core's retained state: one minute."""


class Submit(Protocol):
    """What the loops need of a committer."""

    def post(self, command: Any) -> asyncio.Future[Any]:
        """Queue a command in the order of the calls."""
        ...

    async def submit(self, command: Any) -> Any:
        """Queue a command and wait for its commit."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the loops look by themselves, in seconds."""

    sweep_s: float = 1.0
    parked_s: float = 30.0
    purge_s: float = 60.0
    ingest_s: float = 1.0
    resend_s: float = float(limits.RESEND_COMMAND_S)
    shop_call_s: float = 2.0
    sweep_rows: int = 200
    """Rows of each kind one sweep takes on; it goes on at once when there are more."""


@dataclass(frozen=True, slots=True)
class Reads:
    """What the loops read, outside of any commit; `store` provides them."""

    core_state: Callable[[], tuple[int, int]]
    """(core_epoch, incarnation) of this core."""
    open_messages: Callable[[int], list[RawMessage]]
    """Up to n stored messages that are not processed, oldest first."""
    due_calls: Callable[[int, int, Sequence[str]], list[ShopCall]]
    """Up to n write-backs due at a time in ms, of other channels than these."""
    desired_config: Callable[[str], DesiredConfig | None]
    """What an agent should be."""
    unconfirmed: Callable[[Sequence[str]], list[str]]
    """Which of these agents have commands they have not confirmed."""
    unsent: Callable[[Sequence[str]], list[str]] = lambda agents: []
    """Which of these agents have commands that were never sent; asked beside other processes."""
    begin_life: Callable[[], int] = lambda: 0
    """Count one more life of the core, so that agents say hello to it."""


class Core:
    """The running core. `run` returns when cancelled."""

    def __init__(
        self,
        *,
        link: Link,
        committer: Submit,
        reads: Reads,
        prepare: Prepare,
        write_back: WriteBack,
        clock: Clock,
        pace: Pace,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        share: Share | None = None,
    ) -> None:
        self._share = share
        self._link, self._committer, self._reads = link, committer, reads
        self._prepare, self._write_back = prepare, write_back
        self._clock, self._pace, self._sleep = clock, pace, sleep
        self._online: dict[str, str] = {}
        self._due: dict[str, bool] = {}
        self._work = asyncio.Event()
        self._messages = asyncio.Event()
        self._calls = asyncio.Event()
        self._parked = asyncio.Event()
        self._handling = asyncio.Semaphore(HANDLING_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Run every loop until cancelled; one that fails ends them all."""
        self._loop = asyncio.get_running_loop()
        epoch, inc = self._reads.core_state()
        await self._link.start(partial(self._will, epoch, inc))
        try:
            async with asyncio.TaskGroup() as group:
                for loop in (
                    self._listen,
                    self._send,
                    self._resend,
                    self._sweep,
                    self._ingest,
                    self._call_shops,
                    *([self._keep_share] if self._share is not None else []),
                ):
                    group.create_task(loop(), name=loop.__name__)
        finally:
            await self._link.stop()
            with contextlib.suppress(Unavailable):
                if self._share is not None:
                    self._share.give_back()

    # --- several processes ---------------------------------------------------------------------

    def serves(self, name: str) -> bool:
        """Whether a site or a chore is ours; alone, everything is."""
        return self._share is None or self._share.serves(name)

    async def _keep_share(self) -> None:
        assert self._share is not None
        keep = KeepShare(self._share, self._reads.begin_life, self._say_state)
        while True:
            await keep.round()
            for agent in [a for a, site in self._online.items() if not self.serves(site)]:
                del self._online[agent]
            for agent in self._read(self._reads.unsent, list(self._online)):
                self._due.setdefault(agent, False)
                self._work.set()
            await self._sleep(LOOK_S)

    # --- what others tell us -------------------------------------------------------------------

    def on_done(self, done: Committed) -> None:
        """After a commit, from the committer's thread: look at what it left to do."""
        if self._loop is not None and (done.touched_agents or done.wake_parked or done.shop_calls):
            try:
                self._loop.call_soon_threadsafe(self._note, done)
            except RuntimeError:
                return  # the loop is closed: the next start looks for itself

    def _note(self, done: Committed) -> None:
        for agent in done.touched_agents:
            self._due.setdefault(agent, False)
        if done.touched_agents:
            self._work.set()
        if done.wake_parked:
            self._parked.set()
        if done.shop_calls:
            self._calls.set()

    def message_stored(self) -> None:
        """The HTTP door stored a message."""
        self._messages.set()

    # --- the line ------------------------------------------------------------------------------

    def _will(self, epoch: int, inc: int) -> tuple[str, bytes]:
        return topics.CORE_STATE_TOPIC, codec.encode(
            CoreState(limits.VERSION, on=False, core_epoch=epoch, inc=inc)
        )

    async def _listen(self) -> None:
        while True:
            match await self._link.inbox.get():
                case Connected():
                    await self._introduce()
                case Disconnected(reason=reason):
                    _log.info("link.lost", reason=reason)
                case Received() as message:
                    await self._handling.acquire()
                    self._handle(message)

    async def _introduce(self) -> None:
        try:
            await self._link.subscribe([topics.ALL_UP_FILTER])
        except Unavailable as error:
            _log.info("link.subscribe_failed", code=error.code)
            return
        self._say_state()
        _log.info("link.up")
        # What was drawn while the line was down went nowhere; agents that stayed connected say no
        # hello, so their commands are sent again now instead of at the next round.
        for agent in self._online:
            self._due[agent] = True
        self._work.set()

    def _say_state(self) -> None:
        """Publish which life of the core this is."""
        try:
            epoch, inc = self._reads.core_state()
        except Unavailable as error:
            _log.info("read.failed", code=error.code)  # said again in a minute
            return
        state = CoreState(
            limits.VERSION, on=True, core_epoch=epoch, inc=inc, srv_ms=self._clock.now_ms()
        )
        self._link.publish(topics.CORE_STATE_TOPIC, codec.encode(state), retain=True)

    def _handle(self, message: Received) -> None:
        """Submit one message without waiting, so that the order of arrival is kept."""
        source = "mqtt"
        try:
            topic = topics.parse(message.topic)
            source = f"agent:{topic.agent}"
            if not self.serves(topic.site):  # another process hears the same
                self._handling.release()
                return
            future = self._committer.post(command_of(topic, message.payload))
        except (Corrupt, Rejected) as error:
            self._refuse(source, error, message.payload)
            return
        except Unavailable:
            self._handling.release()  # no answer: the agent sends it again
            return
        except Exception as error:  # our bug: the messages behind it must still be heard
            _log.error("message.tripped", source=source, exc_info=error)
            self._refuse(source, tripped(error), message.payload)
            return
        future.add_done_callback(partial(self._answer, topic, message.payload))

    def _note_presence(self, topic: topics.Topic, *, online: bool) -> None:
        """Commands go to agents whose presence was committed: known, and of that site."""
        if online:
            self._online[topic.agent] = topic.site
        else:
            self._online.pop(topic.agent, None)

    def _answer(self, topic: topics.Topic, payload: bytes, future: asyncio.Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        if isinstance(error, Rejected | Corrupt):
            self._refuse(f"agent:{topic.agent}", error, payload)
            return
        self._handling.release()
        if future.cancelled():
            return
        if error is not None:
            code = error.code if isinstance(error, PacklineError) else type(error).__name__
            _log.info("message.failed", agent=topic.agent, channel=topic.channel, code=code)
        elif topic.channel == "st":
            self._note_presence(topic, online=future.result())
        elif topic.channel == "hello":
            self._note_presence(topic, online=True)
            self._publish(topic, "welcome", future.result())
            self._configure(topic)
            self._due[topic.agent] = True
            self._work.set()
        elif topic.channel.startswith("ev-"):
            self._publish(topic, "ack", future.result())

    def _configure(self, topic: topics.Topic) -> None:
        """Publish what the agent should be, retained: it applies what is newer."""
        try:
            config = self._reads.desired_config(topic.agent)
        except Unavailable as error:
            _log.info("read.failed", agent=topic.agent, code=error.code)
            return
        if config is not None:
            where = topics.down(topic.site, topic.agent, "cfg")
            self._link.publish(where, codec.encode(config), retain=True)

    def _publish(self, topic: topics.Topic, channel: str, message: Any) -> None:
        where = topics.down(topic.site, topic.agent, channel)
        self._link.publish(where, codec.encode_message(message))

    def _refuse(self, source: str, error: PacklineError, payload: bytes) -> None:
        _log.info("message.quarantined", source=source, code=error.code, field=error.field)
        try:
            future = self._committer.post(
                c.QuarantineInput(
                    source, error.code, error.field, error.zh, payload[: limits.EVENT_BYTES_MAX]
                )
            )
        except Unavailable:
            self._handling.release()
            return
        future.add_done_callback(self._refused)

    def _refused(self, future: asyncio.Future[Any]) -> None:
        self._handling.release()
        _quietly(future)

    # --- commands out --------------------------------------------------------------------------

    async def _send(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            due, self._due = self._due, {}
            for agent, everything in due.items():
                site = self._online.get(agent)
                if site is not None and self.serves(site):
                    await self._send_to(agent, site, everything)

    async def _send_to(self, agent: str, site: str, everything: bool) -> None:
        """Publish what the agent has not confirmed; nothing is marked while the line is down."""
        resend_ms = int(self._pace.resend_s * 1000)
        try:
            drawn = await self._committer.submit(
                c.DrawCommands(agent, COMMANDS_AT_ONCE, resend_ms, everything)
            )
        except Exception as error:
            _log.info("commands.failed", agent=agent, code=_code(error))
            return
        topic = topics.down(site, agent, "cmd")
        for out in drawn:
            self._publish_command(topic, out)
        if len(drawn) == COMMANDS_AT_ONCE:
            self._due.setdefault(agent, False)
            self._work.set()

    def _publish_command(self, topic: str, out: c.OutgoingCommand) -> None:
        body = Raw(out.body)
        command = Command(
            limits.VERSION, out.id, out.cs, out.kind, out.sent_ms, out.core_epoch, body, out.ttl_s
        )
        try:
            self._link.publish(topic, codec.encode_message(command))
        except Corrupt as error:  # larger than a message may be: people must see it
            too_large = c.QuarantineInput(f"command:{out.id}", error.code, "", error.zh, b"")
            with contextlib.suppress(Unavailable):
                self._committer.post(too_large).add_done_callback(_quietly)

    async def _resend(self) -> None:
        rounds = 0
        while True:
            await self._sleep(self._pace.resend_s)
            rounds += 1
            if rounds % STATE_EVERY_ROUNDS == 0:
                # An agent that missed the first one would never say hello to this life.
                self._say_state()
            # Asked of the database, not remembered: a verb of the command line beside us may have
            # queued a command, and one that was sent may have been lost on its way.
            for agent in self._read(self._reads.unconfirmed, list(self._online)):
                self._due.setdefault(agent, False)
            if self._due:
                self._work.set()

    # --- time ----------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        parked_ms = purge_ms = 0
        more_to_purge = False
        place: tuple[int, int, str] | None = None
        while True:
            if not self.serves("!sweep"):
                await self._sleep(LOOK_S)
                continue
            now_ms = self._clock.now_ms()
            parked = (
                place is not None
                or self._parked.is_set()
                or now_ms - parked_ms >= self._pace.parked_s * 1000
            )
            purge = more_to_purge or now_ms - purge_ms >= self._pace.purge_s * 1000
            if place is None:  # what arrives while the line is walked starts another walk
                self._parked.clear()
            parked_ms = now_ms if parked else parked_ms
            purge_ms = now_ms if purge else purge_ms
            command = c.Sweep(parked, purge, self._pace.sweep_rows, place)
            place, more, more_to_purge = None, False, False
            try:
                swept = await self._committer.submit(command)
                place, more = swept.parked_after, swept.more
                more_to_purge = swept.more_to_purge
            except Exception as error:
                _log.info("sweep.failed", code=_code(error))
            if place is None and more:
                self._parked.set()
            if place is None and not more_to_purge:
                await self._wait(self._parked, self._pace.sweep_s)

    # --- orders in -----------------------------------------------------------------------------

    async def _ingest(self) -> None:
        applier = MessageApplier(
            self._stored, self._prepare, self._committer.submit, self._messages, self._wait,
            self._sleep, self._pace.ingest_s,
        )  # fmt: skip
        await applier.run()

    def _stored(self, limit: int) -> list[RawMessage]:
        if not self.serves("!ingest"):
            return []
        return self._read(self._reads.open_messages, limit)

    # --- shops ---------------------------------------------------------------------------------

    async def _call_shops(self) -> None:
        caller = ShopCaller(
            self._due_calls, self._committer.submit, self._write_back, self._clock, self._calls,
            self._wait, self._sleep, self._pace.shop_call_s, self._pace.resend_s,
        )  # fmt: skip
        await caller.run()

    def _due_calls(self, now_ms: int, busy: list[str]) -> list[ShopCall]:
        if not self.serves("!calls"):
            return []
        return self._read(self._reads.due_calls, _ROWS_AT_ONCE, now_ms, busy)

    def _read(self, read: Callable[..., list[R]], *values: Any) -> list[R]:
        """What a loop looks for; nothing while the database cannot answer, it looks again."""
        try:
            return read(*values)
        except Unavailable as error:
            _log.info("read.failed", code=error.code)
            return []

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait until the event or the time, by the loop's own clock."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return


_ROWS_AT_ONCE = 16


def _code(error: Exception) -> str:
    return error.code if isinstance(error, PacklineError) else type(error).__name__


def _quietly(future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and future.exception() is not None:
        _log.info("quarantine.failed", error=type(future.exception()).__name__)
