"""Greet: an agent says hello and learns where to go on.

An unknown floor epoch of a known agent means a wiped, replaced or restored card: every fence and
every open grant is sent again, and until that is through nothing prints there. Whatever label the
old card may have printed comes up as unknown.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.commands import GreetAgent, SeeAgent
from cloud_core.domain.policy import DAY_MS
from cloud_core.domain.progress import ON_THE_BENCH
from cloud_core.domain.rows import AgentState, Shipment, Stream
from cloud_core.flows.grant import send_grant
from cloud_core.flows.lost_grants import stop_again
from cloud_core.flows.own import note
from cloud_core.flows.record import check_site, open_stream
from cloud_core.flows.recover import expect_replay
from cloud_core.flows.returns import reissue_open
from cloud_core.store.working_set import WorkingSet
from protocols import chain, codec, limits
from protocols.commands import Fence, Fences, ResyncDone
from protocols.errors import Rejected
from protocols.messages import StreamHave, StreamPosition, Token, Welcome


def greet_agent(ws: WorkingSet, command: GreetAgent) -> Welcome:
    """Answer a hello: what the core holds of every epoch the agent keeps."""
    hello = command.hello
    _check_agent(ws, command.agent, command.site)
    state = ws.agents.get(command.agent) or AgentState(command.agent)
    ws.agents.put(
        replace(
            state,
            online=1,
            # A new card on a machine without a clock may count its connections from the start.
            inc=hello.inc if hello.fresh else max(state.inc, hello.inc),
            seen_ms=ws.now_ms,
            boot=hello.boot,
            sw=hello.sw[:200],
        )
    )
    ws.learn_offset(command.agent, hello.boot, ws.now_ms - hello.mono_ms)
    if hello.inc > state.inc or not _reachable_before(ws, state):
        ws.wake_parked = True  # it may take now what it refused before it started anew
    haves, resync = [], False
    for position in hello.streams:
        for kept in position.kept:
            haves.append(_have(ws, command.agent, position.stream, kept.epoch, kept.last, ""))
        known = ws.streams.get((command.agent, position.stream, position.epoch))
        stream = known or open_stream(ws, command.agent, position.stream, position.epoch)
        have = _have(
            ws, command.agent, position.stream, position.epoch, position.next - 1, position.head
        )
        if not stream.current:
            have = _left_behind(ws, command.agent, have)
        haves.append(have)
        if position.stream == "floor" and hello.fresh:
            resync = _resync(ws, command.agent, stream, position) or resync
    expect_replay(ws, command.agent, hello)  # now that the open grants of a new card are queued
    ws.touched_agents.add(command.agent)
    return Welcome(
        limits.VERSION,
        ws.core_epoch,
        hello.inc,
        ws.now_ms,
        hello.mono_ms,
        haves,
        resync=resync,
        recovering=ws.recovering,
    )


def see_agent(ws: WorkingSet, command: SeeAgent) -> bool:
    """A birth, heartbeat or will; a will of an older connection is ignored. Is the agent on now?"""
    _check_agent(ws, command.agent, command.site)
    message = command.state
    state = ws.agents.get(command.agent) or AgentState(command.agent)
    if message.inc < state.inc:
        return state.online == 1
    if not message.on:
        ws.agents.put(replace(state, online=0, inc=message.inc))
        return False
    if message.inc > state.inc or not _reachable_before(ws, state):
        ws.wake_parked = True
    detail = codec.encode(message).decode()
    ws.agents.put(
        replace(
            state,
            online=1,
            inc=message.inc,
            seen_ms=ws.now_ms,
            boot=message.boot,
            sw=message.sw,
            queued=message.floor_queued,
            oldest_ms=message.oldest_ms,
            detail=detail,
        )
    )
    if message.mono_ms:
        ws.learn_offset(command.agent, message.boot, ws.now_ms - message.mono_ms)
    ws.close_alarm("agent_offline", command.agent)
    return True


def _check_agent(ws: WorkingSet, agent: str, site: str) -> None:
    info = ws.master.agents.get(agent)
    warehouse = ws.master.warehouses.get(info.warehouse) if info else None
    if info is None or warehouse is None or not info.enabled:
        raise Rejected(
            "agent_unknown", "没有登记这个代理", "agent is not registered", field="agent"
        )
    check_site(ws, agent, site)


def _reachable_before(ws: WorkingSet, state: AgentState) -> bool:
    return state.online == 1 and ws.now_ms - state.seen_ms <= ws.policy.reachable_s * 1000


def _have(ws: WorkingSet, agent: str, name: str, epoch: str, last: int, head: str) -> StreamHave:
    """What the core holds of one epoch; `fork` when the agent's rows cannot continue it."""
    stream = ws.streams.get((agent, name, epoch))
    if stream is None:
        return StreamHave(name, epoch, 0, chain.genesis(agent, name, epoch).hex())
    forked = stream.have > last or (stream.have == last and head not in ("", stream.hash.hex()))
    return StreamHave(name, epoch, stream.have, stream.hash.hex(), forked)


def _left_behind(ws: WorkingSet, agent: str, have: StreamHave) -> StreamHave:
    """An epoch that a newer one has followed: another card of this agent was at work meanwhile.

    What that card was sent never reached this one, so this one begins a new epoch and is
    resynchronised, although its rows continue the chain.
    """
    ws.alarm("card_doubled", agent, f"代理 {agent} 换回了旧的存储卡，或有两张卡同时在用")
    return StreamHave(have.stream, have.epoch, have.have, have.hash, fork=True)


def _resync(ws: WorkingSet, agent: str, stream: Stream, position: StreamPosition) -> bool:
    """Queue fences, open grants and stops for a new floor epoch; False if there is nothing."""
    others = [s for s in ws.fetch.streams_of(agent, "floor") if s.epoch != position.epoch]
    ids = ws.fetch.shipments_for_resync(agent, ws.now_ms - ws.policy.resync_days * DAY_MS)
    if not others and not ids:
        return False
    if stream.resynced:
        return True
    epoch = position.epoch
    shipments = [s for s in (ws.shipments.get(i) for i in ids) if s is not None]
    live = [
        s
        for s in shipments
        if s.agent == agent and s.state in ON_THE_BENCH and s.stop in ("", "stopping")
    ]
    _supersede(ws, agent)
    fences = [
        Fence(s.id, _fence(ws, s))
        for s in shipments
        if s not in live and not (s.agent == agent and s.state == "offered" and not s.stop)
    ]
    needs: list[str] = []
    for start in range(0, len(fences), limits.FENCES_MAX):
        part = fences[start : start + limits.FENCES_MAX]
        needs.append(f"fences:{agent}:{epoch}:{start}")
        ws.send(needs[-1], agent, "fences", codec.encode(Fences(part)))
    for shipment in live:
        needs += _reissue(ws, shipment, epoch)
    needs += reissue_open(ws, agent, epoch)
    if len(needs) > limits.RESYNC_COMMANDS_MAX:
        ws.alarm("resync_too_large", agent, f"代理 {agent} 的重新同步超过 {len(needs)} 条指令")
        needs = needs[-limits.RESYNC_COMMANDS_MAX :]
    done = ResyncDone(epoch, needs)
    ws.send(f"resync_done:{agent}:{epoch}", agent, "resync_done", codec.encode(done))
    current = ws.streams.get((agent, "floor", epoch))
    assert current is not None
    ws.streams.put(replace(current, resynced=1))
    ws.trail(agent, "resync", f"agent:{agent}", f"{epoch} {len(live)} grants {len(fences)} fences")
    return True


def _fence(ws: WorkingSet, shipment: Shipment) -> Token:
    return Token(ws.core_epoch, max(shipment.token_n, shipment.top_n) + 1)


def _reissue(ws: WorkingSet, shipment: Shipment, epoch: str) -> list[str]:
    """Send a granted shipment again; its label may have come out before. Returns command ids."""
    suffix = f":{epoch}"
    note(ws, shipment, "reissued", "core")
    if shipment.stop != "stopping":
        return [send_grant(ws, shipment, reissue=True, suffix=suffix)]
    granted = replace(shipment, token_n=shipment.token_n - 1)
    again = send_grant(ws, granted, reissue=True, suffix=suffix)
    return [again, stop_again(ws, shipment, suffix)]


def _supersede(ws: WorkingSet, agent: str) -> None:
    """Grants that were sent but never confirmed must not arrive beside their re-issue."""
    for row in ws.fetch.open_commands(agent, 100_000):
        known = ws.outbox.get(row.id)
        if (
            known is not None
            and known.kind in ("grant", "fences", "resync_done", "return_ticket")
            and known.received_ms is None
        ):
            ws.outbox.put(replace(known, received_ms=ws.now_ms, result="superseded"))
