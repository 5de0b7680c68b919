"""Hear: what a message of an agent asks of the core.

The topic says who speaks, the broker enforces it, and the payload must agree. Pure: the worker
submits what comes out. This module must not know the line or what the commands do.
"""

from __future__ import annotations

from typing import Any

from cloud_core.domain import commands as c
from protocols import codec, topics
from protocols.errors import Corrupt
from protocols.messages import AgentState, Batch, Hello


def command_of(topic: topics.Topic, payload: bytes) -> Any:
    """The command an agent's message stands for. Raises `Corrupt`."""
    if topic.direction != "up":
        raise Corrupt("direction", "消息方向不对", "message in the wrong direction", field="topic")
    site, agent = topic.site, topic.agent
    if topic.channel == "st":
        state = codec.decode(payload, AgentState)
        _check_sender(agent, state.a)
        return c.SeeAgent(site, agent, state)
    if topic.channel == "hello":
        hello = codec.decode(payload, Hello)
        _check_sender(agent, hello.a)
        return c.GreetAgent(site, agent, hello)
    batch = codec.decode(payload, Batch)
    _check_sender(agent, batch.a)
    return c.RecordBatch(
        site,
        agent,
        topics.stream_of(topic.channel),
        batch.e,
        batch.s,
        bytes.fromhex(batch.h),
        tuple(bytes(row) for row in batch.ev),
        batch.skip_from,
    )


def _check_sender(agent: str, said: str) -> None:
    if agent != said:
        raise Corrupt(
            "agent_mismatch", "消息内的代理与主题不符", "payload names another agent", field="a"
        )
