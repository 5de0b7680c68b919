"""Topic names of wire v1: `v1/{site}/{agent}/{up|dn}/{channel}` and the core's own state.

Agent and site ids use `[a-z0-9-]{1,48}`, so that no id can carry a wildcard, a separator or a
character that a broker maps to something else (NATS maps `/` to `.`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from protocols.errors import Corrupt

Direction = Literal["up", "dn"]

STREAMS: Final = ("floor", "telemetry")
UP_CHANNELS: Final = ("st", "hello", "ev-floor", "ev-telemetry")
DOWN_CHANNELS: Final = ("welcome", "ack", "cmd", "cfg", "blob")
CORE_STATE_TOPIC: Final = "v1/core/st"
RESERVED_ID: Final = "core"
"""No site is called so (`v1/core/st`) and no agent (the core's own user at the broker)."""
ALL_UP_FILTER: Final = "v1/+/+/up/#"

_ID = re.compile(r"[a-z0-9-]{1,48}\Z")
_TOPIC_CHARS_MAX = 128


@dataclass(frozen=True, slots=True)
class Topic:
    """One parsed topic; `site` is a warehouse id in lower case."""

    site: str
    agent: str
    direction: Direction
    channel: str

    def __str__(self) -> str:
        return f"v1/{self.site}/{self.agent}/{self.direction}/{self.channel}"


def check_id(value: str, field: str) -> str:
    """Return `value` if it may stand in a topic, else raise `Corrupt`."""
    if not _ID.match(value) or value == RESERVED_ID:
        raise Corrupt(
            "id_charset",
            f"{field} 只能用小写字母、数字和 -，最长 48 位",
            f"{field} must match [a-z0-9-]{{1,48}} and not be reserved",
            field=field,
        )
    return value


def up(site: str, agent: str, channel: str) -> str:
    """The topic an agent publishes `channel` on."""
    assert channel in UP_CHANNELS, channel
    return str(Topic(check_id(site, "site"), check_id(agent, "agent"), "up", channel))


def down(site: str, agent: str, channel: str) -> str:
    """The topic the core publishes `channel` on for one agent."""
    assert channel in DOWN_CHANNELS, channel
    return str(Topic(check_id(site, "site"), check_id(agent, "agent"), "dn", channel))


def down_filter(site: str, agent: str) -> str:
    """The subscription that covers everything for one agent."""
    return f"v1/{check_id(site, 'site')}/{check_id(agent, 'agent')}/dn/#"


def parse(topic: str) -> Topic:
    """Split a topic; raise `Corrupt` on anything that is not wire v1."""
    parts = topic.split("/") if len(topic) <= _TOPIC_CHARS_MAX else []
    if len(parts) != 5 or parts[0] != "v1" or parts[3] not in ("up", "dn"):
        raise Corrupt("topic_unknown", "主题不属于 v1 协议", "topic is not wire v1", field="topic")
    direction: Direction = "up" if parts[3] == "up" else "dn"
    if parts[4] not in (UP_CHANNELS if direction == "up" else DOWN_CHANNELS):
        raise Corrupt("channel_unknown", "主题的末段未知", "unknown channel", field="topic")
    return Topic(check_id(parts[1], "site"), check_id(parts[2], "agent"), direction, parts[4])


def stream_of(channel: str) -> str:
    """The stream an event channel carries: `ev-floor` -> `floor`."""
    assert channel.startswith("ev-"), channel
    return channel[3:]
