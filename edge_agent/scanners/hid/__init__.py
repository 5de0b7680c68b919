"""Keyboard-style scanners: decoder of key events, discovery in sysfs, one reader thread for all.

`decoder` is pure. `records` reads the kernel's input records with nothing but the standard library,
`extension` does the same through python-evdev; `reader` needs neither of them by name.
"""

from edge_agent.scanners.hid.decoder import (
    EV_KEY,
    EV_SYN,
    SUFFIX_KEYS,
    SYN_DROPPED,
    SYN_REPORT,
    HidDecoder,
    HidRules,
)

__all__ = [
    "EV_KEY",
    "EV_SYN",
    "SUFFIX_KEYS",
    "SYN_DROPPED",
    "SYN_REPORT",
    "HidDecoder",
    "HidRules",
]
