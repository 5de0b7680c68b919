"""Import: what a person tells us once becomes master data; good rows pass whatever stands beside.

`MasterDoor` reads a spreadsheet or JSON objects into values, `import_rows` folds them. A report
names each refused row by its number in the file. Importing the same again changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from cloud_core.domain.commands import CheckTables, Imported, ImportRows
from cloud_core.domain.intake import problem_of
from cloud_core.domain.master_data import MasterValue, OpeningStock
from cloud_core.domain.master_kinds import KINDS
from cloud_core.domain.master_tables import (
    TableRead,
    check_new,
    read_mapping,
    read_table,
)
from cloud_core.domain.rows import Audit, Stock
from cloud_core.domain.shop_order import RowProblem
from cloud_core.ports import SheetReader, Submit
from cloud_core.store import master_rows
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected

ALIASES = {
    "stock": "opening_stock", "waybills": "waybill_numbers", "transit": "transit_days",
    "services": "carrier_service",
}  # fmt: skip
"""Short words for kinds on the command line and in addresses."""
JSON_ROWS_MAX = 5_000


def kind_named(word: str) -> str:
    """The kind that a word of an address or command names: `shelf-locations`, `stock`…

    Raises `Rejected("kind_unknown_master")`.
    """
    plain = word.lower().replace("-", "_")
    kind = ALIASES.get(plain, plain)
    if kind not in KINDS:
        raise Rejected(
            "kind_unknown_master",
            f"没有这种主数据，可选：{'、'.join(KINDS)}",
            f"no such kind of master data; one of {', '.join(KINDS)}",
            field="kind",
        )
    return kind


@dataclass(frozen=True, slots=True)
class Report:
    """What an import did; `problems` name rows of the file (1-based) or objects (0-based)."""

    kind: str
    dry_run: bool
    created: int
    changed: int
    same: int
    refused: int
    problems: tuple[RowProblem, ...]


class MasterDoor:
    """Reads, submits, reports; the same for HTTP and the command line."""

    def __init__(self, read_sheet: SheetReader, submit: Submit) -> None:
        self._read_sheet, self._submit = read_sheet, submit

    def read_file(self, kind: str, raw: bytes, file_name: str) -> TableRead:
        """Values of a CSV or XLSX file. Raises `Rejected` when the file as a whole is refused."""
        return read_table(kind, self._read_sheet(raw, file_name))

    def read_objects(self, kind: str, objects: Sequence[Mapping[str, object]]) -> TableRead:
        """Values of JSON objects, at most `JSON_ROWS_MAX`; lists of barcodes may be lists."""
        if len(objects) > JSON_ROWS_MAX:
            raise Rejected(
                "rows_too_many",
                f"一次最多 {JSON_ROWS_MAX} 行",
                f"at most {JSON_ROWS_MAX} rows at a time",
                field="body",
            )
        values: list[MasterValue] = []
        numbers: list[int] = []
        problems: list[RowProblem] = []
        seen: dict[tuple[str, ...], int] = {}
        for position, given in enumerate(objects):
            try:
                value = read_mapping(kind, {k: _text(k, v) for k, v in given.items()})
                check_new(kind, value, position, seen, str)
                values.append(value)
                numbers.append(position)
            except Rejected as refused:
                problems.append(problem_of(position, refused))
        return TableRead(tuple(values), tuple(numbers), tuple(problems))

    async def bring_in(
        self, kind: str, read: TableRead, *, dry_run: bool, actor: str, source: str
    ) -> Report:
        """Submit the values and report; on a dry run nothing is written."""
        imported = Imported(0, 0, 0)
        if read.values:
            command = ImportRows(kind, tuple(read.values), dry_run, actor, source)
            imported = await self._submit(command)
        return _report(kind, read, imported, dry_run=dry_run)

    async def check_all(self, reads: Sequence[tuple[str, TableRead]]) -> list[Report]:
        """A dry run of tables that belong together, what others refer to first."""
        tables = tuple((kind, tuple(read.values)) for kind, read in reads)
        found: list[Imported] = await self._submit(CheckTables(tables))
        return [
            _report(kind, read, imported, dry_run=True)
            for (kind, read), imported in zip(reads, found, strict=True)
        ]


def _report(kind: str, read: TableRead, imported: Imported, *, dry_run: bool) -> Report:
    refused = [
        dataclasses.replace(
            problem,
            position=read.row_numbers[problem.position],
            field=read.titles.get(problem.field, problem.field),
        )
        for problem in imported.problems
    ]
    problems = sorted([*read.problems, *refused], key=lambda row: row.position)
    return Report(
        kind, dry_run, imported.created, imported.changed, imported.same, len(problems),
        tuple(problems),
    )  # fmt: skip


def import_rows(ws: WorkingSet, command: ImportRows) -> Imported:
    """Fold one import; everything of it is one commit."""
    connection = ws.fetch.connection
    found = master_rows.compare(connection, command.kind, command.values)
    if command.kind == "opening_stock":
        done = _stock(ws, found, dry_run=command.dry_run)
    else:
        done = Imported(len(found.new), len(found.changed), found.same, found.problems)
        if not command.dry_run and (found.new or found.changed or found.gone):
            ws.writes.append(lambda c: master_rows.write(c, command.kind, found))
            version = int(ws.meta.get("master_version", ws.master.version))
            ws.meta["master_version"] = str(version + 1)
    if not command.dry_run:
        counts = f"created {done.created}, changed {done.changed}, same {done.same}"
        ws.appended.append(
            Audit(ws.now_ms, command.actor, command.source, "master.imported", command.kind, counts)
        )
    return done


def check_tables(ws: WorkingSet, command: CheckTables) -> list[Imported]:
    """What an import of all tables would do; each sees those before it, nothing stays."""
    connection = ws.fetch.connection
    done: list[Imported] = []
    trial = connection.begin_nested()
    try:
        for kind, values in command.tables:
            found = master_rows.compare(connection, kind, values)
            if kind == "opening_stock":
                done.append(_stock(ws, found, dry_run=True))
                continue
            done.append(Imported(len(found.new), len(found.changed), found.same, found.problems))
            master_rows.write(connection, kind, found)
    finally:
        trial.rollback()
    return done


def _stock(ws: WorkingSet, found: master_rows.Comparison, *, dry_run: bool) -> Imported:
    """Set shelves to what was counted; the difference is a movement with its reason."""
    values: Sequence[OpeningStock] = found.new
    ws.stock_for({value.sku for value in values})
    created = changed = same = 0
    for value in values:
        row = ws.stock_at(value.warehouse, value.sku)
        if row is not None and (row.shelf, row.safety) == (value.quantity, value.safety):
            same += 1
            continue
        created, changed = created + (row is None), changed + (row is not None)
        if dry_run:
            continue
        before = row or Stock(value.warehouse, value.sku)
        moved = ws.move(
            value.warehouse, value.sku, shelf=value.quantity - before.shelf,
            reason="opening", ref="import",
        )  # fmt: skip
        ws.stock.put(replace(moved, safety=value.safety, counted_ms=ws.now_ms))
    return Imported(created, changed, same, found.problems)


def _text(field: str, value: object) -> str:
    """A JSON value as the text a cell would hold. Raises `Rejected("field_type")`."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    raise Rejected("field_type", "字段类型不正确", "wrong type", field=field[:40])
