"""Opens the agent's page; its failure never stops the floor."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.resources
import logging
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from edge_agent.agent import Agent
from edge_agent.settings import Settings

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)


async def show_page(settings: Settings, agent: Agent) -> None:
    """Serve the status page."""

    def build() -> Any:
        from edge_agent import pages

        return pages.build(agent, settings.page_names, settings.zone_minutes)

    await open_page(settings, build)


async def open_page(settings: Settings, build: Callable[[], Any]) -> None:
    """Serve an application; its failure (a port taken) is logged and the floor goes on."""
    # Importing the web server takes longer than a packer waits for a tone: not on the loop.
    await asyncio.to_thread(importlib.import_module, "edge_agent.pages")
    await asyncio.to_thread(importlib.import_module, "uvicorn")
    import uvicorn

    app = build()
    config = uvicorn.Config(
        app, host=settings.page_host, port=settings.page_port, log_config=None, lifespan="off",
        loop="none", ws="none", access_log=False, server_header=False, limit_concurrency=64,
        timeout_keep_alive=5, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _quiet_server(config)
    try:
        await server.serve()
    except (OSError, SystemExit) as error:
        log.error("page.not_opened host=%s port=%d reason=%s",
                  settings.page_host, settings.page_port, error)  # fmt: skip
    except asyncio.CancelledError:
        # Pages read the journal, which is closed next: the last answer goes out before.
        await server.shutdown()
        raise


def _quiet_server(config: uvicorn.Config) -> uvicorn.Server:
    """A server that leaves the signals to us and says where it listens."""
    import uvicorn

    class QuietServer(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            for server in self.servers:
                for sock in server.sockets:
                    log.info("page.opened url=http://%s:%d/", *sock.getsockname()[:2])

    return QuietServer(config)
