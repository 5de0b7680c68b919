"""Dispatch: which commands go to an agent now; nothing is sent before its commit.

A command is sent until the agent's own event says that it is durable there. The number `cs` is
drawn when it is first sent, by the process that holds the agent's site.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.commands import DrawCommands, OutgoingCommand, SettleShopCall
from cloud_core.domain.rows import AgentState
from cloud_core.flows.return_facts import refund_answered
from cloud_core.store.working_set import WorkingSet


def draw_commands(ws: WorkingSet, command: DrawCommands) -> list[OutgoingCommand]:
    """The unconfirmed commands of an agent that are due, oldest first, numbered and marked."""
    state = ws.agents.get(command.agent) or AgentState(command.agent)
    next_cs, out = state.next_cs, []
    for row in ws.fetch.open_commands(command.agent, 10 * command.limit):
        known = ws.outbox.get(row.id)
        if known is None or known.received_ms is not None:
            continue
        recent = known.sent_ms is not None and ws.now_ms - known.sent_ms < command.resend_ms
        if recent and not command.everything:
            continue
        if known.ttl_s is not None and ws.now_ms > known.created_ms + known.ttl_s * 1000:
            ws.outbox.put(replace(known, received_ms=ws.now_ms, result="expired"))
            continue
        cs = known.cs
        if cs is None:
            cs, next_cs = next_cs, next_cs + 1
        ws.outbox.put(replace(known, cs=cs, sent_ms=ws.now_ms))
        out.append(
            OutgoingCommand(
                known.id, cs, known.kind, known.body, known.created_ms, known.ttl_s, ws.core_epoch
            )
        )
        if len(out) >= command.limit:
            break
    if next_cs != state.next_cs:
        ws.agents.put(replace(state, next_cs=next_cs))
    return out


def settle_shop_call(ws: WorkingSet, command: SettleShopCall) -> None:
    """A shop's answer to a write-back; not done means a later try, alarmed when it drags on."""
    call = ws.shop_calls.get(command.id)
    if call is None or call.done_ms is not None:
        return
    ws.shop_calls.put(
        replace(
            call,
            attempts=call.attempts + 1,
            answer=command.answer[:500],
            done_ms=ws.now_ms if command.done else None,
            due_ms=command.retry_ms or call.due_ms,
        )
    )
    if command.done and call.kind == "refund":
        refund_answered(ws, call, command.answer)
    if not command.done and call.attempts + 1 >= _CALL_ALARM:
        ws.alarm(
            "write_back_failed",
            call.channel,
            f"渠道 {call.channel} 的发货回传连续失败 {call.attempts + 1} 次",
        )
    elif command.done:
        ws.close_alarm("write_back_failed", call.channel)


_CALL_ALARM = 5
"""Failed tries of one call before people are told."""
