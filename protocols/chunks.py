"""A payload above the message bound as chunks, and back; pure functions over `Chunk`.

The core splits a label picture, the agent keeps what arrives in any order and joins it when
nothing is missing. Who keeps the parts, and for how long, is the agent's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from protocols import limits
from protocols.errors import Corrupt, Rejected
from protocols.messages import Chunk


def split(payload: bytes) -> list[Chunk]:
    """The chunks of `payload` (1 byte to `BLOB_BYTES_MAX`), in order; raises `Rejected`."""
    if not 1 <= len(payload) <= limits.BLOB_BYTES_MAX:
        raise Rejected(
            "blob_size", "内容为空或超过 4 MB 上限", "blob is empty or above 4 MB", field="data"
        )
    size = limits.CHUNK_BYTES_MAX
    parts = [payload[start : start + size] for start in range(0, len(payload), size)]
    digest = sha256(payload).hexdigest()
    return [
        Chunk(v=limits.VERSION, digest=digest, index=index, count=len(parts), data=part)
        for index, part in enumerate(parts)
    ]


def missing(digest: str, chunks: Iterable[Chunk]) -> list[int] | None:
    """The indexes of blob `digest` that `chunks` do not hold; None while its count is unknown."""
    held = [chunk for chunk in chunks if chunk.digest == digest]
    if not held:
        return None
    return sorted(set(range(held[0].count)) - {chunk.index for chunk in held})


def join(digest: str, chunks: Iterable[Chunk]) -> bytes:
    """The payload named `digest` out of `chunks`, in any order, repeats and strangers allowed.

    Raises `Corrupt`: `chunk_missing`, `chunk_conflict` (two counts, an index beyond the count),
    `blob_size`, `digest_mismatch`.
    """
    parts: dict[int, bytes] = {}
    counts = set()
    for chunk in chunks:
        if chunk.digest == digest:
            parts[chunk.index] = chunk.data
            counts.add(chunk.count)
    if len(counts) > 1 or (counts and max(parts) >= min(counts)):
        raise Corrupt("chunk_conflict", "分片数量前后不一致", "chunks disagree", field="count")
    if not counts or len(parts) < min(counts):
        raise Corrupt("chunk_missing", "分片不全", "chunks are missing", field="index")
    if sum(map(len, parts.values())) > limits.BLOB_BYTES_MAX:
        raise Corrupt("blob_size", "内容超过 4 MB 上限", "blob above 4 MB", field="data")
    payload = b"".join(parts[index] for index in sorted(parts))
    if sha256(payload).hexdigest() != digest:
        raise Corrupt("digest_mismatch", "内容与摘要不符", "digest mismatch", field="digest")
    return payload
