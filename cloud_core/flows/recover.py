"""Recover: after a restore nothing is offered until every agent has replayed (DESIGN §5).

The restored core has a new `core_epoch` and answers from its own, older streams; each agent sends
what it still keeps. A person may waive an agent that is gone.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.commands import WaiveAgent
from cloud_core.domain.rows import AgentState, Audit
from cloud_core.flows.lost_grants import find_lost
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected
from protocols.messages import Hello


def expect_replay(ws: WorkingSet, agent: str, hello: Hello) -> None:
    """Remember how far the agent's streams go, so that its replay can be judged complete.

    Only a hello that knows this life of the core counts: an older one that comes late would
    announce less than the agent has.
    """
    state = ws.agents.get(agent)
    late = state is not None and state.waived == 1 and state.replayed_epoch < ws.core_epoch
    if not (ws.recovering or late) or hello.core_epoch != ws.core_epoch:
        return
    goal = {f"{p.stream}/{p.epoch}": p.next - 1 for p in hello.streams if p.stream == "floor"}
    for position in hello.streams:
        if position.stream == "floor":
            goal.update({f"floor/{k.epoch}": k.last for k in position.kept})
    ws.meta[f"replay:{agent}"] = ",".join(f"{k}={v}" for k, v in goal.items())
    ws.replay_goals[agent] = goal
    note_replayed(ws, agent)


def note_replayed(ws: WorkingSet, agent: str) -> None:
    """Mark the agent as replayed once the core holds what its hello announced."""
    goal = ws.replay_goals.get(agent)
    state = ws.agents.get(agent) or AgentState(agent)
    if goal is None or (state.replayed_epoch == ws.core_epoch and not ws.recovering):
        return
    for key, last in goal.items():
        name, _, epoch = key.partition("/")
        stream = ws.streams.get((agent, name, epoch))
        if last and (stream is None or stream.have < last):
            return
    ws.agents.put(replace(state, replayed_epoch=ws.core_epoch))
    if ws.recovering:
        finish_if_done(ws)
    else:  # waived, and back after all
        find_lost(ws, agent)


def finish_if_done(ws: WorkingSet) -> None:
    """End the recovery when every enabled agent has replayed or was waived."""
    for info in ws.master.agents.values():
        state = ws.agents.get(info.id)
        done = state is not None and (state.waived or state.replayed_epoch == ws.core_epoch)
        if info.enabled and not done:
            return
    ws.recovering = False
    ws.meta["recovering"] = "0"
    ws.trail("core", "recovered", "core", str(ws.core_epoch))
    ws.close_alarm("recovering", "core")
    for info in ws.master.agents.values():
        state = ws.agents.get(info.id)
        if state is not None and state.replayed_epoch == ws.core_epoch:
            find_lost(ws, info.id)


def waive_agent(ws: WorkingSet, command: WaiveAgent) -> None:
    """A person goes on without an agent's replay; its later events still count."""
    if command.agent not in ws.master.agents:
        raise Rejected("agent_unknown", "没有这个代理", "no such agent", field="agent")
    state = ws.agents.get(command.agent) or AgentState(command.agent)
    ws.agents.put(replace(state, waived=1))
    ws.appended.append(Audit(ws.now_ms, command.actor, "", "agent.waived", command.agent, ""))
    if ws.recovering:
        finish_if_done(ws)
