"""Keyed: the answer to a command stands beside its `Idempotency-Key`, in the commit of its effect.

A repeat gets the same answer; the same key with another request is refused (P8).
"""

from __future__ import annotations

from typing import Any

import msgspec

from cloud_core.domain.change_commands import KeyedAnswer
from cloud_core.domain.hold_commands import Keyed
from cloud_core.domain.policy import HOUR_MS
from cloud_core.domain.rows import SeenKey
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected


class _Stored(msgspec.Struct):
    digest: str
    body: dict[str, Any]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Stored).decode


def replay(ws: WorkingSet, keyed: Keyed | None) -> KeyedAnswer | None:
    """The stored answer of a key. Raises `Rejected("idempotency_conflict")` for another request."""
    seen = ws.seen.get((keyed.scope, keyed.key)) if keyed is not None else None
    if keyed is None or seen is None:
        return None
    stored = _decode(seen.result)
    if stored.digest != keyed.digest:
        raise Rejected(
            "idempotency_conflict", "该 Idempotency-Key 已用于另一个请求",
            "this Idempotency-Key was used for another request", field="idempotency-key",
        )  # fmt: skip
    return KeyedAnswer(stored.body, replayed=True)


def remember(ws: WorkingSet, keyed: Keyed | None, body: dict[str, Any]) -> KeyedAnswer:
    """Keep the answer beside its key for the hours that answers are remembered."""
    if keyed is not None:
        result = _encode(_Stored(keyed.digest, body)).decode()
        until_ms = ws.now_ms + ws.policy.answer_hours * HOUR_MS
        ws.seen.put(SeenKey(keyed.scope, keyed.key, ws.now_ms, result, until_ms))
    return KeyedAnswer(body)
