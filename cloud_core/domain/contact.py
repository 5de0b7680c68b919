"""The personal data of one order in clear: the only shape in which it is sealed and opened.

It leaves a dialect inside a `Receiver`, is sealed at once by `store.sealing`, and is opened only
to fill a label or to answer a person with the right to see it. What lookups need is hashed.
This module must not know ciphers, keys or SQL.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloud_core.domain.masking import split_extension
from cloud_core.domain.shop_order import Receiver

LAST_DIGITS = 4


@dataclass(frozen=True, slots=True)
class ContactPlain:
    """Everything of a receiver that may not be kept in clear; empty fields are allowed.

    `platform_token` and the encrypted fields go back to the platform for its e-waybill.
    """

    name: str
    phone: str
    phone_extension: str
    detail: str
    platform_token: str = ""
    encrypted_name: str = ""
    encrypted_phone: str = ""
    encrypted_detail: str = ""

    def __repr__(self) -> str:
        """Never the values: a contact in a log or a traceback would be a leak."""
        return "ContactPlain(…)"


def contact_of(receiver: Receiver) -> ContactPlain:
    """The part of a receiver that is sealed."""
    return ContactPlain(
        receiver.name,
        receiver.phone,
        receiver.phone_extension,
        receiver.detail,
        receiver.platform_token,
        receiver.encrypted_name,
        receiver.encrypted_phone,
        receiver.encrypted_detail,
    )


def phone_lookup_text(phone: str) -> str:
    """What is hashed so that an order is found by its phone: digits, no country code, no ext."""
    return "".join(char for char in split_extension(phone)[0] if char.isdigit())


def last_digits(phone: str) -> str:
    """The last four digits of the number without extension, "" when there are fewer."""
    digits = phone_lookup_text(phone)
    return digits[-LAST_DIGITS:] if len(digits) >= LAST_DIGITS else ""
