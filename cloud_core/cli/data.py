"""Verbs about what the core knows: imports, lists, orders, incidents, waybill numbers."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import Any

import click

from cloud_core.api.changes import without_numbers
from cloud_core.bootstrap import Wired
from cloud_core.cli.root import (
    actor,
    as_json,
    by,
    core_of,
    moment,
    print_json,
    run,
    show,
    with_context,
)
from cloud_core.domain.change_commands import CancelOrder
from cloud_core.domain.commands import (
    Applied,
    ApplyShopEvents,
    Imported,
    ImportRows,
    ResolveIncident,
    RetryParked,
)
from cloud_core.domain.decision_record import PARKED_ZH
from cloud_core.domain.master_data import WaybillNumber
from cloud_core.domain.rows import RawMessage
from cloud_core.domain.shop_order import RowProblem
from cloud_core.domain.wording import STOP_ZH
from cloud_core.flows.import_master import Report, kind_named
from cloud_core.store.views import PAGE_MAX
from protocols.errors import Rejected
from protocols.vocabulary import STATE_ZH, OrderState

FILE_BYTES_MAX = 20_000_000
FILL_MAX = 1_000_000
_REASON_CHARS_MAX = 48
_FILL_AT_ONCE = 5_000
_DIGITS: tuple[int, ...] = (10, *range(4, 19))
"""How many digits may follow a prefix; the first count that fits the carrier's pattern is taken."""
_COLUMNS = {
    "orders": ("id", "channel", "native_id", "state", "stop", "created_ms", "ship_by_ms"),
    "alarms": ("id", "kind", "key", "opened_ms", "count", "text"),
    "incidents": ("id", "kind", "shipment_id", "warehouse", "at_ms", "resolved_ms"),
    "quarantine": ("id", "source", "code", "field", "message", "at_ms"),
    "audit": ("id", "at_ms", "actor", "action", "target", "detail"),
    "skus": ("id", "name", "barcodes", "weight_g", "category"),
    "shelf_locations": ("warehouse", "sku", "location"),
    "warehouses": ("id", "site", "name", "priority", "hours", "carrier", "enabled"),
    "agents": ("id", "warehouse", "name", "enabled"),
    "stations": ("id", "agent", "name"),
    "carriers": ("id", "name", "kind", "transit_days", "pattern"),
    "transit_days": ("carrier", "warehouse", "province", "days"),
    "carrier_service": ("carrier", "warehouse", "region", "served", "days"),
    "freight": (
        "carrier",
        "warehouse",
        "region",
        "from_g",
        "up_to_g",
        "first_g",
        "first_fen",
        "step_g",
        "step_fen",
    ),
    "opening_stock": ("warehouse", "sku", "shelf", "picked", "held", "safety"),
    "waybill_numbers": ("number", "carrier", "state", "shipment_id"),
}
_IMPORT_ORDER = (
    "skus", "carriers", "warehouses", "agents", "stations", "shelf_locations", "transit_days",
    "carrier_service", "freight", "opening_stock", "waybill_numbers",
)  # fmt: skip
_ORDER_STATES = (*(state.value for state in OrderState), "cancelled", "parked")
_FAULTS = ("alarms", "incidents", "quarantine", "audit")


def register(group: click.Group) -> None:
    """Add the verbs of this module."""
    for verb in (import_file, list_rows, order, incident, waybills):
        group.add_command(verb)


@click.command("import")
@click.argument("kind")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--dry-run", is_flag=True, help="只检查，不写入。Check only.")
@click.option("--channel", default="", help="kind 为 orders 时的渠道名。")
@as_json
@with_context
def import_file(context: click.Context, kind: str, file: Path, dry_run: bool, channel: str,
                as_json: bool) -> None:  # fmt: skip
    """导入表格（CSV/XLSX），逐行报告；有拒绝的行时退出码 1。Import a spreadsheet.

    KIND：skus warehouses agents stations carriers transit-days carrier-service freight
    shelf-locations stock waybills orders；
    all 时 FILE 是文件夹，按先后导入其中以种类命名的表格（skus.csv、opening_stock.xlsx…）
    """
    with core_of(context) as wired:
        if kind == "orders":
            report = _import_orders(wired, channel, _read(file), file.name, dry_run=dry_run)
            reports = [report]
        elif kind == "all" and dry_run:
            tables = [
                (plain, wired.master.read_file(plain, _read(table), table.name))
                for plain, table in _tables_in(file)
            ]
            reports = run(wired.master.check_all(tables))
        elif kind == "all":
            reports = [
                _import_master(wired, plain, table, dry_run=dry_run)
                for plain, table in _tables_in(file)
            ]
        else:
            reports = [_import_master(wired, kind_named(kind), file, dry_run=dry_run)]
    if kind == "all" and as_json:
        print_json([dataclasses.asdict(report) for report in reports])
    for report in [] if kind == "all" and as_json else reports:
        if kind == "all":
            click.echo(f"{report.kind}：", nl=False)
        _tell_report(report, json_wanted=as_json)
    if any(report.refused for report in reports):
        context.exit(1)


@click.command("list")
@click.argument("kind", metavar="KIND")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=200,
    show_default=True,
    help=f"最多行数；orders 最多 {PAGE_MAX}。Rows at most.",
)
@click.option("--state", default="", help=f"仅 orders：{'、'.join(_ORDER_STATES)}。")
@click.option("--all", "every", is_flag=True, help="含已处理的告警、异常。Settled ones too.")
@as_json
@with_context
def list_rows(context: click.Context, kind: str, limit: int, state: str, every: bool,
              as_json: bool) -> None:  # fmt: skip
    """列出主数据或 orders alarms incidents quarantine audit。List rows of one kind."""
    with core_of(context) as wired:
        if kind == "orders":
            rows = _orders(wired, state, limit, json_wanted=as_json)
        elif kind == "audit":
            rows = wired.views.audit(limit=limit)
        elif kind in _FAULTS:
            rows = getattr(wired.views, kind)(open_only=not every, limit=limit)
        else:
            kind = kind_named(kind)
            rows = _all_master(wired, kind, limit)
    show(rows, _COLUMNS[kind], json_wanted=as_json)


def _orders(wired: Wired, state: str, limit: int, *, json_wanted: bool) -> list[dict[str, Any]]:
    """The newest orders; a table says their state in Chinese, parked ones as such."""
    if state and state not in _ORDER_STATES:
        raise Rejected("state_unknown", f"没有状态 {state}，可选：{'、'.join(_ORDER_STATES)}",
                       f"no state {state}", field="state")  # fmt: skip
    if limit > PAGE_MAX:
        raise Rejected(
            "limit_too_large", f"orders 一次最多列出 {PAGE_MAX} 行，更多请用 GET /v1/orders 翻页",
            f"at most {PAGE_MAX} orders at a time; GET /v1/orders has pages", field="limit",
        )  # fmt: skip
    rows = wired.views.orders(state=state, before=None, limit=limit)
    parked = wired.views.parked_among([row["id"] for row in rows])
    for row in rows:
        row.pop("track_token")
        if not json_wanted:
            row["stop"] = STOP_ZH.get(row["stop"], row["stop"])
            row["state"] = "停放" if row["id"] in parked else STATE_ZH.get(row["state"], "")
    return rows


@click.group()
def order() -> None:
    """订单。Orders."""


@order.command("show")
@click.argument("name")
@as_json
@with_context
def order_show(context: click.Context, name: str, as_json: bool) -> None:
    """按任意单号查看订单。Show an order by any of its numbers."""
    with core_of(context) as wired:
        found = _order(wired, name)
        url = f"{wired.doors.limits.public_url}/t/{found.pop('track_token')}"
    found["track_url"] = url
    if as_json:
        print_json(found)
        return
    stop = f"（{STATE_ZH.get(found['stop'], found['stop'])}）" if found["stop"] else ""
    click.echo(f"{found['id']}  {STATE_ZH.get(found['state'], found['state'])}{stop}")
    click.echo(f"渠道 {found['channel']}  店铺单号 {found['native_id']}")
    contact = found["contact"] or {}
    click.echo(f"收货 {contact.get('name_masked', '')} {contact.get('phone_masked', '')} "
               f"{found['division_text']}{contact.get('address_masked', '')}")  # fmt: skip
    click.echo(f"应发 {moment(found['ship_by_ms'])}  预计送达 {moment(found['expected_ms'])}")
    click.echo(f"物流页 {url}")
    for shipment in found["shipments"]:
        state = shipment["stop"] or shipment["state"]
        words = PARKED_ZH.get(shipment["parked"]) or STATE_ZH.get(state, state)
        click.echo(
            f"\n{shipment['id']}  {words}  仓 {shipment['warehouse'] or '-'}  "
            f"代理 {shipment['agent'] or '-'}  运单 {shipment['waybill'] or '-'}"
        )
        for sentence in shipment["reasons"]:
            click.echo(f"  {sentence}")
    click.echo("")
    show(found["trail"], ("at_ms", "subject", "change", "actor", "detail"), json_wanted=False)


@order.command("cancel")
@click.argument("name")
@click.option("--reason", default="cancelled", show_default=True)
@with_context
def order_cancel(context: click.Context, name: str, reason: str) -> None:
    """取消订单；已在打包台的会拦下并放回。Cancel an order."""
    with core_of(context) as wired:
        found = _order(wired, name)
        why = without_numbers(reason)[:_REASON_CHARS_MAX] or "cancelled"
        done = run(wired.committer.submit(CancelOrder(found["id"], why, actor(), "local")))
    stop = done.body["stop"]
    click.echo(f"{found['id']}：{STATE_ZH.get(stop, stop)}")


@order.command("retry")
@click.argument("name")
@with_context
def order_retry(context: click.Context, name: str) -> None:
    """停放的发货单立即重派，拒过单的仓库也再问。Route an order's parked shipments again now."""
    with core_of(context) as wired:
        parked = [s["id"] for s in _order(wired, name)["shipments"] if s["parked"]]
        if not parked:
            raise Rejected("shipment_not_parked", "订单没有停放的发货单", "nothing is parked",
                           field="order")  # fmt: skip
        for shipment in parked:
            done = run(wired.committer.submit(RetryParked(shipment, actor(), "local")))
            words = (
                f"已派往 {done.warehouse}"
                if done.warehouse
                else "仍停放：" + PARKED_ZH.get(done.parked, done.parked)
            )
            click.echo(f"{shipment}：{words}")


@click.group()
def incident() -> None:
    """异常事故。Incidents."""


@incident.command("resolve")
@click.argument("incident_id", type=click.IntRange(1, 2**53))
@click.option(
    "--stock-effect", type=click.Choice(["put_back", "shipped", "lost"]), default=None,
    help="收回任务的货物去向：已放回、已发出、已丢失。What became of goods taken back at risk.",
)  # fmt: skip
@with_context
def incident_resolve(context: click.Context, incident_id: int, stock_effect: str | None) -> None:
    """关闭一个异常（会被记录）。Close an incident."""
    command = ResolveIncident(incident_id, actor(), "local", stock_effect or "")
    with core_of(context) as wired:
        run(wired.committer.submit(command))
    click.echo(f"异常 {incident_id} 已关闭")


@click.group()
def waybills() -> None:
    """运单号池。Pools of waybill numbers."""


@waybills.command("fill")
@click.argument("carrier")
@click.option("--prefix", required=True, help="大写字母或数字，如 YS。")
@click.option("--count", type=click.IntRange(1, FILL_MAX), required=True)
@with_context
def waybills_fill(context: click.Context, carrier: str, prefix: str, count: int) -> None:
    """按前缀续号填充（自营或演示用）。Continue a carrier's numbers, for own contracts and demos."""
    fits = prefix.isascii() and prefix.isalnum() and prefix == prefix.upper() and len(prefix) <= 20
    if not fits:
        raise Rejected("prefix_invalid", "前缀只能是大写字母和数字，最多 20 位",
                       "a prefix has 1 to 20 of A-Z, 0-9", field="prefix")  # fmt: skip
    with core_of(context) as wired:
        digits = _digits(wired, carrier, prefix)
        first = _next_number(wired, carrier, prefix)
        done = 0
        for start in range(first, first + count, _FILL_AT_ONCE):
            end = min(start + _FILL_AT_ONCE, first + count)
            values = tuple(
                WaybillNumber(carrier, f"{prefix}{n:0{digits}d}") for n in range(start, end)
            )
            command = ImportRows("waybill_numbers", values, False, actor(), "local")
            imported: Imported = run(wired.committer.submit(command))
            for problem in imported.problems:
                raise Rejected(problem.code, problem.message_zh, problem.message_en,
                               field=problem.field)  # fmt: skip
            done += imported.created
    click.echo(f"已填充 {done} 个：{prefix}{first:0{digits}d} 起")


def _digits(wired: Wired, carrier: str, prefix: str) -> int:
    pattern: str | None = next(
        (row["pattern"] for row in _all_master(wired, "carriers", 10_000) if row["id"] == carrier),
        None,
    )
    if pattern is None:
        raise Rejected("carrier_unknown", f"没有承运商 {carrier}", f"no carrier {carrier}",
                       field="carrier")  # fmt: skip
    for digits in _DIGITS:
        if re.fullmatch(pattern or ".*", prefix + "0" * digits):
            return digits
    raise Rejected(
        "waybill_shape",
        f"前缀 {prefix} 不符合承运商 {carrier} 的单号规则 {pattern}",
        f"no number that begins with {prefix} fits {pattern}",
        field="prefix",
    )


def _next_number(wired: Wired, carrier: str, prefix: str) -> int:
    digits = wired.views.highest_waybill(carrier, prefix).removeprefix(prefix)
    return int(digits) + 1 if digits.isascii() and digits.isdigit() else 1


def _read(file: Path) -> bytes:
    if not file.is_file():
        raise Rejected("file_missing", f"{file} 不是文件", f"{file} is not a file", field="file")
    if file.stat().st_size > FILE_BYTES_MAX:
        raise Rejected("file_too_large", f"文件超过 {FILE_BYTES_MAX} 字节",
                       f"the file is larger than {FILE_BYTES_MAX} bytes", field="file")  # fmt: skip
    return file.read_bytes()


def _import_master(wired: Wired, kind: str, file: Path, *, dry_run: bool) -> Report:
    read = wired.master.read_file(kind, _read(file), file.name)
    return run(wired.master.bring_in(kind, read, dry_run=dry_run, actor=actor(), source="local"))


def _tables_in(folder: Path) -> list[tuple[str, Path]]:
    """(kind, file) of the tables in a folder, what others refer to first."""
    found = [
        (kind, path)
        for kind in _IMPORT_ORDER
        for path in (folder / f"{kind}.csv", folder / f"{kind}.xlsx")
        if path.is_file()
    ]
    if not found:
        raise Rejected(
            "tables_missing", f"{folder} 里没有以种类命名的表格，如 skus.csv",
            f"no table such as skus.csv in {folder}", field="file",
        )  # fmt: skip
    return found


def _import_orders(wired: Wired, channel: str, raw: bytes, name: str, *, dry_run: bool) -> Report:
    """Apply a file of orders, or fold it without a trace and say what it would do."""
    config = wired.channels.get(channel).config
    now = wired.ports.clock.now_ms()
    parsed = wired.ingest.languages.parse("file", raw, name, config, now)
    problems: list[RowProblem] = list(parsed.problems)
    keep = wired.ingest.stored(channel, "file", raw, note=name)
    raw_id = 0
    if not dry_run:
        stored = run(wired.committer.submit(keep))
        wired.keys.audit(by("orders.upload", channel, f"{len(raw)} bytes"))
        if stored.duplicate:
            return Report("orders", dry_run, 0, 0, len(parsed.events), len(problems),
                          tuple(problems))  # fmt: skip
        raw_id = stored.raw_id
    wired.ingest.keep(raw_id, parsed)
    # Not read back: a serving core beside us may have applied it by now.
    message = RawMessage(
        raw_id, channel, keep.kind, keep.digest, keep.body, keep.note, now, keep.source
    )
    counts: Counter[str] = Counter()
    for command in wired.ingest.prepare(raw_id, message):
        assert isinstance(command, ApplyShopEvents), "it was parsed above"
        tried = dataclasses.replace(command, raw_id=None, dry_run=True) if dry_run else command
        done = run(wired.committer.submit(tried))
        counts.update(done.results)
        problems += _refused(command, done, dry_run=dry_run)
    same = counts["duplicate"] + counts["stored"]
    return Report("orders", dry_run, counts["created"], counts["updated"], same, len(problems),
                  tuple(problems))  # fmt: skip


def _refused(command: ApplyShopEvents, done: Applied, *, dry_run: bool) -> list[RowProblem]:
    """Orders of a file that were refused when they were applied: they are in quarantine."""
    where = ("", "") if dry_run else ("，已隔离，见 list quarantine", ", it is in quarantine")
    return [
        RowProblem(
            0, code, "order", f"订单 {incoming.event.native_id}：{said}{where[0]}",
            f"order {incoming.event.native_id} is refused{where[1]}", incoming.event.native_id,
        )
        for incoming, code, said in zip(command.orders, done.results, done.said, strict=True)
        if said
    ]  # fmt: skip


def _all_master(wired: Wired, kind: str, limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while len(rows) < limit:
        page = wired.views.master(kind, start=len(rows), limit=min(200, limit - len(rows)))
        rows += page
        if len(page) < 200:
            break
    return rows


def _order(wired: Wired, name: str) -> dict[str, Any]:
    found = wired.views.order(name)
    if found is None:
        raise Rejected("order_unknown", f"没有订单 {name}", f"no order {name}", field="order")
    return found


def _tell_report(report: Report, *, json_wanted: bool) -> None:
    if json_wanted:
        print_json(dataclasses.asdict(report))
        return
    mode = "试运行，未写入：" if report.dry_run else ""
    click.echo(
        f"{mode}新增 {report.created}，变更 {report.changed}，相同 {report.same}，"
        f"拒绝 {report.refused}"
    )
    for row in report.problems[:200]:
        click.echo(f"  第 {row.position} 行 [{row.field}] {row.message_zh}（{row.code}）", err=True)
