"""Every bound of the wire, in one place; both sides check them before they parse (DESIGN §5)."""

from __future__ import annotations

from typing import Final

VERSION: Final = 1

BATCH_EVENTS_MAX: Final = 500
"""Events in one batch message."""
BATCH_BYTES_MAX: Final = 128 * 1024
"""Bytes of one MQTT payload, compressed or not; also the smallest bound of hosted brokers."""
INFLATED_BYTES_MAX: Final = 1_000_000
"""Bytes a compressed payload may inflate to; checked while inflating, never after."""
EVENT_BYTES_MAX: Final = 48 * 1024
"""Bytes of one encoded event row: `LINES_MAX` lines with the longest SKU codes fit."""
BATCH_PLAIN_BYTES_MAX: Final = 120 * 1024
"""Bytes of rows a sender puts in one batch before compression, so that any batch fits plain."""
COMPRESS_FROM_EVENTS: Final = 5
"""Batches of fewer events travel uncompressed: zlib does not pay below it."""
COMPRESS_FROM_BYTES: Final = 8 * 1024
"""Other messages are compressed from this size on; smaller ones travel as plain JSON."""
CHUNK_BYTES_MAX: Final = 90 * 1024
"""Raw bytes in one chunk of a payload that is larger than a message (label pictures); in base64
and its envelope it stays below `BATCH_BYTES_MAX`."""
BLOB_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of a payload that travels in chunks."""

LINES_MAX: Final = 200
"""Lines of one shipment."""
QUANTITY_MAX: Final = 9_999
"""Units of one line."""
SKU_CHARS_MAX: Final = 64
CODE_CHARS_MAX: Final = 128
TEXT_CHARS_MAX: Final = 500
ID_CHARS_MAX: Final = 64
BARCODES_MAX: Final = 20
FENCES_MAX: Final = 400
RECEIPTS_MAX: Final = 200
PRINTERS_MAX: Final = 32
RESYNC_COMMANDS_MAX: Final = 1_500
"""Commands one resynchronisation may consist of; more and a person must step in."""
EPOCHS_KEPT_MAX: Final = 64

WINDOW_BATCHES: Final = 8
"""Batches an agent may have outstanding beyond the core's acknowledgement, per stream."""
HEARTBEAT_S: Final = 10
REACHABLE_INTERVALS: Final = 3
"""An agent is reachable while its last heartbeat is younger than this many intervals."""
OFFER_TTL_S: Final = 120
OFFER_TTL_S_MAX: Final = 900
RESEND_COMMAND_S: Final = 10
ACK_TIMEOUT_S: Final = 3
ACK_TIMEOUT_S_MAX: Final = 30
