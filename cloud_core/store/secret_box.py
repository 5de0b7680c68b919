"""Seals what must not stand in clear in a database or its backup: secrets, raw messages.

AES-256-GCM (NIST SP 800-38D) under the master key, bound to what it is for. Layout as in `sealing`:
length of key id, key id, 12 bytes nonce, ciphertext and tag.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

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

    def seal(self, subject: str, plain: bytes) -> bytes:
        """`plain` sealed under the current key, bound to `subject` (authenticated, not hidden)."""
        nonce = self._random_bytes(_NONCE_BYTES)
        key_id = self._current.encode()
        body = self._ciphers[self._current].encrypt(nonce, plain, subject.encode())
        return bytes([len(key_id)]) + key_id + nonce + body

    def open(self, subject: str, sealed: bytes) -> bytes:
        """What was sealed for `subject`. Raises `Corrupt("sealed_broken")`."""
        try:
            end = 1 + sealed[0]
            cipher = self._ciphers[sealed[1:end].decode("ascii")]
            nonce, body = sealed[end : end + _NONCE_BYTES], sealed[end + _NONCE_BYTES :]
            return cipher.decrypt(nonce, body, subject.encode())
        except (InvalidTag, IndexError, KeyError, ValueError) as error:
            raise Corrupt(
                "sealed_broken",
                f"{subject} 无法解密：主密钥不匹配或数据损坏",
                f"{subject} cannot be opened with this master key",
                field="master_key_file",
            ) from error
