"""Seals the signing secrets of channels, so that a stolen database or backup signs nothing.

AES-256-GCM (NIST SP 800-38D) under the master key, bound to the channel's id. Layout as in
`sealing`: length of key id, key id, 12 bytes nonce, ciphertext and tag.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocols.errors import Corrupt

_NONCE_BYTES = 12


class SecretBox:
    """Seals with the current key, opens with any known one."""

    def __init__(
        self,
        keys: Mapping[str, bytes],
        current_key_id: str,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._current = current_key_id
        self._random_bytes = random_bytes

    def seal(self, channel: str, live: Sequence[str]) -> bytes:
        """The sealed list of a channel's live secrets, newest first."""
        nonce = self._random_bytes(_NONCE_BYTES)
        key_id = self._current.encode()
        body = self._ciphers[self._current].encrypt(
            nonce, msgspec.json.encode(list(live)), _bound_to(channel)
        )
        return bytes([len(key_id)]) + key_id + nonce + body

    def open(self, channel: str, sealed: bytes) -> tuple[str, ...]:
        """The live secrets, newest first. Raises `Corrupt("channel_secrets_broken")`."""
        try:
            end = 1 + sealed[0]
            cipher = self._ciphers[sealed[1:end].decode("ascii")]
            nonce, body = sealed[end : end + _NONCE_BYTES], sealed[end + _NONCE_BYTES :]
            plain = cipher.decrypt(nonce, body, _bound_to(channel))
            return tuple(msgspec.json.decode(plain, type=list[str]))
        except (InvalidTag, IndexError, KeyError, ValueError, msgspec.DecodeError) as error:
            raise Corrupt(
                "channel_secrets_broken",
                f"渠道 {channel} 的密钥无法解密：主密钥不匹配或数据损坏",
                f"the secrets of channel {channel} cannot be opened with this master key",
                field="secrets",
            ) from error


def _bound_to(channel: str) -> bytes:
    return b"channel:" + channel.encode()
