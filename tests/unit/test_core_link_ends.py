"""The core's line ends when it is told to, also in the moment in which an answer arrives."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from paho.mqtt.enums import MQTTErrorCode

from cloud_core.link import LinkConfig, PahoLink

MID = 7


class Subscribing:
    """What a line asks of paho to subscribe; the answer is the test's to give."""

    def subscribe(self, filters: list[tuple[str, int]]) -> tuple[MQTTErrorCode, int]:
        return MQTTErrorCode.MQTT_ERR_SUCCESS, MID


def connected() -> PahoLink:
    link = PahoLink(LinkConfig("127.0.0.1", 1, "core", "", "", 30))
    link._loop, link._connected = asyncio.get_running_loop(), True
    link._client = cast(Any, Subscribing())
    return link


async def test_a_cancel_that_comes_with_the_suback_counts() -> None:
    link = connected()
    waiting = asyncio.create_task(link.subscribe(["pl/v1/#"]))
    await asyncio.sleep(0)
    link._subscribed(MID, [1])
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_cancel_that_comes_with_the_end_of_a_connection_counts() -> None:
    link = connected()
    watching = asyncio.create_task(link._watch())
    await asyncio.sleep(0)
    link._lost.set()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
