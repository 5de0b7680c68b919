"""The agent with its imports done, waiting for the word: the state in which a machine is frozen.

Runs as the service itself (same user, same hardening) instead of `edge-agent run`, so that a cut
and a new start cost seconds and not a whole boot. Tells the host each answer given to the packer
by one datagram, sent where the tone is made. `normal` is the control: the same agent with
`synchronous=NORMAL`.
"""

import importlib
import json
import os
import socket
import sys
import time

WORD = "/run/bench-word"

for name in (
    "edge_agent.cli",
    "edge_agent.bootstrap",
    "edge_agent.logs",
    "edge_agent.pages",
    "edge_agent.labels",
    "uvicorn",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.auto",
    "paho.mqtt.client",
    "serial",
    "PIL.Image",
    "sqlite3",
    "tomllib",
):
    importlib.import_module(name)

print("bench: loaded", flush=True)
while not os.path.exists(WORD):
    time.sleep(0.02)
with open(WORD) as file:
    word = json.load(file)

from edge_agent.agent.shell import Agent  # noqa: E402
from edge_agent.journal.core import JournalCore  # noqa: E402

voice = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
honest_scan, honest_open = Agent.scan, JournalCore.open


async def scan(self, station, code, source, *more):
    answer = await honest_scan(self, station, code, source, *more)
    told = {"code": code, "tone": answer.tone, "why": answer.code}
    voice.sendto(json.dumps(told).encode(), (word["host"], word["port"]))
    return answer


def open_carelessly(self, *given, **named):
    found = honest_open(self, *given, **named)
    self.db.execute("PRAGMA synchronous=NORMAL")
    return found


Agent.scan = scan
if word.get("normal"):
    JournalCore.open = open_carelessly

from edge_agent.cli import main  # noqa: E402

main(sys.argv[1:])
