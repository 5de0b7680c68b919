"""Preloaded by the server that core processes under the hammer are forked from: what is slow once.

Importing it reads the divisions and builds the address index, which every core would do again.
"""

from __future__ import annotations

from cloud_core import bootstrap

DIALECTS = bootstrap.dialect_names()
