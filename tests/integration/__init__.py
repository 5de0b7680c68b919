"""Tests with real processes, brokers, ptys and sockets."""
