"""What a scan or a press of a button is answered with: a tone, a colour, a Chinese sentence.

Given only after the commit (P1): `ok` means durable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["ok", "warn", "error", "pending"]
Light = Literal["green", "yellow", "red", ""]


@dataclass(frozen=True, slots=True)
class Answer:
    """`code` is stable for machines; `text_zh` is what the packer reads; `shipment` if known.

    `refused` is the reason of an error tone that telemetry counts ("" otherwise).
    """

    tone: Tone
    light: Light
    code: str
    text_zh: str
    shipment: str = ""
    refused: str = ""


def done(code: str, text_zh: str, shipment: str = "") -> Answer:
    """Durable, go on."""
    return Answer("ok", "green", code, text_zh, shipment)


def mind(code: str, text_zh: str, shipment: str = "") -> Answer:
    """Nothing changed, nothing wrong: already done, or a step before this one is missing."""
    return Answer("warn", "yellow", code, text_zh, shipment)


def refuse(code: str, text_zh: str, shipment: str = "") -> Answer:
    """Error tone: the scan does not count."""
    return Answer("error", "red", code, text_zh, shipment, refused=code)


def halt(text_zh: str, shipment: str, code: str = "stop") -> Answer:
    """Full red screen: a person must stop and confirm."""
    return Answer("error", "red", code, text_zh, shipment, refused=code)
