"""What codes look like, for the texts of errors; a file that cannot be read costs only the hint."""

from __future__ import annotations

import logging

from edge_agent.bootstrap.files import data_file
from edge_agent.domain.scan_patterns import CodePattern
from edge_agent.scanners.patterns import read_patterns
from protocols.errors import Rejected

log = logging.getLogger(__name__)


def code_patterns() -> tuple[CodePattern, ...]:
    """Every pattern of `firmware_configs/carriers`, none when the file is broken."""
    try:
        return read_patterns(data_file("carriers", "waybill-patterns"))
    except Rejected as error:
        log.error("patterns.not_read field=%s reason=%s", error.field, error.zh)
        return ()
