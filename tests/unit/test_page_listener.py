"""The pages' listening socket: a device that walks out of the Wi-Fi does not keep its place."""

from __future__ import annotations

import socket

from edge_agent.bootstrap import page


def test_accepted_connections_give_up_on_a_silent_peer() -> None:
    with page.listener("127.0.0.1", 0) as listening:
        caller = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        with caller, accepted:
            gone_ms = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            at_once = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert gone_ms == page.GONE_MS
    assert at_once, "an answer does not wait for the one before it to be confirmed"
