"""The status page of one agent: Chinese, drawn on the server, no JavaScript, nothing from outside.

Shows what `Desk.status` tells and turns a pressed button into a durable act. Knows no loop, no
broker and no printer.
"""

from edge_agent.pages.app import build

__all__ = ["build"]
