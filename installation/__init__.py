"""Puts one of the two programs on a machine as a service, and takes it away again.

Shared by `edge-agent install` and `cloud-core install`, which say *what* belongs to them. Runs on a
bare Debian from inside the wheel (`PYTHONPATH=packline-….whl python3 -m edge_agent.install`), so it
uses nothing but the standard library and `protocols.errors`. It knows no settings model, no journal
and no store.
"""
