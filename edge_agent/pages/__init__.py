"""The pages of one agent: Chinese, nothing from outside.

The status page is drawn on the server and needs no script; the station screen and the handhelds'
page are one document each with a script of ours. They show what the desk tells and turn a scan or a
pressed button into a durable act. They know no loop, no broker and no printer.
"""

from edge_agent.pages.app import build
from edge_agent.pages.pair import HandheldDoor

__all__ = ["HandheldDoor", "build"]
