"""The tables of the journal, its pragmas, and the quota. Beside the rows, below every flow.

One schema for both streams: the floor file uses all of it, the telemetry file only meta, epoch
and row. No index on a random key: it cost 64 % more written bytes when measured.
"""

from __future__ import annotations

from edge_agent.ports import Connection
from protocols.errors import Corrupt

SCHEMA_VERSION = 2

PRAGMAS = (
    "PRAGMA page_size=4096",
    "PRAGMA auto_vacuum=INCREMENTAL",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA wal_autocheckpoint=1000",
    "PRAGMA journal_size_limit=16777216",
    "PRAGMA busy_timeout=5000",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-4096",
)

STREAM_TABLES = (
    "CREATE TABLE IF NOT EXISTS meta(k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID",
    # base_*: the newest row that is gone; acked: newest row the core holds; carried: newest row
    # that lives on in a later epoch.
    """CREATE TABLE IF NOT EXISTS epoch(
        no INTEGER PRIMARY KEY, id TEXT NOT NULL, opened_ms INTEGER NOT NULL,
        closed INTEGER NOT NULL DEFAULT 0, base_seq INTEGER NOT NULL DEFAULT 0,
        base_hash BLOB NOT NULL, acked INTEGER NOT NULL DEFAULT 0,
        carried INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS row(
        epoch_no INTEGER NOT NULL, seq INTEGER NOT NULL, row BLOB NOT NULL, hash BLOB NOT NULL,
        wall_ms INTEGER NOT NULL, PRIMARY KEY(epoch_no, seq)) WITHOUT ROWID""",
    # How long the journal had run when its newest row was (epoch_no, seq): see `journal.age`.
    """CREATE TABLE IF NOT EXISTS age(
        no INTEGER PRIMARY KEY, lived_ms INTEGER NOT NULL, mono_ms INTEGER NOT NULL,
        epoch_no INTEGER NOT NULL, seq INTEGER NOT NULL)""",
)

FLOOR_TABLES = (
    """CREATE TABLE IF NOT EXISTS inbox(
        cmd_id TEXT PRIMARY KEY, cs INTEGER NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
        received_ms INTEGER NOT NULL, receipt_epoch INTEGER NOT NULL,
        receipt_seq INTEGER NOT NULL, age_no INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS inbox_age ON inbox(age_no)",
    """CREATE TABLE IF NOT EXISTS fence(
        shipment TEXT PRIMARY KEY, epoch INTEGER NOT NULL, n INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS task(
        shipment TEXT NOT NULL, token_epoch INTEGER NOT NULL, token_n INTEGER NOT NULL,
        order_id TEXT NOT NULL, channel TEXT NOT NULL, native_id TEXT NOT NULL,
        waybill TEXT NOT NULL, carrier TEXT NOT NULL, state TEXT NOT NULL,
        ship_by_ms INTEGER NOT NULL, print_on TEXT NOT NULL, priority INTEGER NOT NULL,
        reissue INTEGER NOT NULL, station TEXT NOT NULL, operator TEXT NOT NULL,
        notice TEXT NOT NULL, fence_epoch INTEGER, fence_n INTEGER, changed_ms INTEGER NOT NULL,
        label BLOB, age_no INTEGER NOT NULL,
        PRIMARY KEY(shipment, token_epoch, token_n)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS task_waybill ON task(waybill)",
    "CREATE INDEX IF NOT EXISTS task_state ON task(state, ship_by_ms)",
    """CREATE TABLE IF NOT EXISTS task_line(
        shipment TEXT NOT NULL, token_epoch INTEGER NOT NULL, token_n INTEGER NOT NULL,
        line_no INTEGER NOT NULL, sku TEXT NOT NULL, quantity INTEGER NOT NULL,
        name TEXT NOT NULL, barcodes TEXT NOT NULL, location TEXT NOT NULL,
        picked INTEGER NOT NULL, verified INTEGER NOT NULL,
        PRIMARY KEY(shipment, token_epoch, token_n, line_no)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS print_job(
        kind TEXT NOT NULL, number TEXT NOT NULL, revision INTEGER NOT NULL,
        shipment TEXT NOT NULL, token_epoch INTEGER NOT NULL, token_n INTEGER NOT NULL,
        state TEXT NOT NULL, printer TEXT NOT NULL, station TEXT NOT NULL,
        queued_ms INTEGER NOT NULL, ttl_s INTEGER NOT NULL, bytes_sent INTEGER NOT NULL,
        total_bytes INTEGER NOT NULL, reason TEXT NOT NULL, evidence TEXT NOT NULL,
        operator TEXT NOT NULL, reprint_reason TEXT NOT NULL, copy_mark TEXT NOT NULL,
        superseded_by INTEGER NOT NULL, boot INTEGER NOT NULL,
        PRIMARY KEY(kind, number, revision)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS print_job_shipment ON print_job(shipment)",
    "CREATE INDEX IF NOT EXISTS print_job_state ON print_job(state, queued_ms)",
    """CREATE TABLE IF NOT EXISTS station(
        id TEXT PRIMARY KEY, shipment TEXT NOT NULL, mode TEXT NOT NULL, dock TEXT NOT NULL,
        operator TEXT NOT NULL, last_code TEXT NOT NULL, last_source TEXT NOT NULL,
        last_ms INTEGER NOT NULL) WITHOUT ROWID""",
    # A paired handheld with its session and its newest numbered scan; secrets only as digests.
    """CREATE TABLE IF NOT EXISTS handheld(
        id TEXT PRIMARY KEY, station TEXT NOT NULL UNIQUE, secret BLOB NOT NULL,
        paired_ms INTEGER NOT NULL, operator TEXT NOT NULL, session BLOB NOT NULL,
        since_ms INTEGER NOT NULL, active_ms INTEGER NOT NULL, page TEXT NOT NULL,
        seq INTEGER NOT NULL, code BLOB NOT NULL, at_ms INTEGER NOT NULL,
        answer BLOB NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS pin_lock(
        who TEXT PRIMARY KEY, wrong INTEGER NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS scan(
        slot INTEGER PRIMARY KEY, n INTEGER NOT NULL, wall_ms INTEGER NOT NULL,
        station TEXT NOT NULL, code TEXT NOT NULL, tone TEXT NOT NULL, text TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS chunk(
        digest TEXT NOT NULL, idx INTEGER NOT NULL, count INTEGER NOT NULL, data BLOB NOT NULL,
        received_ms INTEGER NOT NULL, PRIMARY KEY(digest, idx))""",
    # Serial numbers scanned into a parcel; each once per SKU in it.
    """CREATE TABLE IF NOT EXISTS item_serial(
        shipment TEXT NOT NULL, token_epoch INTEGER NOT NULL, token_n INTEGER NOT NULL,
        sku TEXT NOT NULL, serial TEXT NOT NULL,
        PRIMARY KEY(shipment, token_epoch, token_n, sku, serial)) WITHOUT ROWID""",
    # Returns: what is to come back, and the verdicts.
    """CREATE TABLE IF NOT EXISTS return_ticket(
        ticket TEXT PRIMARY KEY, order_id TEXT NOT NULL, channel TEXT NOT NULL,
        native_id TEXT NOT NULL, inspect_s INTEGER NOT NULL, state TEXT NOT NULL,
        window_from_ms INTEGER NOT NULL, window_to_ms INTEGER NOT NULL, reason TEXT NOT NULL,
        waybill TEXT NOT NULL, accepted_ms INTEGER NOT NULL, operator TEXT NOT NULL,
        changed_ms INTEGER NOT NULL, age_no INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS return_state ON return_ticket(state)",
    """CREATE TABLE IF NOT EXISTS return_line(
        ticket TEXT NOT NULL, line_no INTEGER NOT NULL, sku TEXT NOT NULL,
        quantity INTEGER NOT NULL, name TEXT NOT NULL, barcodes TEXT NOT NULL,
        location TEXT NOT NULL, serials TEXT NOT NULL, serial INTEGER NOT NULL,
        passed INTEGER NOT NULL, failed INTEGER NOT NULL,
        PRIMARY KEY(ticket, line_no)) WITHOUT ROWID""",
    # What a paper that is no waybill says; gone when its time is up (P12).
    """CREATE TABLE IF NOT EXISTS paper(
        kind TEXT NOT NULL, number TEXT NOT NULL, fields BLOB, queued_ms INTEGER NOT NULL,
        PRIMARY KEY(kind, number)) WITHOUT ROWID""",
)

FLOOR_COLUMNS = {
    "task": (
        "notice_code TEXT NOT NULL DEFAULT ''",
        "gift TEXT NOT NULL DEFAULT ''",
        "stop_reason TEXT NOT NULL DEFAULT ''",
        "stop_text TEXT NOT NULL DEFAULT ''",
        "pack_boot INTEGER NOT NULL DEFAULT 0",
        "pack_wall_ms INTEGER NOT NULL DEFAULT 0",
        "pack_mono_ms INTEGER NOT NULL DEFAULT 0",
    ),
    "task_line": ("serial INTEGER NOT NULL DEFAULT 0", "gift INTEGER NOT NULL DEFAULT 0"),
    "print_job": ("moved_from TEXT NOT NULL DEFAULT ''",),
    "station": ("wants TEXT NOT NULL DEFAULT ''",),
}
"""Columns that the first schema did not have: added to a file that lacks them."""


def set_up(db: Connection, *, floor: bool) -> None:
    """Apply the pragmas and create what is missing. Raises `Corrupt` for a newer schema."""
    for pragma in PRAGMAS:
        db.execute(pragma)
    found = int(db.execute("PRAGMA user_version").fetchone()[0])
    if found > SCHEMA_VERSION:
        raise Corrupt(
            "journal_newer",
            f"日志文件的版本 {found} 比程序新",
            f"journal schema {found} is newer than this program",
            field="user_version",
        )
    db.execute("BEGIN IMMEDIATE")
    for statement in (*STREAM_TABLES, *(FLOOR_TABLES if floor else ())):
        db.execute(statement)
    if floor:
        _add_columns(db)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    db.execute("COMMIT")


def _add_columns(db: Connection) -> None:
    for table, columns in FLOOR_COLUMNS.items():
        known = {str(row[1]) for row in db.execute(f"PRAGMA table_info({table})").fetchall()}
        for column in columns:
            if column.split()[0] not in known:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {column}")


def used_bytes(db: Connection) -> int:
    """Bytes of the file in use, free pages not counted."""
    pages = int(db.execute("PRAGMA page_count").fetchone()[0])
    free = int(db.execute("PRAGMA freelist_count").fetchone()[0])
    return (pages - free) * int(db.execute("PRAGMA page_size").fetchone()[0])
