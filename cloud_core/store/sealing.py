"""Seals and opens the personal data of an order, and hashes phones for look-up.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce; the order id is authenticated, so a
sealed contact cannot be moved to another order. Keys have ids: a new key seals, old ones still
open; deleting a key makes all it sealed unreadable for good.
Layout: one byte version, one byte length of key id, key id, 12 bytes nonce, ciphertext and tag.
This module must not know SQL or HTTP; keys and randomness are handed in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloud_core.domain.contact import ContactPlain, last_digits, phone_lookup_text
from protocols.errors import Corrupt, Unavailable

KEY_BYTES = 32
NONCE_BYTES = 12
MAX_KEY_ID_CHARS = 32
_VERSION = 1
_Fields = tuple[str, str, str, str, str, str, str, str]


class Sealer:
    """Seals with the current key, opens with any known one, hashes with the look-up key."""

    def __init__(
        self,
        keys: Mapping[str, bytes],
        current_key_id: str,
        lookup_key: bytes,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`keys`: id (ASCII, up to 32 characters) to 32 bytes; `lookup_key`: at least 32 bytes."""
        if current_key_id not in keys:
            raise ValueError("the current key is not among the keys")
        if any(len(key) != KEY_BYTES for key in keys.values()) or len(lookup_key) < KEY_BYTES:
            raise ValueError("a key does not have 32 bytes")
        if any(not (0 < len(i) <= MAX_KEY_ID_CHARS and i.isascii()) for i in keys):
            raise ValueError("a key id is empty, not ASCII or longer than 32 characters")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._current = self._ciphers[current_key_id]
        self._prefix = bytes([_VERSION, len(current_key_id)]) + current_key_id.encode()
        self._lookup_key = lookup_key
        self._random_bytes = random_bytes
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Fields).decode

    def seal(self, order_id: str, plain: ContactPlain) -> bytes:
        """The sealed form of a contact, bound to `order_id`."""
        body = self._encode(
            (
                plain.name, plain.phone, plain.phone_extension, plain.detail,
                plain.platform_token, plain.encrypted_name, plain.encrypted_phone,
                plain.encrypted_detail,
            )
        )  # fmt: skip
        nonce = self._random_bytes(NONCE_BYTES)
        return self._prefix + nonce + self._current.encrypt(nonce, body, order_id.encode())

    def open(self, order_id: str, sealed: bytes) -> ContactPlain:
        """The contact in clear.

        Raises `Corrupt("contact_broken")` for bytes that were altered, cut or belong to another
        order, `Unavailable("contact_key_unknown")` when the key is not (or no longer) known.
        """
        cipher, body_at = self._cipher_of(sealed)
        nonce, body = sealed[body_at : body_at + NONCE_BYTES], sealed[body_at + NONCE_BYTES :]
        try:
            return ContactPlain(*self._decode(cipher.decrypt(nonce, body, order_id.encode())))
        except (InvalidTag, ValueError, msgspec.DecodeError) as broken:
            raise _broken() from broken

    def key_id(self, sealed: bytes) -> str:
        """Which key sealed this; for rotation. Raises `Corrupt` for what is not ours."""
        if len(sealed) < 2 or sealed[0] != _VERSION or len(sealed) < 2 + sealed[1] + NONCE_BYTES:
            raise _broken()
        return sealed[2 : 2 + sealed[1]].decode("ascii", "replace")

    def phone_hash(self, phone: str) -> str:
        """Keyed hash of a phone for look-up (32 hex characters), "" without digits."""
        return self._hash(b"phone:", phone_lookup_text(phone))

    def last_digits_hash(self, phone: str) -> str:
        """Keyed hash of the last four digits (32 hex characters), "" without them."""
        return self._hash(b"last4:", last_digits(phone))

    def _cipher_of(self, sealed: bytes) -> tuple[AESGCM, int]:
        key_id = self.key_id(sealed)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise Unavailable(
                "contact_key_unknown",
                "解密联系人所需的密钥不存在",
                "the key that sealed this contact is not known",
            )
        return cipher, 2 + len(key_id)

    def _hash(self, purpose: bytes, text: str) -> str:
        if not text:
            return ""
        return hmac.digest(self._lookup_key, purpose + text.encode(), hashlib.sha256).hex()[:32]


def _broken() -> Corrupt:
    return Corrupt("contact_broken", "联系人密文已损坏", "the sealed contact is damaged")
