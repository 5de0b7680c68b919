"""Listens and runs: the agent's one asyncio loop around the flows.

All state lives in this loop; threads (broker, scanners, journal writer) only hand things to it.
Time, randomness, disk, broker and printers come in as ports, so that the simulation runs this very
class on virtual time.
"""

from edge_agent.agent.shell import Agent

__all__ = ["Agent"]
