"""Paid orders through the signed HTTP door of a running core, 500 a request.

The core is a process of its own; two keep-alive connections send. The clock runs from the first
byte of the first request until the worker has applied the last order, not until it is accepted.
"""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from benchmarks import committer, core_bed, sample, serve_core
from benchmarks.figures import Figure, Target
from benchmarks.machine import disk
from virtual_warehouse.orders import generic_headers

ORDERS_A_REQUEST = 500
CONNECTIONS = 2
TARGET = Target(3_000)
APPLIED = "SELECT COUNT(*) FROM raw_message WHERE processed_ms IS NULL"


def measure(folder: Path, quick: bool) -> Sequence[Figure]:
    """Five runs of 20 requests, each on a new database and a new process."""
    runs, requests = (1, 6) if quick else (5, 20)
    speed = disk(folder)
    rates = [
        asyncio.run(_run(folder / f"http-{number}", requests, number)) for number in range(runs)
    ]
    how = (
        f"{core_bed.DURABILITY}; raw message durable before the answer; "
        f"{requests * ORDERS_A_REQUEST:,} orders of 1-3 lines, {CONNECTIONS} connections, sender "
        "on the same machine, until applied; agents present, line off"
    )
    name = "paid orders owned, through POST /v1/channels/generic/events"
    return [Figure("http", name, "orders/s", rates, TARGET, how, speed)]


async def _run(folder: Path, requests: int, seed: int) -> float:
    bed = core_bed.prepare(folder, present_s=3_600, mqtt_enabled=False, http_port=0)
    bodies = list(sample.bodies(requests, ORDERS_A_REQUEST, seed))
    program, url = await serve_core.started(bed)
    try:
        start = time.perf_counter()
        await asyncio.to_thread(send, url, bed.secret, bodies)
        await _until_applied(bed)
        took = time.perf_counter() - start
    finally:
        await program.stop()
    orders = requests * ORDERS_A_REQUEST
    committer.check_owned(bed, orders)
    return orders / took


async def _until_applied(bed: core_bed.CoreBed) -> None:
    deadline = time.monotonic() + 120
    with core_bed.reader(bed.database) as connection:
        while connection.execute(APPLIED).fetchone()[0]:
            assert time.monotonic() < deadline, "orders are not applied"
            await asyncio.sleep(0.02)


def send(url: str, secret: str, bodies: Sequence[bytes]) -> None:
    """Send every body once, over a few connections at a time; each must be accepted whole."""
    waiting: SimpleQueue[bytes] = SimpleQueue()
    for body in bodies:
        waiting.put(body)
    refused: list[str] = []
    senders = [
        threading.Thread(target=_sender, args=(url, secret, waiting, refused))
        for _ in range(CONNECTIONS)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert not refused, refused[0]


def _sender(url: str, secret: str, waiting: SimpleQueue[bytes], refused: list[str]) -> None:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    path = f"/v1/channels/{core_bed.CHANNEL}/events"
    try:
        while True:
            body = waiting.get_nowait()
            headers = generic_headers(body, secret, int(time.time()))
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 202:
                refused.append(f"{answer.status} {said[:500]!r}")
                return
    except Empty:
        return
    except OSError as error:
        refused.append(repr(error))
    finally:
        connection.close()
