"""Payloads that a rightful agent's line may carry and no core may choke on."""

from __future__ import annotations

import zlib
from random import Random

KINDS = (
    "empty",
    "not_json",
    "huge",
    "zlib_bomb",
    "wrong_version",
    "wrong_sender",
    "wrong_type",
    "nul",
)


def payload(rng: Random, agent: str) -> tuple[str, bytes, str]:
    """(channel, bytes, kind) of one bad message."""
    kind = rng.choice(KINDS)
    channel = rng.choice(("st", "hello", "ev-floor", "ev-telemetry"))
    data = {
        "empty": b"",
        "not_json": b"\x00\x01garbage",
        "huge": b"{" + b" " * 200_000,
        "zlib_bomb": zlib.compress(b" " * 3_000_000),
        "wrong_version": b'{"v":99,"a":"' + agent.encode() + b'","on":true,"inc":1}',
        "wrong_sender": b'{"v":1,"a":"somebody-else","on":true,"inc":1}',
        "wrong_type": b'{"v":1,"a":7,"on":"yes","inc":-1,"e":1,"s":"x","h":0,"ev":{}}',
        "nul": b'{"v":1,"a":"\\u0000","on":true,"inc":1}',
    }[kind]
    return channel, data, kind
